"""What the values of one annotation file mean: integers or segment names to label sets."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.label_set import LabelSetTable, Regime, regime_of
from SemiSegLib.labels.overlap import group_voxels, slabs
from SemiSegLib.labels.scheme import LabelScheme

# Label images are at most 16 bits wide, so a table of their values is small.
_LARGEST_LOOKUP = 1 << 17


@dataclass(frozen=True, kw_only=True)
class Extent:
    """Where a case was annotated; outside it every voxel may be anything. All parts given must hold.

    Attributes:
        slices: indices of annotated slices along ``slice_axis`` of the image file, or None for all.
        slice_axis: image axis i, j or k (0, 1, 2 in file order) of ``slices``.
        box: lowest and highest annotated voxel, file order ((i, j, k), (i, j, k)), both included, or None.
        mask: path of an image, non-zero where annotated, relative to the dataset, or None.
    """

    slices: tuple[int, ...] | None = None
    slice_axis: int = 2
    box: tuple[tuple[int, int, int], tuple[int, int, int]] | None = None
    mask: str | None = None

    @property
    def is_everything(self) -> bool:
        """Whether the whole image was annotated."""
        return self.slices is None and self.box is None and self.mask is None


@dataclass(frozen=True, kw_only=True)
class Annotation:
    """One annotation file and what it says.

    Attributes:
        file: label image, or a ``.seg.nrrd`` with named segments; relative to the dataset.
        values: for a label image, stored integer to structure names ("*" is anything). Every value that
            occurs must be listed.
        segments: for a ``.seg.nrrd``, segment name to structure names. Segments are matched by terminology,
            name or alias when this is empty.
        elsewhere: for a ``.seg.nrrd``, the structures a voxel outside all segments may be; background unless told,
            and where a dataset leaves the segments to be matched, also what has no segment in the file.
        extent: where the case was annotated.
    """

    file: str
    values: Mapping[int, tuple[str, ...]] | None = None
    segments: Mapping[str, tuple[str, ...]] | None = None
    elsewhere: tuple[str, ...] = ("background",)
    extent: Extent = Extent()

    def value_sets(self, scheme: LabelScheme) -> dict[int, frozenset[int]]:
        """Return stored integer to label set.

        Raises:
            LabelError: the annotation has no value table, or it names no structure or an unknown one.
        """
        if self.values is None:
            raise LabelError(
                explain("no table says what the values mean", where=self.file, remedy="add 'values' to the annotation")
            )
        for value, names in self.values.items():
            if not names:
                raise LabelError(
                    explain(f"the value {value} names no structure", where=self.file, remedy='use ["*"] for anything')
                )
        return {value: scheme.leaf_set(names) for value, names in self.values.items()}

    def sets(self, scheme: LabelScheme) -> frozenset[frozenset[int]]:
        """Return the label sets this annotation gives to voxels, without opening the file.

        Where segments of a ``.seg.nrrd`` overlap, further sets can arise; ``combine_segments`` returns the
        table with them.
        """
        if self.values is not None:
            named = set(self.value_sets(scheme).values())
        else:
            named = {scheme.leaf_set(names) for names in (self.segments or {}).values()}
            named.add(scheme.leaf_set(self.elsewhere))
        if not self.extent.is_everything:
            named.add(frozenset(range(len(scheme.leaves))))
        return frozenset(named)

    def table(self, scheme: LabelScheme) -> LabelSetTable:
        """Return the label-set table of this annotation."""
        return LabelSetTable.of(len(scheme.leaves), self.sets(scheme))

    def regime(self, scheme: LabelScheme) -> Regime:
        """Return the regime these sets amount to."""
        return regime_of(self.sets(scheme), scheme)


def encode_values(
    image: np.ndarray, value_sets: Mapping[int, frozenset[int]], table: LabelSetTable, *, where: str
) -> np.ndarray:
    """Return codes of ``table`` for an image of stored values.

    Args:
        image: (D, H, W) integer, any stored values.
        value_sets: stored integer to label set.
        table: holds every one of these sets.
        where: the file, for messages.

    Returns:
        (D, H, W) uint8 codes.

    Raises:
        LabelError: a value occurs that the table does not list; the message gives value and voxel count.
    """
    codes = np.zeros(image.shape, dtype=np.uint8)
    low, high = (int(image.min()), int(image.max())) if image.size else (0, -1)
    known = {value: table.code(value_sets[value]) for value in value_sets if low <= value <= high}
    if high - low < _LARGEST_LOOKUP:
        listed = np.zeros(high - low + 1, dtype=bool)
        lookup = np.zeros(high - low + 1, dtype=np.uint8)
        for value, code in known.items():
            listed[value - low], lookup[value - low] = True, code
        all_listed = True
        for slab in slabs(image.shape):
            position = image[slab].astype(np.intp) - low
            codes[slab] = lookup[position]
            all_listed = all_listed and bool(listed[position].all())
    else:
        values, inverse = np.unique(image, return_inverse=True)
        all_listed = all(int(value) in value_sets for value in values)
        codes = np.array([known.get(int(value), 0) for value in values], dtype=np.uint8)[inverse].reshape(image.shape)
    if not all_listed:
        raise _unlisted_values(image, value_sets, where)
    return codes


def combine_segments(
    masks: Mapping[str, np.ndarray],
    sets: Mapping[str, frozenset[int]],
    elsewhere: frozenset[int],
    *,
    leaf_count: int,
) -> tuple[np.ndarray, LabelSetTable, dict[tuple[str, str], int]]:
    """Return one code image for segments that may overlap.

    Where several segments cover a voxel, their sets are intersected: a parent over its child is the child.
    Where the intersection is empty (siblings overlap), the voxel may be any structure of the union, so no
    label is lost and none is preferred; the pairs are returned so that the user can be asked.

    Memory beyond the masks is one byte a voxel (two if more than 256 combinations of segments overlap).

    Args:
        masks: segment name to (D, H, W) bool, all of one shape; they may be made when they are asked for.
        sets: segment name to label set.
        elsewhere: the set of voxels that no segment covers.
        leaf_count: number of leaves of the scheme.

    Returns:
        codes (D, H, W) uint8, their table, and {(segment, segment): overlapping voxels} for siblings.

    Raises:
        LabelError: there is no segment, a segment has no set, or the masks differ in shape.
    """
    _require_meaning(masks, sets)
    shape = masks[min(masks)].shape
    groups, covering, voxels = group_voxels(masks, shape)
    occurring = {group: covering[group] for group in range(len(covering)) if voxels[group] or group == 0}
    group_sets, clashing = _group_sets(occurring, sets, elsewhere)
    overlaps: dict[tuple[str, str], int] = {}
    for group, pairs in clashing.items():
        for pair in pairs:
            overlaps[pair] = overlaps.get(pair, 0) + voxels[group]
    if not voxels[0]:
        del group_sets[0]
    table = LabelSetTable.of(leaf_count, group_sets.values())
    lookup = np.zeros(len(covering), dtype=np.uint8)
    lookup[list(group_sets)] = [table.code(leaf_set) for leaf_set in group_sets.values()]
    codes = groups if groups.dtype == np.uint8 else np.empty(shape, dtype=np.uint8)
    for slab in slabs(shape):
        codes[slab] = lookup[groups[slab]]
    return codes, table, overlaps


def _group_sets(
    covering: Mapping[int, tuple[str, ...]], sets: Mapping[str, frozenset[int]], elsewhere: frozenset[int]
) -> tuple[dict[int, frozenset[int]], dict[int, list[tuple[str, str]]]]:
    """Return the label set of each group of segments, and the pairs that exclude each other in it."""
    result: dict[int, frozenset[int]] = {}
    clashing: dict[int, list[tuple[str, str]]] = {}
    for group, names in covering.items():
        result[group] = frozenset.intersection(*(sets[name] for name in names)) if names else elsewhere
        if not result[group]:
            result[group] = frozenset().union(*(sets[name] for name in names))
            clashing[group] = [pair for pair in combinations(names, 2) if not sets[pair[0]] & sets[pair[1]]]
    return result, clashing


def _require_meaning(masks: Iterable[str], sets: Mapping[str, frozenset[int]]) -> None:
    names = list(masks)
    if not names:
        raise LabelError(
            explain("expected segments, found none", where="segmentation", remedy="draw a segment or drop the file")
        )
    for name in names:
        if not sets.get(name):
            raise LabelError(
                explain(
                    "nothing says which structure the segment is",
                    where=f"segment '{name}'",
                    remedy="name its structures in 'segments' of the annotation",
                )
            )


def _unlisted_values(image: np.ndarray, known: Container[int], where: str) -> LabelError:
    values, counts = np.unique(image, return_counts=True)
    unknown = [(int(v), int(n)) for v, n in zip(values, counts, strict=True) if int(v) not in known]
    listed = ", ".join(f"{value} ({count} voxels)" for value, count in unknown[:5])
    more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
    return LabelError(
        explain(
            f"values without a meaning occur: {listed}{more}",
            where=where,
            remedy="say what each value means in 'values', or \"*\" where it is unknown",
        )
    )
