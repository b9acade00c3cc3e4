"""Scans of a study's dataset, found again in the scene by their voxels."""

import numpy as np
import pytest
import slicer

from SemiSegLib.errors import CaseError
from SemiSegModule.bridge.geometry import volumeGrid, worldGrid
from SemiSegModule.bridge.study_export import exportStudy
from SemiSegModule.bridge.study_scan import findScan
from SemiSegModule.waiting import Waiting
from Testing.bridge import scenes
from Testing.bridge.exports import a_case


def a_study(folder, volume, name="scan"):
    return exportStudy(folder, [a_case(volume, id=name)], scenes.SCHEME, name="study").path


@pytest.mark.parametrize("flips", [(1, 1, 1), (1, 1, -1), (-1, 1, 1)])
def test_a_scan_of_a_scene_that_was_saved_and_loaded_is_found_where_it_was_written(scene, tmp_path, flips):
    generator = np.random.default_rng(4)
    volume = scenes.a_volume(generator, scenes.matrix(generator, flips=flips))
    dataset = a_study(tmp_path, volume)
    path = tmp_path / "scene.mrb"
    assert scene.WriteToMRB(str(path))
    scene.Clear()
    assert scene.ReadFromMRB(str(path))
    (volume,) = slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode")
    found = findScan(dataset, "scan", Waiting())
    assert found.volume is volume
    assert np.allclose(found.written.matrix, volumeGrid(volume).matrix, atol=1e-3)
    # Moved since: what is written is still counted by voxels.
    scenes.moved(volume, values=scenes.a_motion(generator))
    assert np.allclose(findScan(dataset, "scan", Waiting()).written.matrix, found.written.matrix)
    assert not np.allclose(worldGrid(volume).matrix, found.written.matrix)


def test_of_several_copies_the_one_of_the_name_is_taken_and_voxels_are_compared_once(scene, tmp_path):
    first = scenes.a_volume(np.random.default_rng(5), name="copy")
    second = scenes.a_volume(np.random.default_rng(5), name="scan")
    scenes.a_volume(np.random.default_rng(6), name="other")
    dataset = a_study(tmp_path, first)
    done = []

    def apart(work):
        done.append(work)
        return work()

    for _ in range(3):
        assert findScan(dataset, "scan", Waiting(apart=apart)).volume is second
    # The file is read each time, for it may have changed; the voxels were compared in the first round.
    assert len(done) == 4


def test_a_volume_without_voxels_is_passed_over(scene, tmp_path):
    empty = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "scan")
    volume = scenes.a_volume(np.random.default_rng(8), name="renamed")
    dataset = a_study(tmp_path, volume)
    assert empty.GetImageData() is None
    assert findScan(dataset, "scan", Waiting()).volume is volume


def test_a_scan_that_is_not_there_is_none_and_another_of_its_name_is_told(scene, tmp_path):
    volume = scenes.a_volume(np.random.default_rng(7), name="scan")
    dataset = a_study(tmp_path, volume)
    slicer.util.arrayFromVolume(volume)[0, 0, 0] += 1
    slicer.util.arrayFromVolumeModified(volume)
    with pytest.raises(CaseError, match="there is a scan of the name 'scan', but it is another one"):
        findScan(dataset, "scan", Waiting())
    volume.SetName("another")
    assert findScan(dataset, "scan", Waiting()) is None
    with pytest.raises(CaseError, match="there is no case 'nobody'"):
        findScan(dataset, "nobody", Waiting())
