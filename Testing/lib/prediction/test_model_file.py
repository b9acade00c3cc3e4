"""One file opens anywhere and repeats the prediction; whatever is not such a file is refused before it is used."""

import io
import json
import pickle
import struct
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from SemiSegLib.cases.volume import Geometry, Volume
from SemiSegLib.config import to_json
from SemiSegLib.errors import CheckpointError, ConfigError
from SemiSegLib.labels.presence_classes import classes_of_rois
from SemiSegLib.labels.reach import Reach
from SemiSegLib.labels.scheme import Code, LabelScheme, Structure, Terminology
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.factory import METHODS, build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.networks.presence import PresenceDescription, PresenceModel, PresenceShape
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.model_file import Model, load_model, save_model
from SemiSegLib.prediction.predictor import Predictor
from SemiSegLib.prediction.weights_file import PATH_LEFT_OUT, without_paths
from SemiSegLib.runs.model_info import read_model_info

SCHEME = LabelScheme(
    name="tést",
    structures=(
        Structure(
            name="organ",
            terminology=Terminology(
                category=Code(scheme="SCT", value="1", meaning="a"), type=Code(scheme="SCT", value="2", meaning="b")
            ),
        ),
        Structure(name="head", parent="organ", color=(1 / 3, 0.1, 0.9), aliases=("caput",)),
        Structure(name="tail", parent="organ"),
    ),
)
PLAN = Plan(
    dimensions=3,
    channels=(ChannelPlan(role="T1", normalization="ct", low=-3.0, high=1e3, mean=1 / 3, deviation=7.7),),
    axis_order=(0, 1, 2),
    spacing_mm=(2.0, 1.0, 1.0),
    patch=(8, 16, 16),
    batch=2,
    network=NetworkPlan(features=(4, 8), strides=((1, 2, 2),), kernels=((1, 3, 3), (3, 3, 3)), blocks=1),
)
STUDY = Study(scheme=SCHEME, plan=PLAN)


def a_study(name):
    """The study with what the method needs trained first."""
    if "presence" not in card_of(name).stages:
        return STUDY
    shape = PresenceShape(classes=("organ", "tail"), channels=1, dimensions=3, width=0.125)
    classes_of = classes_of_rois(SCHEME, shape.classes)
    return replace(STUDY, presence=PresenceModel(PresenceDescription(shape=shape, classes_of=classes_of)))


def a_model(name="marginal", *, provenance=None, seed=0):
    torch.manual_seed(seed)
    options = {} if name == "modified_unet" else {"dice_weight": 0.5}
    study = a_study(name)
    method = build_method(name, study, options).eval()
    return Model(method, study, name, options, provenance or {})


def a_scan():
    voxels = np.random.default_rng(0).normal(0, 50, (9, 21, 18)).astype(np.float32)
    return Volume(voxels, Geometry(voxels.shape, np.diag([2.2, 0.9, 1.1, 1.0])))


def rewritten(path, change):
    """Write the file again with a changed description."""
    tensors, header = load_file(path), header_of(path)
    description = json.loads(header["__metadata__"]["semiseg-model"])
    change(description)
    save_file(tensors, path, metadata={"semiseg-model": json.dumps(description)})


def header_of(path):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


@pytest.mark.parametrize("name", list(METHODS))
def test_a_model_file_repeats_the_prediction_bit_for_bit_and_tells_all_about_itself(name, tmp_path):
    model = a_model(name, provenance={"run": "r1", "seed": 3, "dice": {"head": 0.5, "tail": float("nan")}})
    path = tmp_path / "model.safetensors"
    save_model(path, model)
    loaded = load_model(path)
    assert replace(loaded.study, presence=None) == STUDY
    presence = model.study.presence
    assert (loaded.study.presence and loaded.study.presence.description) == (presence and presence.description)
    assert (loaded.name, loaded.options) == (name, model.options)
    assert loaded.provenance == {"run": "r1", "seed": 3, "dice": {"head": 0.5, "tail": None}}
    assert not any(module.training for module in loaded.method.modules())
    expected, found = (Predictor(m, device="cpu").predict([a_scan()], uncertainty=True) for m in (model, loaded))
    np.testing.assert_array_equal(found.leaves.voxels, expected.leaves.voxels)
    np.testing.assert_array_equal(found.uncertainty.voxels, expected.uncertainty.voxels)
    assert found.scheme == SCHEME


def test_groups_that_are_what_their_parts_are_are_known_at_prediction(tmp_path):
    path, study = tmp_path / "model.safetensors", replace(STUDY, implied=("organ",))
    save_model(path, Model(build_method("dynamic_head", study, {}).eval(), study, "dynamic_head", {}, {}))
    loaded = load_model(path)
    assert loaded.study.implied == ("organ",)
    assert read_model_info(path).method == "dynamic_head"
    assert loaded.method.learner.table.implied == {loaded.method.learner.table.names.index("organ")}


def test_how_far_structures_reach_is_known_at_prediction(tmp_path):
    reach = Reach(image_mm=(None, 0.1, None), case_mm=(None, 1 / 3, None))
    path, study = tmp_path / "model.safetensors", replace(STUDY, reach=reach)
    save_model(path, Model(build_method("supervised", study, {}).eval(), study, "supervised", {}, {}))
    assert load_model(path).study.reach == reach
    assert read_model_info(path).method == "supervised"


def test_the_same_model_gives_the_same_bytes_and_leaves_no_other_file(tmp_path):
    first, second = tmp_path / "a.safetensors", tmp_path / "b.safetensors"
    save_model(first, a_model())
    save_model(second, a_model())
    assert first.read_bytes() == second.read_bytes()
    assert sorted(tmp_path.iterdir()) == [first, second]


def test_a_file_is_tensors_and_text_alone(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    (text,) = header_of(path)["__metadata__"].values()
    assert json.loads(text)["format"] == 1
    assert json.loads(text)["plan"] == json.loads(json.dumps(to_json(PLAN)))


@pytest.mark.parametrize(
    "text",
    [
        "/Users/hans/study/model",
        "read from '/data/x/y'",
        r"C:\Users\hans",
        "D:/data/hans",
        r"\\server\share\hans",
        "~/runs/hans",
        "~hans/runs/x",
        "file:/mnt/hans/a",
        "a;/mnt/hans/a",
    ],
)
def test_absolute_paths_are_left_out_of_the_file(text, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model(provenance={"from": text, "list": ["kept", text], "deep": {"er": {"x": text}}}))
    assert b"hans" not in path.read_bytes()
    assert load_model(path).provenance["list"] == ["kept", PATH_LEFT_OUT]


@pytest.mark.parametrize(
    "text", ["imagesTr/case_01.nii.gz", "https://example.org/a/b", "2 h/3 h", "1/2", "a ~ b", "mm/px"]
)
def test_other_texts_with_slashes_are_kept(text):
    assert without_paths({"text": text}) == {"text": text}


class Bomb:
    """Leaves a trace when it is unpickled."""

    def __reduce__(self):
        return exec, ("import sys; sys.modules['unpickled_bomb'] = sys",)


def pickled():
    return pickle.dumps({"state_dict": Bomb()})


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickled())
    return buffer.getvalue()


def framed_pickle():
    return struct.pack("<Q", len(pickled())) + pickled() + b"\0" * 64


@pytest.mark.parametrize(
    "content",
    [pickled, zipped, framed_pickle, lambda: b"", lambda: b"1234567", lambda: b"\xff" * 4000, lambda: b"\0" * 4000],
    ids=["pickle", "zip", "pickle in our frame", "empty", "too short", "ones", "zeros"],
)
def test_a_file_of_another_kind_is_refused_and_nothing_of_it_is_run(content, tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content())
    with pytest.raises(CheckpointError, match="not a model file"):
        load_model(path)
    assert "unpickled_bomb" not in sys.modules
    pickle.loads(pickled())
    assert sys.modules.pop("unpickled_bomb", None) is sys


def test_no_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        load_model(tmp_path / "none.safetensors")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_model(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(share, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        load_model(path)


def test_tensors_of_another_program_are_no_model(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": torch.zeros(3)}, path)
    with pytest.raises(CheckpointError, match="describes nothing"):
        load_model(path)
    save_file({"a": torch.zeros(3)}, path, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is not a SemiSeg model"):
        load_model(path)


def test_a_newer_format_asks_for_an_update_and_a_strange_one_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    cases = (('{"format": 2}', "update SemiSeg"), ('{"format": "1"}', "is not a number"), ("{}", "is not a number"))
    for text, words in (*cases, ("[1]", "is not a number"), ("{", "cannot be read"), ("[" * 99_999, "cannot be read")):
        save_file({"a": torch.zeros(3)}, path, metadata={"semiseg-model": text})
        with pytest.raises(CheckpointError, match=words):
            load_model(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(code="import os"), "'code' is not a setting"),
        (lambda d: d.pop("plan"), "lacks plan"),
        (lambda d: d["plan"].update(patch="8"), "expected a list"),
        (lambda d: d["plan"]["network"].update(norm="os.system"), "os.system"),
        (lambda d: d["plan"]["network"].update(backbone="os.system"), "os.system"),
        (lambda d: d.update(method="builtins.eval"), "there is no method"),
        (lambda d: d.update(options={"dice_weight": "$import os"}), "expected float"),
        (lambda d: d["scheme"]["structures"][1].update(parent="nobody"), "nobody"),
        (lambda d: d["plan"]["network"].update(features=[4, 16]), "expected"),
        (lambda d: d["scheme"]["structures"].append({"name": "more"}), "expected"),
    ],
)
def test_a_description_that_does_not_fit_is_refused_with_its_reason(change, words, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    rewritten(path, change)
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.popitem(), "missing: "),
        (lambda t: t.update(extra=torch.zeros(2)), "unknown: extra"),
        (lambda t: t.update({next(iter(t)): torch.zeros(1, 2, 3)}), r"is \(1, 2, 3\)"),
        (lambda t: t.update({next(iter(t)): next(iter(t.values())).double()}), "float64"),
        (lambda t: t.update({next(iter(t)): next(iter(t.values())) * float("nan")}), "not finite"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(change, words, tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    tensors, metadata = load_file(path), header_of(path)["__metadata__"]
    change(tensors)
    save_file(tensors, path, metadata=metadata)
    with pytest.raises(CheckpointError, match=words):
        load_model(path)


def test_weights_that_are_not_finite_are_not_written_over_a_good_file(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    before = path.read_bytes()
    broken = a_model()
    next(broken.method.parameters()).data.fill_(float("inf"))
    with pytest.raises(CheckpointError, match="not finite"):
        save_model(path, broken)
    assert path.read_bytes() == before


def test_a_device_that_is_not_there_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    path = tmp_path / "model.safetensors"
    save_model(path, a_model())
    with pytest.raises(ConfigError, match="no device 'cuda'"):
        load_model(path, device="cuda")
