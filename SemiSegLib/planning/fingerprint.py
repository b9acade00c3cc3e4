"""What the plan is made from: sizes, spacings and intensities of a dataset's training images."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.errors import CaseError, explain

# nnU-Net keeps 10,000 voxels of each case; the total is bounded too, so that memory does not grow with the cases.
SAMPLES_PER_CASE = 10_000
SAMPLES_IN_ALL = 1_000_000


@dataclass(frozen=True, kw_only=True)
class ChannelFingerprint:
    """Intensities of one channel over the training images.

    Attributes:
        role: channel role.
        modality: "CT" or "MR".
        from_foreground: whether the numbers below are of annotated foreground, or of whole images because no case
            has any.
        mean, deviation, median: of the sampled voxels.
        low, high: percentiles 0.5 and 99.5.
        zero_share: median over the cases of the share of voxels that are exactly 0, in the whole image.
    """

    role: str
    modality: str
    from_foreground: bool
    mean: float
    deviation: float
    median: float
    low: float
    high: float
    zero_share: float


@dataclass(frozen=True, kw_only=True)
class Fingerprint:
    """Facts about the training side of a dataset, on canonical axes (toward superior, posterior, left).

    Attributes:
        case_ids: cases looked at.
        shapes: voxels of each case.
        spacings_mm: spacing of each case.
        channels: intensities, in channel order.
        classes: number of leaves, background included.
    """

    case_ids: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]
    spacings_mm: tuple[tuple[float, float, float], ...]
    channels: tuple[ChannelFingerprint, ...]
    classes: int

    @property
    def median_spacing_mm(self) -> np.ndarray:
        """(3,) median over the cases."""
        spacing: np.ndarray = np.median(np.array(self.spacings_mm), axis=0)
        return spacing

    def median_shape_at(self, spacing_mm: np.ndarray) -> np.ndarray:
        """Return the (3,) median shape in voxels after resampling to a spacing."""
        extent = np.array(self.shapes) * np.array(self.spacings_mm)
        shape: np.ndarray = np.median(np.maximum(1, np.round(extent / spacing_mm)), axis=0)
        return shape


def fingerprint(
    dataset: Dataset, *, as_ct: bool = False, on_progress: Callable[[int, int], None] | None = None
) -> Fingerprint:
    """Return the fingerprint of the training cases (all cases where there is no split yet).

    Label files are opened only where they are needed, for the foreground intensities of CT or of channels that are
    normalized like it; those of cases without annotation, and of validation and test cases, never.

    Args:
        dataset: the study.
        as_ct: every channel will be normalized as CT is, whatever its modality, see ``PlanSettings.normalization``.
        on_progress: told (cases done, cases in all).

    Raises:
        CaseError: there is no case, or an image cannot be read.
    """
    cases = dataset.side(Side.TRAIN) or tuple(c for c in dataset.cases if c.split is None)
    if not cases:
        raise CaseError(
            explain(
                "there is no training case to plan from",
                where=f"dataset '{dataset.name}'",
                remedy="put at least one case on the training side of the split",
            )
        )
    needs_labels = as_ct or any(dataset.modality.get(role) == "CT" for role in dataset.channels)
    limit = max(1, min(SAMPLES_PER_CASE, SAMPLES_IN_ALL // len(cases)))
    facts = []
    for done, case in enumerate(cases, start=1):
        facts.append(_look_at(dataset, case, limit=limit, needs_labels=needs_labels))
        if on_progress is not None:
            on_progress(done, len(cases))
    return Fingerprint(
        case_ids=tuple(c.id for c in cases),
        shapes=tuple(_three_int(f.grid) for f in facts),
        spacings_mm=tuple(f.grid.spacing_mm for f in facts),
        channels=tuple(_channel(dataset, index, facts) for index in range(len(dataset.channels))),
        classes=len(dataset.scheme.leaves),
    )


@dataclass(frozen=True)
class _CaseFacts:
    grid: Geometry
    whole: np.ndarray
    foreground: np.ndarray
    zero_share: np.ndarray


def _look_at(dataset: Dataset, case: Case, *, limit: int, needs_labels: bool) -> _CaseFacts:
    volumes = read_images(dataset, case)
    geometry = volumes[0].geometry
    # The draw depends on the case alone, so that adding a case does not change what the others give.
    generator = np.random.default_rng(zlib.crc32(case.id.encode()))
    channels = [v.voxels.reshape(-1) for v in volumes]
    foreground = np.zeros((len(channels), 0), dtype=np.float32)
    if needs_labels and case.annotation is not None:
        codes, table = read_codes(dataset, case, geometry)
        surely = ~table.array[:, 0]
        places = np.flatnonzero(surely[codes.reshape(-1)])
        places = places[_draw(places.size, limit, generator)]
        foreground = np.stack([c[places].astype(np.float32) for c in channels])
    places = _draw(channels[0].size, limit, generator)
    return _CaseFacts(
        grid=closest_orientation(geometry).apply_geometry(geometry),
        whole=np.stack([c[places].astype(np.float32) for c in channels]),
        foreground=foreground,
        zero_share=np.array([np.mean(c == 0) for c in channels]),
    )


def _draw(count: int, limit: int, generator: np.random.Generator) -> np.ndarray:
    return np.arange(count) if count <= limit else generator.integers(0, count, limit)


def _channel(dataset: Dataset, index: int, facts: list[_CaseFacts]) -> ChannelFingerprint:
    role = dataset.channels[index]
    foreground = np.concatenate([f.foreground[index] for f in facts])
    values = foreground if foreground.size else np.concatenate([f.whole[index] for f in facts])
    values = values[np.isfinite(values)].astype(np.float64)
    if not values.size:
        raise CaseError(
            explain(f"no finite intensity in channel '{role}'", where="training images", remedy="check the images")
        )
    low, median, high = np.percentile(values, (0.5, 50, 99.5))
    return ChannelFingerprint(
        role=role,
        modality=dataset.modality.get(role, "MR"),
        from_foreground=bool(foreground.size),
        mean=float(values.mean()),
        deviation=float(values.std()),
        median=float(median),
        low=float(low),
        high=float(high),
        zero_share=float(np.median([f.zero_share[index] for f in facts])),
    )


def _three_int(grid: Geometry) -> tuple[int, int, int]:
    d, h, w = grid.shape
    return int(d), int(h), int(w)
