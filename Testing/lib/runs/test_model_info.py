"""A model file tells what it segments without torch, as the loaded model does, and is refused with the reason."""

import json
import struct
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from SemiSegLib.errors import CheckpointError
from SemiSegLib.labels.scheme import LabelScheme, Structure
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.model_file import Model, load_model, save_model
from SemiSegLib.runs.model_info import read_model_info

SCHEME = LabelScheme(
    name="tést",
    structures=(
        Structure(name="tail", parent="Órgano", color=(0.1, 1 / 3, 0.9)),
        Structure(name="Órgano"),
        Structure(name="vessel"),
        Structure(name="head", parent="órga-no"),
    ),
)
PLAN = Plan(
    dimensions=2,
    channels=(ChannelPlan(role="T1"), ChannelPlan(role="FLAIR", normalization="unit")),
    axis_order=(1, 0, 2),
    spacing_mm=(0.0, 0.7, 1.3),
    patch=(16, 12),
    batch=2,
    network=NetworkPlan(features=(4, 8), strides=((2, 2),), kernels=((3, 3), (3, 3)), stem_stride=(1, 1), blocks=1),
)
PROVENANCE = {
    "run": "r7",
    "title": "Köpfe",
    "version": "0.1.0",
    "created": "2026-11-21 14:05:00",
    "steps": 500,
    "model_step": 400,
    "seconds": 61.5,
    "preset": "paper",
    "training_cases": {"full": 6, "coarse": 1},
    "validation_dice": 0.875,
    "structure_dice": {"head": 0.9, "tail": None},
}


@pytest.fixture
def model(tmp_path):
    torch.manual_seed(0)
    study = Study(scheme=SCHEME, plan=PLAN)
    made = Model(
        build_method("marginal", study, {"dice_weight": 0.5}).eval(),
        study,
        "marginal",
        {"dice_weight": 0.5},
        PROVENANCE,
    )
    path = tmp_path / "model.safetensors"
    save_model(path, made)
    return path


def changed(path, change):
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    description = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["semiseg-model"])
    change(description)
    save_file(load_file(path), path, metadata={"semiseg-model": json.dumps(description)})


def test_it_agrees_with_the_loaded_model(model):
    info, loaded = read_model_info(model), load_model(model)
    plan = loaded.study.plan
    assert info.scheme == loaded.study.scheme
    assert (info.method, info.options, info.provenance) == (loaded.name, loaded.options, loaded.provenance)
    assert info.channels == tuple(channel.role for channel in plan.channels)
    assert (info.dimensions, info.spacing_mm, info.patch) == (plan.dimensions, plan.spacing_mm, plan.patch)
    assert info.backbone == plan.network.backbone
    assert (info.preset, info.title, info.created) == ("paper", "Köpfe", "2026-11-21 14:05:00")
    assert (info.steps, info.seconds, info.validation_dice) == (400, 61.5, 0.875)
    assert (info.training_cases, info.structure_dice) == ({"full": 6, "coarse": 1}, {"head": 0.9})


def test_it_says_what_it_segments_in_a_sentence_and_as_a_tree(model):
    info = read_model_info(model)
    assert info.sentence() == (
        "Segments tail, vessel and head in scans with T1 and FLAIR, "
        "trained on 6 fully labeled and 1 coarsely labeled cases on 2026-11-21."
    )
    assert [(depth, s.name) for depth, s in info.tree()] == [(0, "Órgano"), (1, "tail"), (1, "head"), (0, "vessel")]


def test_a_file_that_says_little_of_where_it_comes_from_is_read_all_the_same(model):
    changed(model, lambda d: d.update(provenance={"training_cases": "many", "steps": True, "title": 3}))
    info = read_model_info(model)
    assert (info.title, info.created, info.steps, info.validation_dice) == ("", "", None, None)
    assert (info.training_cases, info.structure_dice) == ({}, {})
    assert info.sentence() == "Segments tail, vessel and head in scans with T1 and FLAIR."


def test_it_is_read_without_torch(model):
    code = (
        "import sys\n"
        "from SemiSegLib.runs.model_info import read_model_info\n"
        f"print(read_model_info({str(model)!r}).channels)\n"
        "print(sorted({'torch', 'monai', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["('T1', 'FLAIR')", "[]"]


@pytest.mark.parametrize("share", [0.0, 0.05, 0.5, 0.999])
def test_a_file_cut_short_is_refused(model, share):
    content = model.read_bytes()
    model.write_bytes(content[: int(share * len(content))])
    with pytest.raises(CheckpointError, match="cut short") as caught:
        read_model_info(model)
    assert "copy it again" in str(caught.value)


def test_no_file_a_folder_and_files_of_others_are_refused(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_model_info(tmp_path / "none")
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_model_info(tmp_path)
    for content in (b"dear all, " * 20, b"\x10" + b"\0" * 7 + b"[1, 2]          ", b"\xff" * 99):
        (tmp_path / "letter").write_bytes(content)
        with pytest.raises(CheckpointError, match="not a model file"):
            read_model_info(tmp_path / "letter")
    save_file({"a": torch.zeros(3)}, tmp_path / "other", metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match="is not a SemiSeg model"):
        read_model_info(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(format=2), "update SemiSeg"),
        (lambda d: d.update(more=1), "'more' is not a setting"),
        (lambda d: d.pop("scheme"), "lacks scheme"),
        (lambda d: d["plan"].pop("channels"), "its plan cannot be read"),
        (lambda d: d["plan"].update(channels=["T1"]), "its plan cannot be read"),
        (lambda d: d["scheme"]["structures"][1].update(parent="nobody"), "nobody"),
    ],
)
def test_a_newer_or_broken_description_is_refused_with_its_reason(model, change, words):
    changed(model, change)
    with pytest.raises(CheckpointError, match=words):
        read_model_info(model)
