"""Batches as a pure function of (seed, step), and the thread that makes the next one while the network works."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from SemiSegLib.batches.augment import augmentation as augmentation_named
from SemiSegLib.batches.augment import flipped_axes
from SemiSegLib.batches.batch import Batch
from SemiSegLib.batches.distance import SIGNED_DISTANCE, SIGNED_DISTANCE_KNOWN, CaseDistances, DistanceMaps
from SemiSegLib.batches.grid import THICK
from SemiSegLib.batches.intensity import change_intensity
from SemiSegLib.batches.sampling import Pick, Sampler, draw_center, regime_shares
from SemiSegLib.batches.seeds import row_generator
from SemiSegLib.batches.spatial import Space, draw_warp, needed_block, resample_block
from SemiSegLib.batches.store import CaseSummary, PreparedCase, PreparedStore
from SemiSegLib.cases.dataset import Case
from SemiSegLib.errors import CaseError, ConfigError, LabelError, did_you_mean, explain
from SemiSegLib.labels.label_set import LabelSetTable, Regime
from SemiSegLib.planning.plan import Plan

# Codes are stored in one byte.
MOST_SETS = 256


class BatchSource:
    """Makes training batches from prepared cases.

    Args:
        store: the prepared cases.
        cases: cases to draw from.
        plan: patch, batch and axes.
        composition: share of each regime (by name) in a batch; absent ones give their rows to the others.
        seed: of sampling and augmentation.
        augmentation: "full", "light", "crop", "crop_turned" or "none".
        mirror: True flips patches along every axis; False or None along none but those of "crop_turned".
        device: where batches are augmented and live.
        maps: extra maps: "signed_distance" gives the batch (B, K, *S) float32 mm of the K ``distance_structures``,
            negative inside, and "signed_distance_known" (B, K) bool, whether the row's case tells them; else they are
            0. Computed from the whole case, cut and turned like the image; outside the volume the edge is continued.
            With them, patches of several thick slices are not scaled.
        target_share: probability that a row is centered on a class (nnU-Net: 1/3).
        outside_is_background: voxels of a patch beyond the volume are surely background, not unknown: where what is
            asked is what a patch shows, and they show nothing.

    Raises:
        CaseError: no case has a regime of the composition.
        ConfigError: a map or the augmentation is unknown.
    """

    def __init__(  # noqa: PLR0913 - each is one independent choice of the run request
        self,
        store: PreparedStore,
        cases: Iterable[Case],
        plan: Plan,
        *,
        composition: Mapping[str, float],
        seed: int,
        augmentation: str = "full",
        mirror: bool | None = None,
        device: torch.device | str = "cpu",
        maps: tuple[str, ...] = (),
        target_share: float = 1 / 3,
        outside_is_background: bool = False,
    ) -> None:
        unknown = [name for name in maps if name != SIGNED_DISTANCE]
        if unknown:
            remedy = did_you_mean(unknown[0], [SIGNED_DISTANCE])
            raise ConfigError(explain(f"the extra map '{unknown[0]}' is unknown", where="batch source", remedy=remedy))
        self.store = store
        self.plan = plan
        self.seed = seed
        self.device = torch.device(device)
        self.settings = augmentation_named(augmentation, mirror=mirror)
        summaries = {case.id: store.summary(case.id) for case in cases}
        present = [regime for regime in Regime if any(s.regime is regime for s in summaries.values())]
        used = regime_shares(composition, present)
        summaries = {i: s for i, s in summaries.items() if s.regime in used}
        self.sampler = Sampler(summaries, used, plan.batch, seed, target_share)
        tables = [s.table for s in summaries.values()]
        if outside_is_background:
            tables.append(LabelSetTable.of(tables[0].leaf_count, [frozenset({0})]))
        self.table = _table(store, tables)
        # Where it matters, codes are one higher until a patch is complete, so that the 0 around them is none of them.
        self._outside = self.table.code(frozenset({0})) if outside_is_background else None
        self._distances = DistanceMaps(store) if maps else None
        if self._distances is not None:
            self._distances.prepare(summaries)
        self._label_sets = torch.from_numpy(self.table.array.copy()).to(self.device)
        self._lookups = {s.table: _lookup(s.table, self.table) for s in summaries.values()}
        self._case_codes = {case_id: _codes_of(s, self.table).to(self.device) for case_id, s in summaries.items()}
        self._teaches_anywhere = composition.get(Regime.NONE.value, 0) > 0

    def batch(self, step: int) -> Batch:
        """Return the batch of a step; the same step gives the same batch, bit for bit.

        Raises:
            CaseError: a case cannot be read; the message names it.
        """
        picks = self.sampler.picks(step)
        patch = self._patch()
        image = torch.empty((len(picks), len(self.plan.channels), *patch), device=self.device)
        codes = torch.empty((len(picks), *patch), dtype=torch.int64, device=self.device)
        maps = self._empty_maps(len(picks))
        for row, pick in enumerate(picks):
            own = {name: value[row] for name, value in maps.items()}
            try:
                self._fill(step, row, pick, (image[row], codes[row], own))
            except (OSError, ValueError) as error:
                raise CaseError(
                    explain(
                        f"the prepared case cannot be read: {error}",
                        where=f"case '{pick.case_id}'",
                        remedy="resume the run; it prepares damaged cases again",
                    )
                ) from error
        if self.plan.dimensions == 2:
            image, codes = image.squeeze(2), codes.squeeze(1)
            maps = {name: value.squeeze(2) if value.ndim == 5 else value for name, value in maps.items()}
        return Batch(
            image=image,
            codes=codes,
            label_sets=self._label_sets,
            rows=self.sampler.rows(step),
            case_ids=tuple(pick.case_id for pick in picks),
            maps=maps,
            case_codes=torch.stack([self._case_codes[pick.case_id] for pick in picks]),
        )

    def _patch(self) -> tuple[int, int, int]:
        d, h, w = (1, *self.plan.patch) if self.plan.dimensions == 2 else self.plan.patch
        return d, h, w

    def _empty_maps(self, rows: int) -> dict[str, Tensor]:
        if self._distances is None:
            return {}
        count = len(self._distances.members)
        return {
            SIGNED_DISTANCE: torch.zeros((rows, count, *self._patch()), device=self.device),
            SIGNED_DISTANCE_KNOWN: torch.zeros((rows, count), dtype=torch.bool, device=self.device),
        }

    def _fill(self, step: int, row: int, pick: Pick, target: tuple[Tensor, Tensor, dict[str, Tensor]]) -> None:
        """Write one row into its place in the batch: image (M, *patch) float32, codes (*patch) int64, and its maps."""
        case = self.store.get(pick.case_id)
        spacing = case.spacing_mm
        in_plane = self.plan.dimensions == 2 or spacing[0] > THICK * min(spacing)
        generator = row_generator(self.seed, step, row, "change")
        space = Space(
            self._patch(),
            spacing,
            in_plane,
            flipped_axes(self.settings, self.plan),
            # Distances in space cannot follow what is scaled along two of its axes alone. This holds for rows that
            # tell none too: else the size of what they show would tell who was labeled.
            may_scale=self._distances is None or self.plan.dimensions == 2 or not in_plane,
        )
        warp = draw_warp(generator, self.settings, space)
        # From here on, a patch that is not square lies as it is read.
        patch = warp.facing(self._patch())
        place_of = row_generator(self.seed, step, row, "place")
        center = draw_center(
            case,
            pick.target,
            patch=patch,
            shift=self.settings.shift,
            elsewhere=self._teaches_anywhere,
            generator=place_of,
        )
        shape = case.codes.shape
        low, high = needed_block(warp, center, patch, (shape[0], shape[1], shape[2]))
        # Distances go along as channels of the image, so that the place of each voxel is worked out once.
        distances = self._distances.get(pick.case_id) if self._distances is not None else None
        image, codes = self._read(case, low, high, distances)
        channels = len(case.image)
        if warp.matrix is not None:
            image, codes = resample_block(
                image.float(), codes, warp, center=center - low, patch=patch, continued=len(image) - channels
            )
        axes = [axis for axis in range(3) if warp.flips[axis]]
        if axes:
            image, codes = image.flip([axis + 1 for axis in axes]), codes.flip(axes)
        start = np.zeros(3, dtype=int)
        if warp.matrix is None:
            # A block smaller than the patch lies in zeros; flipped, it lies at the other end.
            start = low - np.round(center - (np.array(patch) - 1) / 2).astype(int)
            far = np.array(patch) - start - np.array(codes.shape)
            start = np.where(warp.flips, far, start)

        def lying(values: Tensor) -> Tensor:
            return values.transpose(-1, -2) if warp.is_transposed else values

        place(image[:channels], lying(target[0]), start)
        place(codes, lying(target[1]), start)
        if self._outside is not None:
            target[1].sub_(1)
            target[1].masked_fill_(target[1] < 0, self._outside)
        if distances is not None:
            target[2][SIGNED_DISTANCE_KNOWN].copy_(torch.from_numpy(distances.known))
            near = continued(image[channels:], patch, start)
            for structure, distance in zip(np.flatnonzero(distances.known).tolist(), near, strict=True):
                # What is shrunk by a factor has distances that are smaller by it.
                lying(target[2][SIGNED_DISTANCE][structure]).copy_(distance).div_(warp.factor)
        change_intensity(target[0], generator, self.settings, in_plane=in_plane)

    def _read(
        self, case: PreparedCase, low: np.ndarray, high: np.ndarray, distances: CaseDistances | None
    ) -> tuple[Tensor, Tensor]:
        """Return a block on the device: float16 intensities, then distances; uint8 codes of the common table."""
        block = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        arrays = [case.image] if distances is None else [case.image, distances.maps]
        # Copied out of the mapped files, which are read-only; halves and bytes travel to the device.
        image = np.concatenate([array[(slice(None), *block)] for array in arrays])
        codes = np.array(case.codes[block])
        lookup = self._lookups[case.table]
        if lookup is not None:
            codes = lookup[codes]
        if self._outside is not None:
            codes = codes.astype(np.int16) + np.int16(1)
        return torch.from_numpy(image).to(self.device), torch.from_numpy(codes).to(self.device)


class MakesBatches(Protocol):
    """What gives the batch of any step: a source, or one process's share of it."""

    def batch(self, step: int) -> Batch:
        """Return the batch of a step."""
        ...


def prefetch(source: MakesBatches, first_step: int, stop_step: int | None = None) -> Iterator[Batch]:
    """Yield the batches of steps ``first_step`` to ``stop_step``, each made while the one before is used.

    One thread works one batch ahead. An error of a step is raised where its batch would have come. Closing the
    iterator ends the thread.
    """
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as pool:
        # Left alone, torch would give this thread helpers of its own, which fight with those of the network for the
        # cores; and sums would depend on the number of threads. The setting is per thread, but new threads copy the
        # last one made anywhere, so the caller's is made again.
        threads = torch.get_num_threads()
        pool.submit(_work_alone).result()
        torch.set_num_threads(threads)
        step = first_step
        ahead: Future[Batch] = pool.submit(source.batch, step)
        while stop_step is None or step < stop_step:
            batch = ahead.result()
            step += 1
            if stop_step is None or step < stop_step:
                ahead = pool.submit(source.batch, step)
            yield batch


def _work_alone() -> None:
    # Asking first makes torch set this thread up with the common number, which it would otherwise do later, over ours.
    torch.get_num_threads()
    torch.set_num_threads(1)


def place(block: Tensor, target: Tensor, start: np.ndarray) -> None:
    """Copy a block into a target of the same or larger last three axes at ``start``; the rest becomes 0."""
    if block.shape != target.shape:
        target.zero_()
        for axis, first in zip((-3, -2, -1), start.tolist(), strict=True):
            target = target.narrow(axis, int(first), block.shape[axis])
    target.copy_(block)


def continued(block: Tensor, patch: tuple[int, int, int], start: np.ndarray) -> Tensor:
    """Return (n, *patch) with a block of the same or smaller size at ``start``, its edge values all around."""
    for axis, (size, first) in enumerate(zip(patch, start.tolist(), strict=True), start=1):
        if block.shape[axis] != size:
            places = torch.arange(size, device=block.device).sub_(int(first)).clamp_(0, block.shape[axis] - 1)
            block = block.index_select(axis, places)
    return block


def _lookup(table: LabelSetTable, common: LabelSetTable) -> np.ndarray | None:
    codes = table.codes_in(common)
    return None if np.array_equal(codes, np.arange(len(codes))) else codes


def _codes_of(summary: CaseSummary, common: LabelSetTable) -> Tensor:
    """Return (C,) bool, the codes of the common table that a case has; code 0 only beside others."""
    found = np.zeros(len(common), dtype=bool)
    found[summary.table.codes_in(common)] = True
    found[0] = summary.is_in_part
    return torch.from_numpy(found)


def _table(store: PreparedStore, tables: list[LabelSetTable]) -> LabelSetTable:
    table = LabelSetTable.union([store.dataset.table(), *tables])
    if len(table) > MOST_SETS:
        raise LabelError(
            explain(
                f"the labels of all cases form {len(table)} different label sets, at most {MOST_SETS} fit",
                where=f"dataset '{store.dataset.name}'",
                remedy="draw fewer overlapping structures, or train on fewer of them",
            )
        )
    return table
