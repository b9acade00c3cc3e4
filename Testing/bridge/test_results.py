"""What a model found, in the scene: order, colors and states of structures, uncertainty, scores and places of doubt."""

import colorsys
import threading

import numpy as np
import pytest
import slicer

from SemiSegLib.config import read_json, write_json
from SemiSegLib.runs.apply_folder import ApplyFolder
from SemiSegModule.bridge import results, segmentation_import
from SemiSegModule.bridge.geometry import volumeGrid, worldGrid
from SemiSegModule.bridge.job_scan import JobScan
from SemiSegModule.bridge.pairing import scalarVolumes
from SemiSegModule.bridge.result import Result, nextToReview, ranked, resultBefore, resultsInScene
from SemiSegModule.bridge.result_segments import arranged, schemeColors
from SemiSegModule.bridge.result_views import showResult
from SemiSegModule.bridge.results import absentVolumes, createJob, loadResults
from SemiSegModule.bridge.segmentation_file import FileSegment
from SemiSegModule.bridge.uncertainty import overlaid, overlay
from SemiSegModule.waiting import Waiting, keepAnswering
from Testing.bridge import scenes
from Testing.bridge.results import write_results

PLAIN = (0.5, 0.5, 0.5)


def a_segment(name, whole="", *, color=PLAIN, state=""):
    tags = {**({"SemiSeg.Superclass": whole} if whole else {}), **({"SemiSeg.State": state} if state else {})}
    return FileSegment(id=name, name=name, layer=0, value=1, color=color, tags=tags)


def hue(color):
    return colorsys.rgb_to_hls(*color)[0]


def a_scan(name="scan", seed=0):
    generator = np.random.default_rng(seed)
    volume = scenes.a_volume(generator, scenes.matrix(generator, order=(2, 0, 1), flips=(1, -1, 1)), name=name)
    scenes.moved(volume, values=scenes.a_motion(generator))
    return volume


def a_job(folder, volumes):
    return createJob(folder, folder / "model.safetensors", [{"image": volume} for volume in volumes])


def a_case_with_place(job):
    (case,) = job.job.cases
    return case, read_json(job.path / "scene.json")[case.id]


def test_parts_of_one_whole_stand_together_in_shades_of_its_hue():
    segments = (a_segment("head", "organ"), a_segment("vessel"), a_segment("tail", "organ"))
    shown = arranged(segments, {"organ": (0.1, 0.3, 0.9)})
    assert [segment.name for segment in shown] == ["head", "tail", "vessel"]
    head, tail, vessel = (segment.color for segment in shown)
    assert hue(head) == pytest.approx(hue((0.1, 0.3, 0.9)))
    assert hue(tail) == pytest.approx(hue(head))
    assert head != tail
    assert abs(hue(vessel) - hue(head)) > 0.1


def test_colors_that_a_scheme_gives_are_kept():
    segments = (a_segment("head", "organ", color=(0.9, 0.1, 0.1)), a_segment("tail", "organ"))
    shown = arranged(segments)
    assert shown[0].color == (0.9, 0.1, 0.1)
    assert hue(shown[1].color) == pytest.approx(hue((0.9, 0.1, 0.1)))


def test_wholes_without_any_color_differ_in_hue():
    hues = sorted(hue(segment.color) for segment in arranged([a_segment(name) for name in "abcdef"]))
    assert min(np.diff(hues)) > 0.05


def test_what_is_absent_is_left_out():
    segments = (a_segment("head", "organ", state="absent"), a_segment("tail", "organ", state="latent"))
    assert [segment.name for segment in arranged(segments)] == ["tail"]


def test_colors_of_a_model_are_those_of_its_results():
    colors = schemeColors([("organ", "organ", (0.1, 0.3, 0.9)), ("head", "organ", PLAIN), ("tail", "organ", PLAIN)])
    assert hue(colors["head"]) == pytest.approx(hue(colors["organ"]))


def test_a_result_knows_its_score_its_reason_and_where_to_look(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job, places={0: (4, 5, 2)}, scores={0: 0.25})
    (node,), problems = loadResults(job, label="by model 7")
    result = Result(node)
    assert problems == []
    assert (result.name, result.model, result.reason) == ("scan", "by model 7", "reason 0: a; b, c")
    assert result.score == pytest.approx(0.25)
    # The scan is moved after the job: the place goes with it.
    volume.GetParentTransformNode().SetMatrixTransformToParent(scenes.to_vtk(scenes.a_motion(np.random.default_rng(9))))
    expected = worldGrid(volume).matrix @ (4, 5, 2, 1)
    assert result.placeInWorld() == pytest.approx(expected[:3], abs=0.01)


def test_the_place_is_right_for_a_scan_that_was_straightened_to_be_written(scene, tmp_path):
    generator = np.random.default_rng(3)
    volume = scenes.a_volume(generator, scenes.matrix(generator))
    motion = scenes.a_motion(generator)
    motion[:3, :3] = motion[:3, :3] @ (np.eye(3) + 0.2 * np.eye(3, k=1))
    scenes.moved(volume, values=motion)
    job = a_job(tmp_path, [volume])
    write_results(job, places={0: (4, 5, 2)})
    (node,), _problems = loadResults(job)
    assert Result(node).placeInWorld() == pytest.approx((worldGrid(volume).matrix @ (4, 5, 2, 1))[:3], abs=0.01)


def test_uncertainty_lies_on_the_scan_and_is_transparent_where_the_model_is_sure(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job)
    (node,), _problems = loadResults(job)
    uncertainty = Result(node).uncertainty
    percent = slicer.util.arrayFromVolume(uncertainty)
    assert (percent[1, 2, 3], percent.sum()) == (90, 90)
    assert np.allclose(volumeGrid(uncertainty).matrix, volumeGrid(volume).matrix)
    assert uncertainty.GetTransformNodeID() == volume.GetTransformNodeID()
    display = uncertainty.GetDisplayNode()
    assert (display.GetApplyThreshold(), display.GetLowerThreshold(), display.GetUpperThreshold()) == (1, 25, 100)
    assert display.GetColorNode().GetName() == "SemiSeg uncertainty"
    # It is no scan to segment.
    assert scalarVolumes() == [volume]


def test_a_map_of_little_doubt_shows_its_highest_places(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job, peak=0.2)
    (node,), _problems = loadResults(job)
    assert Result(node).uncertainty.GetDisplayNode().GetLowerThreshold() == 10


def test_maps_share_one_color_table_and_are_laid_over_the_views(scene, tmp_path):
    volumes = [a_scan("one"), a_scan("two", 1)]
    job = a_job(tmp_path, volumes)
    write_results(job)
    nodes, _problems = loadResults(job)
    maps = [Result(node).uncertainty for node in nodes]
    assert len(slicer.util.getNodes("SemiSeg uncertainty*", useLists=True)) == 1
    overlay(maps[1])
    assert overlaid() is maps[1]
    overlay(None)
    assert overlaid() is None


def test_another_foreground_is_left_alone_when_a_map_is_taken_away(scene, tmp_path):
    volume = a_scan()
    slicer.util.setSliceViewerLayers(foreground=volume)
    overlay(None)
    composites = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    assert {composite.GetForegroundVolumeID() for composite in composites} == {volume.GetID()}


def test_the_case_that_is_worth_most_comes_first_and_the_next_is_one_that_nobody_decided_on(scene, tmp_path):
    volumes = [a_scan(name, number) for number, name in enumerate(("one", "two", "three"))]
    job = a_job(tmp_path, volumes)
    write_results(job, scores={0: 0.2, 1: 0.9, 2: 0.4})
    loadResults(job)
    two, three, one = ranked()
    assert [result.name for result in (two, three, one)] == ["two", "three", "one"]
    assert nextToReview(None) == two
    assert nextToReview(two) == three
    assert nextToReview(one) == two
    two.decision = "accepted"
    assert nextToReview(two) == three
    three.decision, one.decision = "rejected", "accepted"
    assert nextToReview(two) is None


def test_the_list_shows_the_newest_result_of_a_scan_and_knows_the_one_before(scene, tmp_path):
    volume = a_scan()
    nodes = []
    for label in ("first", "second"):
        job = a_job(tmp_path / label, [volume])
        write_results(job)
        nodes += loadResults(job, label=label)[0]
    assert [result.node for result in ranked()] == [nodes[1]]
    assert resultBefore(Result(nodes[1])) == Result(nodes[0])
    assert resultBefore(Result(nodes[0])) is None


def test_results_are_there_again_after_the_scene_was_saved_and_loaded(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job, scores={0: 0.75}, places={0: (4, 5, 2)})
    loadResults(job, label="by model")
    (result,) = ranked()
    result.decision = "rejected"
    place = result.placeInWorld()
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear()
    assert scene.ReadFromMRB(str(path))
    (again,) = ranked()
    assert (again.score, again.reason, again.model) == (0.75, "reason 0: a; b, c", "by model")
    assert (again.decision, list(again.states)) == ("rejected", ["head", "tail", "vessel"])
    assert again.placeInWorld() == pytest.approx(place, abs=0.01)
    assert slicer.util.arrayFromVolume(again.uncertainty).max() == 90
    assert again.uncertainty.GetDisplayNode().GetLowerThreshold() == 25


def test_a_result_without_review_or_map_is_loaded_and_comes_last(scene, tmp_path):
    volumes = [a_scan("old", 0), a_scan("new", 1)]
    job = a_job(tmp_path, volumes)
    write_results(job, scores={1: 0.0})
    job.review_path(job.job.cases[0]).unlink()
    job.uncertainty_path(job.job.cases[0]).unlink()
    _nodes, problems = loadResults(job)
    assert problems == []
    new, old = ranked()
    assert (new.name, old.name) == ("new", "old")
    assert (old.score, old.reason, old.uncertainty, old.placeInWorld()) == (None, "", None, None)


def test_a_damaged_map_or_review_is_told_and_the_result_stays(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job)
    (case,) = job.job.cases
    job.uncertainty_path(case).write_text("no image")
    job.review_path(case).write_text("{}")
    (node,), problems = loadResults(job)
    assert node.GetSegmentation().GetNumberOfSegments() == 3
    assert len(problems) == 2


def test_results_are_hidden_until_one_is_chosen_and_nothing_else_is_touched(scene, tmp_path):
    volume = a_scan()
    drawn = scenes.a_segmentation(volume, scenes.blobs(np.random.default_rng(0)))
    before = [scenes.digest(node) for node in (volume, drawn)]
    job = a_job(tmp_path, [volume])
    write_results(job)
    (node,), _problems = loadResults(job)
    assert not node.GetDisplayNode().GetVisibility()
    assert [scenes.digest(node) for node in (volume, drawn)] == before


def test_the_scans_that_a_scene_lacks_are_named(scene, tmp_path):
    volumes = [a_scan("one"), a_scan("two", 1)]
    job = a_job(tmp_path, volumes)
    write_results(job)
    scene.RemoveNode(volumes[0])
    assert absentVolumes(ApplyFolder(job.path)) == ["one"]
    assert resultsInScene() == []
    # What has no result is not waited for.
    job.result_path(job.job.cases[0]).unlink()
    assert absentVolumes(job) == []


def test_a_result_is_never_laid_on_another_scan_of_the_same_name_size_and_node(scene, tmp_path):
    job = a_job(tmp_path, [a_scan("3: T1 MPRAGE")])
    write_results(job)
    scene.Clear()
    other = a_scan("3: T1 MPRAGE", 1)
    assert other.GetID() == JobScan.of(*a_case_with_place(job)).nodeId
    assert absentVolumes(job) == ["3: T1 MPRAGE (another scan of this name is here)"]
    nodes, (problem,) = loadResults(job)
    assert (nodes, resultsInScene()) == ([], [])
    assert "there is a scan of the name '3: T1 MPRAGE', but it is another one" in problem
    assert str(job.result_path(job.job.cases[0])) in problem
    # Beside the other patient's the right one is found.
    again = a_scan("3: T1 MPRAGE")
    assert absentVolumes(job) == []
    (node,), problems = loadResults(job)
    assert problems == []
    assert Result(node).volume is again


def test_a_scan_that_was_renamed_is_found_and_one_whose_voxels_were_changed_is_not(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job)
    volume.SetName("first visit")
    assert absentVolumes(job) == []
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    assert absentVolumes(job) == ["scan (another scan of this name is here)"]


def test_voxels_of_a_scan_are_read_apart_and_once_until_they_change(scene, tmp_path):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job)
    reads = []

    def apart(work):
        reads.append(work)
        return work()

    for _ in range(3):
        assert absentVolumes(job, waiting=Waiting(apart=apart)) == []
    assert len(reads) == 1
    slicer.util.arrayFromVolumeModified(volume)
    absentVolumes(job, waiting=Waiting(apart=apart))
    assert len(reads) == 2


def test_a_result_of_the_first_version_is_found_by_the_voxels_too(scene, tmp_path):
    job = a_job(tmp_path, [a_scan()])
    write_results(job)
    case, place = a_case_with_place(job)
    del place["own"]
    write_json(job.path / "scene.json", {case.id: place})
    assert absentVolumes(job) == []
    scene.Clear()
    a_scan(seed=1)
    assert len(absentVolumes(job)) == 1


def test_the_first_channel_is_written_as_it_is_however_slightly_its_axes_lean(scene, tmp_path):
    values = np.diag([1.0, 1.0, 1.0, 1.0])
    values[0, 1] = 9e-5
    generator = np.random.default_rng(6)
    volume = scenes.a_volume(generator, values, shape=(4, 600, 9))
    job = a_job(tmp_path, [volume])
    write_results(job)
    assert absentVolumes(job) == []


@pytest.mark.parametrize("flips", [(1, 1, 1), (1, 1, -1), (-1, 1, 1)])
def test_results_of_a_scene_that_was_saved_and_loaded_while_the_job_ran_lie_where_they_belong(scene, tmp_path, flips):
    generator = np.random.default_rng(4)
    volume = scenes.a_volume(generator, scenes.matrix(generator, flips=flips), name="scan")
    # Brighter where the results are, to find the place again however its voxels are counted.
    voxels = slicer.util.arrayFromVolume(volume)
    voxels[:] = 0
    voxels[2:4, 3:5, 2:5] = 100
    voxels[1, 2, 3] = 90
    slicer.util.arrayFromVolumeModified(volume)
    scenes.moved(volume, values=scenes.a_motion(generator))
    job = a_job(tmp_path, [volume])
    write_results(job, places={0: (3, 2, 1)})
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear()
    assert scene.ReadFromMRB(str(path))
    (node,), problems = loadResults(job)
    assert problems == []
    result = Result(node)
    scan = slicer.util.arrayFromVolume(result.volume)
    head = slicer.util.arrayFromSegmentBinaryLabelmap(node, "head", result.volume) > 0
    assert np.array_equal(head, scan == 100)
    doubt = slicer.util.arrayFromVolume(result.uncertainty)
    k, j, i = np.argwhere(scan == 90)[0]
    place = worldGrid(result.volume).matrix @ (i, j, k, 1)
    assert result.placeInWorld() == pytest.approx(place[:3], abs=0.01)
    k, j, i = np.argwhere(doubt == 90)[0]
    assert worldGrid(result.uncertainty).matrix @ (i, j, k, 1) == pytest.approx(place, abs=0.01)


def test_files_are_read_apart_from_the_main_thread(scene, tmp_path, monkeypatch):
    volume = a_scan()
    job = a_job(tmp_path, [volume])
    write_results(job)
    threads = []

    def watch(module, name):
        original = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path: threads.append(threading.current_thread()) or original(path))

    watch(segmentation_import, "readSegmentationFile")
    watch(results, "readUncertainty")
    loadResults(job, waiting=Waiting(apart=keepAnswering))
    assert len(threads) == 2
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("gone", ["scan", "result"])
def test_what_is_deleted_while_its_uncertainty_is_read_does_not_keep_others_from_being_loaded(scene, tmp_path, gone):
    volumes = [a_scan("one"), a_scan("two", 1)]
    job = a_job(tmp_path, volumes)
    write_results(job)

    reads = []

    def apart(work):
        done = work()
        if getattr(work, "func", None) is results.readUncertainty:
            reads.append(work)
            (newest, *_) = reversed(slicer.util.getNodesByClass("vtkMRMLSegmentationNode"))
            if len(reads) == 1:
                scene.RemoveNode(volumes[0] if gone == "scan" else newest)
        return done

    nodes, problems = loadResults(job, waiting=Waiting(apart=apart))
    assert Result(nodes[-1]).volume is volumes[1]
    assert Result(nodes[-1]).uncertainty is not None
    if gone == "scan":
        (problem,) = problems
        assert "the volume 'one' is no longer in the scene" in problem
    else:
        # Whoever deleted the result knows.
        assert (len(nodes), problems) == (1, [])


def test_nothing_of_another_case_lies_over_the_one_that_is_shown(scene, tmp_path):
    first, second, channel, other = (a_scan(name, number) for number, name in enumerate(("one", "two", "b", "c")))
    job = a_job(tmp_path, [first, second])
    write_results(job)
    one, two = (Result(node) for node in loadResults(job)[0])

    def layers():
        nodes = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
        (found,) = {(n.GetBackgroundVolumeID(), n.GetForegroundVolumeID(), n.GetLabelVolumeID()) for n in nodes}
        return found

    slicer.util.setSliceViewerLayers(background=second, foreground=other, label=other)
    showResult(one, channel)
    assert layers() == (first.GetID(), channel.GetID(), None)
    # What a person lays over the same case stays when it is shown again.
    slicer.util.setSliceViewerLayers(foreground=other)
    showResult(one, channel)
    assert layers() == (first.GetID(), other.GetID(), None)
    showResult(two)
    assert layers() == (second.GetID(), None, None)
