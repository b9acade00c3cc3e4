"""A case is read onto one grid, and every voxel gets the label set that its annotation gives it."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.file_error import FileError
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.reading import read_annotation, read_codes, read_images
from SemiSegLib.cases.volume import Geometry, Volume, write_volume
from SemiSegLib.errors import CaseError, LabelError
from SemiSegLib.labels.annotation import Annotation, Extent
from SemiSegLib.labels.scheme import Code, Terminology
from SemiSegLib.labels.terminology import to_slicer_string
from Testing.lib.cases.tiny import (
    SHAPE,
    image,
    labels,
    moved,
    oblique,
    put_case,
    put_dataset,
    put_segmentation,
    scheme,
)

VALUES = {0: ("background",), 1: ("head",), 2: ("tail",), 3: ("vessel",)}
TUMOR = Terminology(
    category=Code(scheme="SCT", value="49755003", meaning="Morphologically Altered Structure"),
    type=Code(scheme="SCT", value="4147007", meaning="Mass"),
)


def study(folder, annotation, **changes):
    case = Case(id="a", patient="a", images={"T1": "T1.nrrd", "T2": "T2.nrrd"}, annotation=annotation)
    dataset = Dataset(
        name="study",
        scheme=scheme(),
        channels=("T1", "T2"),
        cases=(case,),
        root=folder,
        modality={"T1": "MR", "T2": "MR"},
    )
    return replace(dataset, **changes)


def possible(dataset, annotation=None, geometry=None):
    """(D, H, W, L) bool: the leaves each voxel may be, which is all that a training sees."""
    case = dataset.cases[0]
    case = case if annotation is None else replace(case, annotation=annotation)
    codes, table = read_codes(dataset, case, geometry or oblique())
    assert codes.dtype == np.uint8
    assert codes.shape == (geometry or oblique()).shape
    return table.array[codes]


def leaves(*names):
    return np.isin(scheme().leaf_names, names)


# Channels


def test_channels_come_in_the_order_of_the_dataset_on_the_grid_of_the_first(tmp_path):
    write_volume(image(1), tmp_path / "T1.nrrd")
    write_volume(image(2, moved(oblique(), (0.1, 0.0, 0.0))), tmp_path / "T2.nrrd")
    first, second = read_images(study(tmp_path, None), study(tmp_path, None).cases[0])
    assert np.array_equal(first.voxels, image(1).voxels)
    assert second.geometry == first.geometry
    assert second.voxels.dtype == np.float32
    assert not np.array_equal(second.voxels, image(2).voxels)
    swapped = study(tmp_path, None, channels=("T2", "T1"))
    assert np.array_equal(read_images(swapped, swapped.cases[0])[0].voxels, image(2).voxels)


def test_a_missing_channel_and_one_on_another_grid_are_refused(tmp_path):
    write_volume(image(1), tmp_path / "T1.nrrd")
    write_volume(image(2, moved(oblique(), (2.0, 0.0, 0.0))), tmp_path / "T2.nrrd")
    dataset = study(tmp_path, None)
    with pytest.raises(FileError, match="the origin is displaced by 2, 0, 0 mm"):
        read_images(dataset, dataset.cases[0])
    with pytest.raises(CaseError, match="channel 'T2' is missing; given are: T1"):
        read_images(dataset, replace(dataset.cases[0], images={"T1": "T1.nrrd"}))


# Label images


def test_every_value_becomes_the_set_that_the_table_names(tmp_path):
    write_volume(labels(1), tmp_path / "labels.nrrd")
    values = {0: ("background", "vessel"), 1: ("organ",), 2: ("tail",), 3: ("*",)}
    dataset = study(tmp_path, Annotation(file="labels.nrrd", values=values))
    found = possible(dataset)
    stored = labels(1).voxels
    for value, names in {0: ("background", "vessel"), 1: ("head", "tail"), 2: ("tail",)}.items():
        assert (found[stored == value] == leaves(*names)).all()
    assert found[stored == 3].all()


def test_a_value_that_the_table_does_not_list_is_refused_with_its_place(tmp_path):
    voxels = labels(1).voxels.copy()
    voxels[2, 3, 4] = 77
    write_volume(Volume(voxels, oblique()), tmp_path / "labels.nrrd")
    dataset = study(tmp_path, Annotation(file="labels.nrrd", values=VALUES))
    with pytest.raises(FileError, match=r"77 \(1 voxel\)(.|\n)*i, j, k = 4, 3, 2"):
        possible(dataset)


def test_a_structure_that_the_scheme_lacks_is_refused(tmp_path):
    write_volume(labels(1), tmp_path / "labels.nrrd")
    values = VALUES | {3: ("vesel",)}
    with pytest.raises(LabelError, match="did you mean 'vessel'"):
        possible(study(tmp_path, Annotation(file="labels.nrrd", values=values)))
    with pytest.raises(LabelError, match="no table says"):
        possible(study(tmp_path, Annotation(file="labels.nrrd")))


def test_a_case_without_annotation_may_be_anything_and_opens_no_file(tmp_path):
    (tmp_path / "labels.nrrd").write_bytes(b"garbage")
    dataset = study(tmp_path, None)
    codes, table = read_codes(dataset, dataset.cases[0], oblique())
    assert not codes.any()
    assert len(table) == 1
    with pytest.raises(FileError, match="cannot be read"):
        possible(dataset, Annotation(file="labels.nrrd", values=VALUES))


def test_labels_displaced_by_part_of_a_voxel_go_to_the_nearest_voxel(tmp_path):
    write_volume(labels(1, moved(oblique(), (0.25, 0.0, 0.0))), tmp_path / "labels.nrrd")
    dataset = study(tmp_path, Annotation(file="labels.nrrd", values=VALUES))
    reading = read_annotation(dataset, dataset.cases[0], oblique())
    assert len(reading.shifts) == 1
    assert reading.shifts[0].displacement_mm == pytest.approx(0.25)
    assert np.array_equal(reading.table.array[reading.codes].argmax(-1), labels(1).voxels)


# Extents


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_outside_the_annotated_slices_a_voxel_may_be_anything(tmp_path, axis):
    write_volume(labels(1), tmp_path / "labels.nrrd")
    extent = Extent(slices=(1, 3), slice_axis=axis)
    found = possible(study(tmp_path, Annotation(file="labels.nrrd", values=VALUES, extent=extent)))
    found = np.moveaxis(found, 2 - axis, 0)
    stored = np.moveaxis(labels(1).voxels, 2 - axis, 0)
    assert np.array_equal(found[[1, 3]].argmax(-1), stored[[1, 3]])
    assert (found[[1, 3]].sum(-1) == 1).all()
    assert np.delete(found, [1, 3], axis=0).all()


def test_box_and_mask_bound_what_was_annotated_and_must_both_hold(tmp_path):
    write_volume(labels(1), tmp_path / "labels.nrrd")
    looked = np.zeros(SHAPE, np.uint8)
    looked[:, 2:, :] = 1
    write_volume(Volume(looked, oblique()), tmp_path / "looked.nrrd")
    extent = Extent(box=((1, 0, 0), (5, 4, 2)), mask="looked.nrrd")
    found = possible(study(tmp_path, Annotation(file="labels.nrrd", values=VALUES, extent=extent)))
    inside = np.zeros(SHAPE, bool)
    inside[0:3, 2:5, 1:6] = True  # i 1 to 5, j 0 to 4 and from 2 on, k 0 to 2
    assert (found[inside].sum(-1) == 1).all()
    assert found[~inside].all()


@pytest.mark.parametrize(
    "extent",
    [Extent(slices=(5,)), Extent(slices=(-1,)), Extent(slices=(0,), slice_axis=3), Extent(box=((0, 0, 0), (9, 0, 0)))],
)
def test_an_extent_outside_the_image_is_refused(tmp_path, extent):
    write_volume(labels(1), tmp_path / "labels.nrrd")
    with pytest.raises(FileError, match="not inside the image of 9 x 7 x 5 voxels"):
        possible(study(tmp_path, Annotation(file="labels.nrrd", values=VALUES, extent=extent)))


# Segmentations


def random_segments(random):
    """Overlapping drawings of up to four structures, a parent among them."""
    names = [n for n in ("organ", "head", "tail", "vessel") if random.random() < 0.8] or ["head"]
    return {name: random.random(SHAPE) < 0.3 for name in names}


def expected_sets(drawn):
    """(D, H, W, L) bool from the definition: all that cover a voxel, else, where they clash, any of them."""
    every, some = np.ones((*SHAPE, 4), bool), np.zeros((*SHAPE, 4), bool)
    for name, mask in drawn.items():
        leaf_set = leaves("head", "tail") if name == "organ" else leaves(name)
        every &= leaf_set | ~mask[..., None]
        some |= leaf_set & mask[..., None]
    result = np.where(every.any(-1, keepdims=True), every, some)
    result[~np.logical_or.reduce(list(drawn.values()))] = leaves("background")
    return result


def shuffled_file(path, drawn, random):
    """Write the segments in random order, layers, integers and spelling; disjoint ones may share a layer."""
    names = list(drawn)
    random.shuffle(names)
    layers: list[np.ndarray] = []
    segments = []
    for name in names:
        free = [n for n, layer in enumerate(layers) if not (layer[drawn[name]]).any()]
        if not free or random.random() < 0.3:
            layers.append(np.zeros(SHAPE, np.uint8))
            free = [len(layers) - 1]
        layer = free[random.integers(len(free))]
        used = {s["value"] for s in segments if s["layer"] == layer}
        value = int(random.choice([v for v in range(1, 200) if v not in used]))
        layers[layer][drawn[name]] = value
        spelling = random.choice([name, name.upper(), name.title(), f" {name[0]}_{name[1:]}"])
        segments.append({"name": str(spelling), "layer": layer, "value": value})
    put_segmentation(path, np.stack(layers), segments, oblique())


def test_order_layers_integers_and_spelling_of_segments_change_nothing(tmp_path):
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd"))
    for number in range(500):
        random = np.random.default_rng(number)
        # Every second drawing has no overlap, so that one layer can hold it.
        drawn = random_segments(random)
        if number % 2:
            taken = np.zeros(SHAPE, bool)
            for name in drawn:
                drawn[name] &= ~taken
                taken |= drawn[name]
        shuffled_file(tmp_path / "a.seg.nrrd", drawn, random)
        assert np.array_equal(possible(dataset), expected_sets(drawn)), number


def test_shuffling_stored_integers_of_a_label_image_changes_nothing(tmp_path):
    dataset = study(tmp_path, None)
    stored = labels(1).voxels
    write_volume(labels(1), tmp_path / "labels.nrrd")
    reference = possible(dataset, Annotation(file="labels.nrrd", values=VALUES))
    for number in range(100):
        numbers = np.random.default_rng(number).permutation(60000)[:4].astype(np.uint16)
        write_volume(Volume(numbers[stored], oblique()), tmp_path / "other.nrrd")
        values = {int(numbers[value]): names for value, names in VALUES.items()}
        assert np.array_equal(possible(dataset, Annotation(file="other.nrrd", values=values)), reference)


def test_siblings_that_overlap_may_be_either_and_are_reported(tmp_path):
    head, tail = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    head[1:3], tail[2:4] = 1, 1
    segments = [{"name": "head", "layer": 0, "value": 1}, {"name": "tail", "layer": 1, "value": 1}]
    put_segmentation(tmp_path / "a.seg.nrrd", np.stack([head, tail]), segments, oblique())
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd"))
    reading = read_annotation(dataset, dataset.cases[0], oblique())
    assert dict(reading.overlaps) == {("head", "tail"): 63}
    assert (reading.table.array[reading.codes[2]] == leaves("head", "tail")).all()


def test_segments_of_several_layers_are_not_all_held_at_once(tmp_path):
    grid, count = oblique((30, 80, 100)), 40
    layers = np.zeros((2, *grid.shape), np.uint8)
    segments = []
    for number in range(count):
        layers[number % 2, number // 2, 10:20, 10:30] = number + 1
        segments.append({"name": f"s{number}", "layer": number % 2, "value": number + 1})
    put_segmentation(tmp_path / "a.seg.nrrd", layers, segments, grid)
    names = {segment["name"]: ("head",) for segment in segments}
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd", segments=names))
    tracemalloc.start()
    try:
        reading = read_annotation(dataset, dataset.cases[0], grid)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert np.array_equal((reading.table.array[reading.codes] == leaves("head")).all(-1), layers.any(0))
    # The two layers, copies of them and of one mask, and the codes; a byte for each segment came on top.
    assert peak < 15 * layers[0].nbytes


def test_two_segments_of_one_name_are_one(tmp_path):
    first, second, over = np.zeros((3, *SHAPE), np.uint8)
    first[1], second[2], over[2, 0] = 1, 5, 1
    segments = [
        {"name": "head", "layer": 0, "value": 1},
        {"name": "head", "layer": 1, "value": 5},
        {"name": "vessel", "layer": 2, "value": 1},
    ]
    put_segmentation(tmp_path / "a.seg.nrrd", np.stack([first, second, over]), segments, oblique())
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd"))
    drawn = {"head": (first > 0) | (second > 0), "vessel": over > 0}
    assert np.array_equal(possible(dataset), expected_sets(drawn))


def test_segments_are_matched_by_terminology_before_name(tmp_path):
    data = json.loads((put_dataset(tmp_path, []) / "dataset.json").read_text())
    terms = (
        {"scheme": "SCT", "value": "49755003", "meaning": "Altered"},
        {"scheme": "SCT", "value": "4147007", "meaning": "M"},
    )
    data["scheme"]["structures"].append({"name": "tumor", "terminology": {"category": terms[0], "type": terms[1]}})
    entry = put_case(tmp_path, "a", 1)
    entry["annotation"] = {"file": "a.seg.nrrd"}
    put_dataset(tmp_path, [entry], scheme=data["scheme"])
    tag = f"Segmentation.Status:completed|TerminologyEntry:{to_slicer_string(TUMOR)}|"
    drawn = np.ones((1, *SHAPE), np.uint8)
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "Segment_1", "value": 1, "tags": tag}], oblique())
    dataset = load_dataset(tmp_path)
    assert dataset.cases[0].annotation.segments == {"Segment_1": ("tumor",)}
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "vessel", "value": 1, "tags": tag}], oblique())
    with pytest.raises(FileError, match="'tumor' by its terminology and 'vessel' by its name"):
        read_codes(load_dataset(tmp_path), load_dataset(tmp_path).cases[0], oblique())


def test_an_alias_names_a_segment_and_an_unknown_name_is_never_guessed(tmp_path):
    drawn = np.ones((1, *SHAPE), np.uint8)
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd"))
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "Caput", "value": 1}], oblique())
    assert (possible(dataset) == leaves("head")).all()
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "kaput", "value": 1}], oblique())
    with pytest.raises(FileError, match="'kaput' is no structure"):
        possible(dataset)
    listed = Annotation(file="a.seg.nrrd", segments={"kaput": ("vessel",)})
    assert (possible(dataset, listed) == leaves("vessel")).all()
    with pytest.raises(FileError, match="'kaput' is not listed"):
        possible(dataset, Annotation(file="a.seg.nrrd", segments={"other": ("vessel",)}))


def test_where_no_segment_is_the_annotation_says_what_a_voxel_may_be(tmp_path):
    drawn = np.zeros((1, *SHAPE), np.uint8)
    drawn[0, :2] = 1
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, [{"name": "head", "value": 1}], oblique())
    annotation = Annotation(file="a.seg.nrrd", elsewhere=("background", "tail", "vessel"))
    found = possible(study(tmp_path, annotation))
    assert (found[:2] == leaves("head")).all()
    assert (found[2:] == leaves("background", "tail", "vessel")).all()


def test_a_segmentation_cropped_by_slicer_is_put_in_its_place(tmp_path):
    whole = labels(1).voxels
    block = whole[1:4, 2:6, 3:8]
    affine = oblique().affine.copy()
    affine[:3, 3] = (affine @ [1, 2, 3, 1])[:3]
    segments = [{"name": n, "value": v} for v, n in ((1, "head"), (2, "tail"), (3, "vessel"))]
    put_segmentation(tmp_path / "a.seg.nrrd", block[None], segments, Geometry(block.shape, affine))
    expected = np.zeros(SHAPE, int)
    expected[1:4, 2:6, 3:8] = block
    dataset = study(tmp_path, Annotation(file="a.seg.nrrd"))
    assert np.array_equal(possible(dataset).argmax(-1), expected)
    # The image ends inside the block: what is outside is counted.
    small = Geometry((3, 7, 9), oblique().affine)
    reading = read_annotation(dataset, dataset.cases[0], small)
    assert sum(reading.cropped_voxels.values()) == int((block[2] > 0).sum())
    # Without Slicer's mark a file of another size is an error.
    put_segmentation(tmp_path / "a.seg.nrrd", block[None], segments, Geometry(block.shape, affine), offset=False)
    with pytest.raises(FileError, match="the label has 5 x 4 x 3 voxels"):
        possible(dataset)


def test_a_whole_segmentation_displaced_by_voxels_is_an_error(tmp_path):
    drawn = labels(1).voxels[None]
    segments = [{"name": n, "value": v} for v, n in ((1, "head"), (2, "tail"), (3, "vessel"))]
    put_segmentation(tmp_path / "a.seg.nrrd", drawn, segments, moved(oblique(), (0.0, 0.0, 3.0)))
    with pytest.raises(FileError, match="the origin is displaced"):
        possible(study(tmp_path, Annotation(file="a.seg.nrrd")))


def test_a_segmentation_that_names_no_segment_is_refused(tmp_path):
    write_volume(labels(1), tmp_path / "a.seg.nrrd")
    with pytest.raises(FileError, match="names no segments"):
        possible(study(tmp_path, Annotation(file="a.seg.nrrd")))
