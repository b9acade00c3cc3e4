"""What the labels of a dataset say of each voxel, through the scene and back: never less than a voxel may be."""

import numpy as np
import pytest

from SemiSegLib.cases.dataset import Case, Dataset
from SemiSegLib.cases.reading import read_codes
from SemiSegLib.cases.volume import Geometry, Volume, read_volume, write_volume
from SemiSegLib.labels.annotation import Annotation
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegModule.bridge import dataset_import
from SemiSegModule.bridge.dataset_import import loadCase, readCase
from SemiSegModule.bridge.overlaps import EITHER
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes
from Testing.bridge.exports import a_case

PARTS = ("a", "b", "c", "d")
ORGAN = LabelScheme(
    name="an organ of four parts",
    structures=(
        Structure(name="organ"),
        Structure(name="front", parent="organ"),
        Structure(name="a", parent="front"),
        Structure(name="b", parent="front"),
        Structure(name="c", parent="organ"),
        Structure(name="d", parent="organ"),
        Structure(name="vessel"),
    ),
)


def a_dataset(folder, voxels, values, scheme=ORGAN):
    """A dataset of one case whose label image means what ``values`` says."""
    geometry = Geometry(voxels.shape, np.diag([3.0, 1.0, 1.0, 1.0]))
    write_volume(Volume(np.zeros(voxels.shape, np.int16), geometry), folder / "image.nii.gz")
    write_volume(Volume(voxels.astype(np.uint8), geometry), folder / "labels.nii.gz")
    annotation = Annotation(file="labels.nii.gz", values=values)
    case = Case(id="Ann", patient="Ann", images={"image": "image.nii.gz"}, annotation=annotation)
    return Dataset(
        name="study", scheme=scheme, channels=("image",), cases=(case,), root=folder, modality={"image": "MR"}
    )


def possible(dataset):
    """(K, J, I, L) bool: which leaves each voxel of the first case may be."""
    case = dataset.cases[0]
    geometry = read_volume(dataset.path(case.images["image"])).geometry
    codes, table = read_codes(dataset, case, geometry)
    return table.array[codes]


def through_the_scene(dataset, folder):
    return possible(exportStudy(folder, [loadCase(dataset, dataset.cases[0])], dataset.scheme, name="again").dataset)


def test_what_is_one_of_two_structures_never_becomes_background(scene, tmp_path):
    generator = np.random.default_rng(0)
    volume, masks = scenes.a_volume(generator), scenes.blobs(generator)
    masks["vessel"] |= masks["head"]
    case = a_case(volume, scenes.a_segmentation(volume, masks), overlapRules={("head", "vessel"): EITHER})
    dataset = exportStudy(tmp_path / "first", [case], scenes.SCHEME, name="first").dataset
    before, after = possible(dataset), through_the_scene(dataset, tmp_path / "again")
    assert np.array_equal(before.sum(-1) == 2, masks["head"])
    assert after[masks["head"]].all()
    assert np.array_equal(after[~masks["head"]], before[~masks["head"]])
    (finding,) = readCase(dataset, dataset.cases[0]).findings
    assert f"{masks['head'].sum()} that may be head or vessel" in finding.what


def test_what_no_segment_can_say_is_told_in_the_language_of_slicer(scene, tmp_path, monkeypatch):
    voxels = np.zeros(scenes.SHAPE)
    voxels[2:4] = 1
    dataset = a_dataset(tmp_path, voxels, {0: ("background",), 1: ("c", "vessel")})
    monkeypatch.setattr(dataset_import, "_", lambda text: f"<{text}>")
    (finding,) = readCase(dataset, dataset.cases[0]).findings
    assert f"<{int(voxels.sum())} that may be c or vessel>" in finding.what


def test_the_rest_of_an_organ_comes_back_as_it_was(scene, tmp_path):
    generator = np.random.default_rng(1)
    volume = scenes.a_volume(generator)
    masks = {"organ": np.zeros(scenes.SHAPE, bool), "a": np.zeros(scenes.SHAPE, bool)}
    masks["organ"][1:5, 2:7, 2:8] = True
    masks["a"][2:4, 3:5, 3:6] = True
    meanings = {"id organ": "organ", "id a": "a"}
    segmentation = scenes.a_segmentation(volume, masks)
    case = a_case(volume, segmentation, meanings=meanings, lookedFor=("organ", "a", "vessel"))
    dataset = exportStudy(tmp_path / "first", [case], ORGAN, name="first").dataset
    before, after = possible(dataset), through_the_scene(dataset, tmp_path / "again")
    assert set(before[masks["organ"] & ~masks["a"]].sum(-1)) == {3}
    assert np.array_equal(after, before)
    assert readCase(dataset, dataset.cases[0]).findings == ()


def test_a_structure_that_was_drawn_and_not_looked_for_elsewhere_may_be_elsewhere(scene, tmp_path):
    voxels = np.zeros(scenes.SHAPE)
    voxels[2:4, 2:4, 2:4] = 1
    dataset = a_dataset(tmp_path, voxels, {0: ("background", "a"), 1: ("a",)})
    assert np.array_equal(through_the_scene(dataset, tmp_path / "again"), possible(dataset))


@pytest.mark.parametrize("seed", range(20))
def test_whatever_the_labels_say_no_voxel_loses_what_it_may_be(scene, tmp_path, seed):
    generator = np.random.default_rng(seed)
    names = (*(s.name for s in ORGAN.structures), "*")
    count = int(generator.integers(1, 7))
    values = {
        value: tuple(generator.choice(names, generator.integers(1, 4), replace=False).tolist())
        for value in range(count)
    }
    dataset = a_dataset(tmp_path, generator.integers(0, count, scenes.SHAPE), values)
    before, after = possible(dataset), through_the_scene(dataset, tmp_path / "again")
    assert not (before & ~after).any()
