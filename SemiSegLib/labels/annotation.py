"""What the values of one annotation file mean: integers or segment names to label sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from SemiSegLib.errors import LabelError, explain
from SemiSegLib.labels.label_set import LabelSetTable, Regime, regime_of
from SemiSegLib.labels.scheme import LabelScheme


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
        elsewhere: for a ``.seg.nrrd``, the structures a voxel outside all segments may be.
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
            LabelError: the annotation has no value table, or it names an unknown structure.
        """
        if self.values is None:
            raise LabelError(
                explain("no table says what the values mean", where=self.file, remedy="add 'values' to the annotation")
            )
        return {value: scheme.leaf_set(names) for value, names in self.values.items()}

    def sets(self, scheme: LabelScheme) -> frozenset[frozenset[int]]:
        """Return every label set this annotation can give to a voxel, without opening the file."""
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
    values, inverse = np.unique(image, return_inverse=True)
    unknown = [int(v) for v in values if int(v) not in value_sets]
    if unknown:
        counts = ", ".join(f"{v} ({int((image == v).sum())} voxels)" for v in unknown[:5])
        raise LabelError(
            explain(
                f"values without a meaning occur: {counts}",
                where=where,
                remedy="say what each value means in 'values', or \"*\" where it is unknown",
            )
        )
    lookup = np.array([table.code(value_sets[int(v)]) for v in values], dtype=np.uint8)
    codes: np.ndarray = lookup[inverse].reshape(image.shape)
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

    Args:
        masks: segment name to (D, H, W) bool, all of one shape.
        sets: segment name to label set.
        elsewhere: the set of voxels that no segment covers.
        leaf_count: number of leaves of the scheme.

    Returns:
        codes (D, H, W) uint8, their table, and {(segment, segment): overlapping voxels} for siblings.
    """
    names = sorted(masks)
    shape = next(iter(masks.values())).shape
    signature = np.zeros(shape, dtype=np.int64)
    if len(names) > 62:
        raise LabelError(
            explain(
                f"{len(names)} segments, at most 62 are read", where="segmentation", remedy="split the segmentation"
            )
        )
    for bit, name in enumerate(names):
        signature |= masks[name].astype(np.int64) << bit
    found, inverse = np.unique(signature, return_inverse=True)
    overlaps: dict[tuple[str, str], int] = {}
    result: list[frozenset[int]] = []
    for value in found:
        covering = [name for bit, name in enumerate(names) if int(value) >> bit & 1]
        common = frozenset.intersection(*(sets[n] for n in covering)) if covering else elsewhere
        if not common:
            common = frozenset().union(*(sets[n] for n in covering))
            count = int((signature == value).sum())
            for i, first in enumerate(covering):
                for second in covering[i + 1 :]:
                    if not sets[first] & sets[second]:
                        overlaps[first, second] = overlaps.get((first, second), 0) + count
        result.append(common)
    table = LabelSetTable.of(leaf_count, result)
    lookup = np.array([table.code(s) for s in result], dtype=np.uint8)
    return lookup[inverse].reshape(shape), table, overlaps
