"""Prepared cases on disk: made once, found again by the hash of what they depend on, read by the patch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from SemiSegLib.batches.entry import Arrays, content_hash, open_array, remove_stale, require_entry
from SemiSegLib.batches.grid import PlanGrid
from SemiSegLib.batches.prepare import prepare_codes, prepare_image
from SemiSegLib.cases.dataset import Case, Dataset, frame_of
from SemiSegLib.cases.reading import read_codes, read_images
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.config import to_json
from SemiSegLib.errors import CaseError, explain
from SemiSegLib.labels.label_set import LabelSetTable, Regime, regime_of
from SemiSegLib.planning.plan import Plan

# Raise this when the same input would be prepared differently; entries of older numbers are then never found.
FORMAT = 2
# Places kept of each class: plenty for centering patches, and small in memory (3 kB).
CENTERS = 512
# Mapped pages of open cases count as memory of the process, so few are kept open.
OPEN_CASES = 8


@dataclass(frozen=True)
class PreparedCase:
    """One case on the plan's grid.

    Attributes:
        id: case id.
        image: (M, D, H, W) float16 along the plan axes, mapped from the disk.
        codes: (D, H, W) uint8 rows of ``table``, mapped from the disk; all 0 without annotation.
        table: label sets of this case.
        regime: how much its labels say.
        spacing_mm: along the plan axes.
        centers: class name to (n, 3) voxels that surely are foreground of that class, a sample of at most 512.
        known: (n, 3) sample of annotated voxels, empty if every voxel or none is annotated.
    """

    id: str
    image: np.ndarray
    codes: np.ndarray
    table: LabelSetTable
    regime: Regime
    spacing_mm: tuple[float, float, float]
    centers: Mapping[str, np.ndarray]
    known: np.ndarray


@dataclass(frozen=True)
class CaseSummary:
    """What sampling must know of a case without opening it.

    Attributes:
        table: label sets of the case.
        regime: how much its labels say.
        classes: names of the foreground classes that occur in it.
        is_in_part: some of its voxels were annotated and others were not.
    """

    table: LabelSetTable
    regime: Regime
    classes: tuple[str, ...]
    is_in_part: bool = False


class PreparedStore:
    """The prepared cases of a dataset under a plan.

    Image and codes of a case are entries of their own, named by the hash of everything they depend on: the bytes of
    the files, what the values mean, the structures, the plan's data part. So a changed label voxel prepares the codes
    of that one case again, and studies that differ in their labels share the images.

    Args:
        folder: place of the cache; may be shared by several runs and processes.
        dataset: the study.
        plan: says orientation, spacing and normalization.
    """

    def __init__(self, folder: Path, dataset: Dataset, plan: Plan) -> None:
        self.folder = Path(folder)
        self.dataset = dataset
        self.plan = plan
        self._found: dict[str, _Entries] = {}
        self._open: OrderedDict[str, PreparedCase] = OrderedDict()
        self._tables: dict[LabelSetTable, LabelSetTable] = {}
        self._lock = Lock()

    def with_plan(self, plan: Plan) -> PreparedStore:
        """Return the same cases under a plan of another patch, batch or network, on which no prepared case depends.

        What was found is taken over: nothing is read or hashed again.

        Args:
            plan: with the orientation, spacing and channels of this store's.
        """
        assert _image_part(plan) == _image_part(self.plan), "prepared cases would be others under this plan"
        other = PreparedStore(self.folder, self.dataset, plan)
        other._found, other._tables = dict(self._found), dict(self._tables)
        return other

    def prepare(
        self, case_ids: Iterable[str] | None = None, *, on_progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Make sure that cases are prepared and sound; what is already there is only checked.

        Args:
            case_ids: the cases, or None for all.
            on_progress: told (cases done, cases in all).

        Raises:
            CaseError: a case cannot be read, or the disk refuses.
        """
        remove_stale(self.folder)
        ids = [c.id for c in self.dataset.cases] if case_ids is None else list(case_ids)
        for done, case_id in enumerate(ids, start=1):
            self._require(case_id)
            if on_progress is not None:
                on_progress(done, len(ids))

    def summary(self, case_id: str) -> CaseSummary:
        """Return what is known of a case without opening its voxels; prepares it when needed."""
        return self._require(case_id).summary

    def codes_name(self, case_id: str) -> str:
        """Return the name of the entry of a case's codes, a hash of all they depend on; "" without annotation."""
        found = self._require(case_id)
        return found.codes.name if found.codes is not None else ""

    def grid(self, case_id: str) -> PlanGrid:
        """Return where the voxels of a prepared case come from."""
        facts = self._require(case_id).image_facts
        return PlanGrid.of(Geometry(tuple(facts["shape"]), np.array(facts["affine"])), self.plan)

    def content_keys(self) -> dict[str, tuple[str, str]]:
        """Return, of the cases used so far, the hashes of image and labels with all they depend on ("" for none)."""
        return {
            case_id: (found.image.name, found.codes.name if found.codes is not None else "")
            for case_id, found in sorted(self._found.items())
        }

    def get(self, case_id: str) -> PreparedCase:
        """Return a prepared case; prepares it when needed."""
        with self._lock:
            if case_id in self._open:
                self._open.move_to_end(case_id)
                return self._open[case_id]
        case = self._read(case_id)
        with self._lock:
            self._open[case_id] = case
            while len(self._open) > OPEN_CASES:
                self._open.popitem(last=False)
        return case

    def _read(self, case_id: str) -> PreparedCase:
        found = self._require(case_id)
        image = open_array(found.image, "image", found.image_facts)
        # Without annotation a zero-stride view: no memory, and no file that could hold a label.
        codes = np.broadcast_to(np.uint8(0), image.shape[1:])
        if found.codes is not None:
            codes = open_array(found.codes, "codes", found.codes_facts)
        summary = found.summary
        return PreparedCase(
            id=case_id,
            image=image,
            codes=codes,
            table=summary.table,
            regime=summary.regime,
            spacing_mm=found.spacing_mm,
            centers=found.centers,
            known=found.known,
        )

    def _require(self, case_id: str) -> _Entries:
        found = self._found.get(case_id)
        if found is None:
            found = self._find_or_make(self.dataset.case(case_id))
            self._found[case_id] = found
        return found

    def _find_or_make(self, case: Case) -> _Entries:
        dataset, plan = self.dataset, self.plan
        references = [_reference(case, role) for role in dataset.channels]
        images = [dataset.path(reference) for reference in references]
        frames = [frame_of(reference) for reference in references]
        folder = self.folder / f"image-{content_hash(FORMAT, *images, frames, _image_part(plan))}"
        facts = require_entry(folder, lambda: self._write_image(case))
        spacing = tuple(facts["spacing_mm"])
        if case.annotation is None:
            nothing = self._shared(LabelSetTable.of(len(dataset.scheme.leaves), ()))
            return _Entries(folder, facts, spacing, CaseSummary(nothing, Regime.NONE, ()))
        geometry = Geometry(tuple(facts["shape"]), np.array(facts["affine"]))
        codes_folder = self.folder / f"codes-{self._codes_key(case, geometry)}"
        codes_facts = require_entry(codes_folder, lambda: self._write_codes(case, geometry))
        table = LabelSetTable(len(dataset.scheme.leaves), tuple(frozenset(s) for s in codes_facts["sets"]))
        annotation = case.annotation
        # A segmentation matched by names tells its label sets only when it is read.
        is_listed = annotation.values is not None or bool(annotation.segments)
        occurring = [table.sets[code] for code in codes_facts["occurring"]]
        regime = case.regime(dataset.scheme) if is_listed else regime_of(occurring, dataset.scheme)
        # Copied, so that the file does not stay mapped.
        places = np.array(open_array(codes_folder, "centers", codes_facts))
        *parts, known = np.split(places, np.cumsum(codes_facts["counts"])[:-1])
        classes = tuple(codes_facts["classes"])
        summary = CaseSummary(self._shared(table), regime, classes, is_in_part=len(known) > 0)
        centers = dict(zip(classes, parts, strict=True))
        return _Entries(folder, facts, spacing, summary, codes_folder, codes_facts, centers, known)

    def _codes_key(self, case: Case, geometry: Geometry) -> str:
        """Return the hash of all that codes depend on; of the image that is the grid alone."""
        annotation = case.annotation
        assert annotation is not None
        files = [self.dataset.path(name) for name in (annotation.file, annotation.extent.mask) if name is not None]
        meaning = replace(annotation, file="", extent=replace(annotation.extent, mask=None))
        structures = [replace(s, color=(0.0, 0.0, 0.0)) for s in self.dataset.scheme.structures]
        grid = [geometry.shape, geometry.affine.tolist(), _geometry_part(self.plan)]
        return content_hash(FORMAT, *files, to_json(meaning), to_json(structures), grid)

    def _write_image(self, case: Case) -> tuple[Arrays, dict[str, Any]]:
        image, grid = prepare_image(read_images(self.dataset, case), self.plan)
        source = grid.source
        described = {"shape": source.shape, "affine": source.affine.tolist(), "spacing_mm": grid.spacing_mm}
        largest = np.finfo(np.float16).max
        return {"image": np.clip(image, -largest, largest).astype(np.float16)}, described

    def _write_codes(self, case: Case, geometry: Geometry) -> tuple[Arrays, dict[str, Any]]:
        native, table = read_codes(self.dataset, case, geometry)
        codes = prepare_codes(native, PlanGrid.of(geometry, self.plan))
        occurring = [int(code) for code in np.unique(codes)]
        generator = np.random.default_rng(0)
        foreground = [code for code in occurring if 0 not in table.sets[code]]
        places = [_places(codes == code, generator) for code in foreground]
        is_mixed = 0 in occurring and len(occurring) > 1
        places.append(_places(codes != 0, generator) if is_mixed else np.zeros((0, 3), dtype=np.uint16))
        described = {
            "sets": [sorted(s) for s in table.sets],
            "occurring": occurring,
            "classes": [self.dataset.scheme.describe(table.sets[code]) for code in foreground],
            "counts": [len(p) for p in places],
        }
        return {"codes": codes, "centers": np.concatenate(places)}, described

    def _shared(self, table: LabelSetTable) -> LabelSetTable:
        # Hundreds of cases have few different tables; one object each keeps memory flat.
        return self._tables.setdefault(table, table)


@dataclass(frozen=True)
class _Entries:
    image: Path
    image_facts: Mapping[str, Any]
    spacing_mm: tuple[float, float, float]
    summary: CaseSummary
    codes: Path | None = None
    codes_facts: Mapping[str, Any] = field(default_factory=dict)
    centers: Mapping[str, np.ndarray] = field(default_factory=dict)
    known: np.ndarray = field(default_factory=lambda: np.zeros((0, 3), dtype=np.uint16))


def _places(mask: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return an (n, 3) uint16 sample of the voxels of a mask, at most CENTERS of them."""
    flat = np.flatnonzero(mask)
    if flat.size > CENTERS:
        flat = np.sort(generator.choice(flat, CENTERS, replace=False))
    return np.stack(np.unravel_index(flat, mask.shape), axis=1).astype(np.uint16)


def _geometry_part(plan: Plan) -> dict[str, Any]:
    return {"axis_order": plan.axis_order, "spacing_mm": plan.spacing_mm}


def _image_part(plan: Plan) -> dict[str, Any]:
    return {**_geometry_part(plan), "channels": to_json(plan.channels)}


def _reference(case: Case, role: str) -> str:
    if role not in case.images:
        raise CaseError(
            explain(
                f"the channel '{role}' is missing",
                where=f"case '{case.id}'",
                remedy=f"add its image or leave the case out; channels given are: {', '.join(case.images) or 'none'}",
            )
        )
    return case.images[role]
