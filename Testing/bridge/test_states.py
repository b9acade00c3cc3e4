"""How far annotations are travels with the study."""

from dataclasses import replace

import numpy as np

from SemiSegLib.cases.formats import load_dataset
from SemiSegModule.bridge.dataset_import import loadCase
from SemiSegModule.bridge.pairing import findCases
from SemiSegModule.bridge.states import STATES_FILE, readStates
from SemiSegModule.bridge.study_export import exportStudy
from Testing.bridge import scenes


def test_states_are_written_beside_the_dataset_and_read_back(scene, tmp_path):
    generator = np.random.default_rng(0)
    for name in ("Ann", "Bob"):
        scenes.a_segmentation(scenes.a_volume(generator, name=name), scenes.blobs(generator), name=f"{name} drawn")
    scenes.a_volume(generator, name="Cid")
    cases = findCases(scenes.SCHEME)
    cases[1] = replace(cases[1], state="partial")
    exportStudy(tmp_path, cases, scenes.SCHEME, name="study")
    assert readStates(tmp_path) == {"Ann": "done", "Bob": "partial", "Cid": "untouched"}
    dataset = load_dataset(tmp_path)
    assert [loadCase(dataset, case).state for case in dataset.cases] == ["done", "partial", "untouched"]


def test_a_later_export_keeps_what_was_said_of_other_cases(scene, tmp_path):
    generator = np.random.default_rng(1)
    for name in ("Ann", "Bob"):
        scenes.a_volume(generator, name=name)
    ann, bob = findCases(scenes.SCHEME)
    exportStudy(tmp_path, [ann, replace(bob, state="done")], scenes.SCHEME, name="study")
    exportStudy(tmp_path, [replace(ann, state="partial")], scenes.SCHEME, name="study")
    assert readStates(tmp_path) == {"Ann": "partial", "Bob": "done"}


def test_a_damaged_file_says_nothing(tmp_path):
    for text in ("{", "[1]", '{"Ann": "perhaps"}'):
        (tmp_path / STATES_FILE).write_text(text)
        assert readStates(tmp_path) == {}
