"""A case is read in steps between which Slicer answers, yet as it is at one moment; who leaves meanwhile ends it."""

import threading

import numpy as np
import pytest
import slicer

from SemiSegLib.cases.volume import read_labels, read_volume
from SemiSegLib.errors import CaseError
from SemiSegModule.bridge import case_check, copies, layers, study_export
from SemiSegModule.bridge.case_check import copyOntoScan
from SemiSegModule.bridge.geometry import worldGrid
from SemiSegModule.bridge.layers import SurfaceImages, readLayers
from SemiSegModule.bridge.scene_case import SceneCase
from SemiSegModule.bridge.study_export import exportStudy
from SemiSegModule.waiting import Waiting, keepAnswering
from Testing.bridge import scenes
from Testing.bridge.test_layers import a_case_of_surfaces

NAMES = ("head", "tail", "vessel")


class Turns:
    """Stands in for the panel, and notes in which turn what was done that keeps Slicer busy.

    Attributes:
        works: what was done in each turn.
        told: what was said.
        meanwhile: work after which Slicer answers to what a person does in that turn.
    """

    def __init__(self, monkeypatch):
        self.works, self.told, self.meanwhile = [[]], [], {}
        for place, name, what in (
            (layers, "_converted", lambda _node, segment, _grid: segment),
            (copies, "_copy", lambda image, _target, _part: image.GetScalarTypeAsString()),
            (case_check, "labelImage", lambda _voxels, _matrix: "label image"),
        ):
            monkeypatch.setattr(place, name, self._noted(getattr(place, name), what))

    @property
    def waiting(self):
        return Waiting(lambda _done, _count, name: self.told.append(name), self._apart)

    def _noted(self, original, what):
        def note(*given):
            before = len(self.works[-1])
            result = original(*given)
            # The copy of a surface's voxels is part of its conversion.
            self.works[-1][before:] = [what(*given)]
            return result

        return note

    def _apart(self, work):
        for name in self.works[-1]:
            self.meanwhile.pop(name, lambda: None)()
        self.works.append([])
        return work()


@pytest.fixture
def turns(scene, monkeypatch):
    return Turns(monkeypatch)


@pytest.fixture
def surfaces(scene):
    """A case of two channels whose structures are drawn as closed surfaces; volume, segmentation and case."""
    volume, node, ids = a_case_of_surfaces(np.random.default_rng(6))
    second = np.random.default_rng(7).normal(size=slicer.util.arrayFromVolume(volume).shape)
    second = slicer.util.addVolumeFromArray(second, ijkToRAS=worldGrid(volume).matrix, name="second")
    volumes = {"first": volume, "second": second}
    meanings = dict(zip(ids, NAMES, strict=True))
    return volume, node, SceneCase(id="scan", volumes=volumes, segmentation=node, meanings=meanings)


def export(folder, case, **options):
    return exportStudy(folder, [case], scenes.SCHEME, name="study", **options)


def test_between_two_turns_one_surface_is_converted_or_one_channel_copied(turns, surfaces, tmp_path):
    _volume, _node, case = surfaces
    export(tmp_path / "study", case, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["s0"], ["s1"], ["s2"], ["short"], ["double"]]
    assert turns.told == ["scan", "scan, surface 's0'", "scan, surface 's1'", "scan, surface 's2'", "scan"]


def test_label_images_are_copied_one_in_a_turn(turns, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(0))
    masks = {name: np.ones(scenes.SHAPE, bool) for name in NAMES}
    node = scenes.a_segmentation(volume, masks)
    # Segments that share voxels have an image each.
    node.GetSegmentation().SeparateSegmentLabelmap("id head")
    node.GetSegmentation().SeparateSegmentLabelmap("id tail")
    case = SceneCase(
        id="scan", volumes={"image": volume}, segmentation=node, meanings={f"id {name}": name for name in NAMES}
    )
    export(tmp_path / "study", case, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["unsigned char"]] * 3 + [["short"]]


def test_a_large_channel_is_copied_part_by_part_and_as_a_whole_if_it_changes_meanwhile(turns, tmp_path, monkeypatch):
    volume = scenes.a_volume(np.random.default_rng(0))
    voxels = slicer.util.arrayFromVolume(volume).copy()
    case = SceneCase(id="scan", volumes={"image": volume})
    monkeypatch.setattr(copies, "_TURN_BYTES", 2 * voxels[0].nbytes + 1)
    study = export(tmp_path, case, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["short"]] * 4
    assert np.array_equal(read_volume(tmp_path / study.dataset.cases[0].images["image"]).voxels, voxels)

    def change():
        slicer.util.arrayFromVolume(volume)[:] += 1
        slicer.util.arrayFromVolumeModified(volume)

    turns.works, turns.meanwhile = [[]], {"short": change}
    study = export(tmp_path, case, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["short"]] * 2
    assert np.array_equal(read_volume(tmp_path / study.dataset.cases[0].images["image"]).voxels, voxels + 1)


def test_surfaces_that_are_voxels_already_are_not_converted_again(turns, surfaces, tmp_path):
    volume, node, case = surfaces
    kept = SurfaceImages()
    readLayers(node, ["s0", "s2"], worldGrid(volume), kept)
    turns.works = [[]]
    export(tmp_path / "study", case, surfaces=kept, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["s1"], ["short"], ["double"]]
    turns.works = [[]]
    export(tmp_path / "study", case, surfaces=kept, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["short"], ["double"]]


@pytest.mark.parametrize("at", ["s0", "s1", "short"])
def test_a_scene_closed_between_two_steps_ends_the_export_and_nothing_is_written(turns, surfaces, tmp_path, at):
    _volume, _node, case = surfaces
    turns.meanwhile[at] = slicer.mrmlScene.Clear
    with pytest.raises(CaseError, match="no longer in the scene"):
        export(tmp_path / "study", case, waiting=turns.waiting)
    assert turns.works[-2:] == [[at], []]
    assert not (tmp_path / "study").exists()


def test_what_changes_after_its_step_is_read_as_it_is_at_the_end(turns, surfaces, tmp_path):
    volume, node, case = surfaces

    def change():
        slicer.util.arrayFromVolume(volume)[:] = 7
        slicer.util.arrayFromVolumeModified(volume)
        surface = node.GetSegmentation().GetSegment("s0").GetRepresentation("Closed surface")
        surface.DeepCopy(node.GetSegmentation().GetSegment("s1").GetRepresentation("Closed surface"))
        surface.Modified()
        node.GetSegmentation().RemoveSegment("s1")

    turns.meanwhile["short"] = change
    study = export(tmp_path, case, waiting=turns.waiting)
    # One is never copied before the other was: both are read again in the turn of the last step.
    assert [works for works in turns.works if works] == [["s0"], ["s1"], ["s2"], ["short"], ["double", "short", "s0"]]
    written = study.dataset.cases[0]
    assert (read_volume(tmp_path / written.images["first"]).voxels == 7).all()
    names = {names for value, names in written.annotation.values.items() if value}
    labels = read_labels(tmp_path / written.annotation.file).voxels
    value = next(value for value, names in written.annotation.values.items() if "head" in names)
    # It was drawn around the column 9, and is now where the other was: around the column 5.
    assert np.argwhere(labels == int(value))[:, 2].mean() == pytest.approx(5, abs=0.5)
    assert not any("tail" in name for name in names)


def test_a_segment_removed_before_its_step_is_passed_over(turns, surfaces, tmp_path):
    _volume, node, case = surfaces
    turns.meanwhile["s0"] = lambda: node.GetSegmentation().RemoveSegment("s1")
    export(tmp_path, case, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["s0"], ["s2"], ["short"], ["double"]]


def test_modality_is_guessed_apart_from_the_lowest_number_of_each_channel(scene, tmp_path, monkeypatch):
    original, threads = study_export._likelyModality, []
    monkeypatch.setattr(
        study_export, "_likelyModality", lambda c: threads.append(threading.current_thread()) or original(c)
    )
    values = np.zeros(scenes.SHAPE, np.float32)
    values[0, 0, :2] = np.nan, -1000
    volumes = {"ct": slicer.util.addVolumeFromArray(values, name="ct"), "mr": scenes.a_volume(np.random.default_rng(1))}
    study = export(tmp_path, SceneCase(id="scan", volumes=volumes), waiting=Waiting(apart=keepAnswering))
    assert len(threads) == 2
    assert threading.main_thread() not in threads
    assert study.dataset.modality == {"ct": "CT", "mr": "MR"}


def test_a_copy_on_the_scan_takes_one_segment_in_a_turn(turns, surfaces):
    volume, node, _case = surfaces
    copy = copyOntoScan(node, volume, waiting=turns.waiting)
    assert [works for works in turns.works if works] == [["s0"], ["s1"], ["s2"], *[["label image"]] * 3]
    assert turns.told == ["s0", "s1", "s2", "surfaces"]
    for segment in ("s0", "s1", "s2"):
        assert slicer.util.arrayFromSegmentBinaryLabelmap(copy, segment, volume).any()


@pytest.mark.parametrize("at", ["s0", "label image"])
def test_a_segmentation_removed_while_it_is_copied_leaves_no_copy(turns, surfaces, at):
    volume, node, _case = surfaces
    turns.meanwhile[at] = lambda: slicer.mrmlScene.RemoveNode(node)
    with pytest.raises(CaseError, match=r"no longer in the scene|removed from the scene"):
        copyOntoScan(node, volume, waiting=turns.waiting)
    assert turns.works[-2:] == [[at], []]
    assert slicer.util.getNodesByClass("vtkMRMLSegmentationNode") == []
