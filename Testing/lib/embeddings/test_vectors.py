"""Vectors of structures: from a person's file by name, strictly; and those that a run keeps."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from SemiSegLib.embeddings.prompts import prompts, template_for
from SemiSegLib.embeddings.vectors import keep_vectors, kept_vectors, read_vectors
from SemiSegLib.errors import ConfigError
from SemiSegLib.labels.rois import RoiTable
from Testing.lib.cases.tiny import scheme

NAMES = RoiTable.of(scheme()).names
GIVEN = {"Organ": [1, 2, 3], "caput": [0.5, 0, -1], "TAIL": [0, 0, 1e-3], "vessel": [7, 7, 7], "spleen": ["a"]}
EXPECTED = np.array([[1, 2, 3], [0.5, 0, -1], [0, 0, 1e-3], [7, 7, 7]], dtype=np.float32)


def written(folder, content, name="vectors.json"):
    path = folder / name
    if path.suffix == ".json":
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    else:
        save_file({key: np.array(value) for key, value in content.items()}, path)
    return path


def test_a_file_of_either_kind_gives_the_vectors_in_the_order_of_the_rois(tmp_path):
    assert NAMES == ("organ", "head", "tail", "vessel")
    numbers = {key: value for key, value in GIVEN.items() if key != "spleen"}
    for path in (written(tmp_path, GIVEN), written(tmp_path, numbers, "vectors.safetensors")):
        found = read_vectors(path, NAMES, scheme())
        assert found.dtype == np.float32
        assert np.array_equal(found, EXPECTED)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tail": None}, "no vector for tail"),
        ({"head": [1, 2, 3]}, "'head' has two vectors"),
        ({"vessel": [1, 2]}, "have 3, 3, 3, 2 numbers"),
        ({"vessel": [1, 2, float("nan")]}, "'vessel'"),
        ({"vessel": [1, 2, 1e300]}, "'vessel'"),
        ({"vessel": [[1, 2, 3]]}, "'vessel'"),
        ({"vessel": 3}, "'vessel'"),
        ({"vessel": []}, "'vessel'"),
        ({"vessel": ["x", 1, 2]}, "'vessel'"),
    ],
)
def test_a_file_that_does_not_suit_is_refused_with_what_is_wrong(tmp_path, change, words):
    content = {"organ": [1, 2, 3], "caput": [0, 0, 0], "tail": [4, 5, 6], "vessel": [7, 8, 9], **change}
    content = {key: value for key, value in content.items() if value is not None}
    with pytest.raises(ConfigError, match=words) as caught:
        read_vectors(written(tmp_path, content), NAMES, scheme())
    if "no vector" in words:
        assert "learned" in str(caught.value)


def test_the_same_vector_for_every_structure_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="same vector"):
        read_vectors(written(tmp_path, {name: [1.0, 2.0] for name in NAMES}), NAMES, scheme())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("vectors.npy", "", "'.npy'"),
        ("vectors.json", "[1]", "not an object"),
        ("vectors.json", "{", "not valid JSON"),
        ("missing.json", None, "does not exist"),
        ("missing.safetensors", None, "does not exist"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=words):
        read_vectors(tmp_path / name, NAMES, scheme())


def test_damaged_tensors_are_refused(tmp_path):
    path = written(tmp_path, dict(zip(NAMES, EXPECTED, strict=True)), "vectors.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ConfigError, match="cannot be read"):
        read_vectors(path, NAMES, scheme())


def test_what_a_run_keeps_comes_back_and_only_for_the_same_structures(tmp_path):
    path = tmp_path / "embeddings.safetensors"
    assert kept_vectors(path, NAMES) is None
    keep_vectors(path, NAMES, EXPECTED)
    assert np.array_equal(kept_vectors(path, NAMES), EXPECTED)
    with pytest.raises(ConfigError, match="start a new run"):
        kept_vectors(path, NAMES[::-1])
    path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(ConfigError, match="delete the file"):
        kept_vectors(path, NAMES)


def test_prompts_are_those_of_the_modality_unless_one_is_given():
    assert template_for(["CT"]) == "A computerized tomography of a {item}"
    assert template_for(["MR", "MR"]) == template_for(["CT", "MR"]) == "A magnetic resonance image of a {item}"
    assert prompts(["left_atrium", "liver"], template_for(["CT"])) == (
        "A computerized tomography of a left atrium",
        "A computerized tomography of a liver",
    )
    assert prompts(["{item}"], "{item}") == ("{item}",)
    with pytest.raises(ConfigError, match=r"\{item\}"):
        prompts(["liver"], "a liver")
