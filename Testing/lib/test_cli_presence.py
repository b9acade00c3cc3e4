"""``semiseg train-presence``: a network that tells which structures an image holds, as a file."""

import json
import shutil
import time

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from SemiSegLib import api, cli_presence
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.volume import read_volume, write_volume
from SemiSegLib.cli import app
from SemiSegLib.errors import ConfigError, RunError
from SemiSegLib.prediction.presence_file import load_presence
from SemiSegLib.runs.folder import RunFolder
from Testing.lib.run_farm import a_cohort


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("data") / "cohort", fine=2, coarse=1, partial=1, none=1)


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_trains_a_file_and_does_not_train_it_twice_unless_the_labels_change(data, tmp_path):
    data, output = shutil.copytree(data, tmp_path / "data"), tmp_path / "presence.safetensors"
    settings = ("batch=2", "patch=[8,16,16]", "features=[4,8]", "dimensions=3", "precision=fp32", "threads=1")
    typed = [part for text in settings for part in ("--setting", text)]
    command = ("train-presence", data, "--output", output, "--option", "width=0.125", "--steps", 2, *typed)
    first = call(*command, "--json")
    assert first.exit_code == 0, first.output + repr(first.exception)
    told = json.loads(first.stdout)
    assert [c["name"] for c in told["classes"]] == ["organ", "head", "tail", "vessel"]
    assert load_presence(output).network.shape.width == 0.125
    begin = time.monotonic()
    again = call(*command)
    assert time.monotonic() - begin < 2
    assert "presence.safetensors: 2 steps" in again.stdout
    assert "not calibrated: 200 patches hold it and 0 do not" in again.stdout
    other = call(*command[:-2], "--setting", "threads=2")
    assert isinstance(other.exception, ConfigError)
    assert "name another file" in str(other.exception)
    label = data / load_dataset(data).side(Side.TRAIN)[0].annotation.file
    volume = read_volume(label)
    volume.voxels[0, 0, 0] = volume.voxels.max() - volume.voxels[0, 0, 0]
    write_volume(volume, label)
    changed = call(*command)
    assert isinstance(changed.exception, ConfigError)
    assert "have changed since this file was trained" in str(changed.exception)


@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        ((), (None, 600.0)),
        (("--minutes", 2), (None, 120.0)),
        (("--steps", 7), (7, None)),
        (("--setting", "steps=7"), (7, None)),
        (("--setting", "seconds=60"), (None, 60.0)),
    ],
)
def test_a_budget_that_was_given_is_kept(arguments, budget, data, tmp_path, monkeypatch):
    def refuse(_run):
        raise RunError("enough")

    monkeypatch.setattr(cli_presence, "start_process", refuse)
    done = call("train-presence", data, "--output", tmp_path / "a.safetensors", *arguments)
    assert str(done.exception) == "enough"
    training = RunFolder(tmp_path / "a-training").request.training
    assert (training.steps, training.seconds) == budget


@pytest.mark.parametrize("content", [b"my own network", None])
def test_a_file_of_another_kind_is_not_overwritten(content, data, tmp_path):
    output = tmp_path / "mine.safetensors"
    if content is None:
        save_file({"weight": torch.zeros(1)}, output)
    else:
        output.write_bytes(content)
    before = output.read_bytes()
    refused = call("train-presence", data, "--output", output)
    assert isinstance(refused.exception, ConfigError)
    assert "would be lost" in str(refused.exception)
    assert output.read_bytes() == before
    assert list(tmp_path.iterdir()) == [output]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "presence.txt"), "end its name in .safetensors"),
        (("--output", "a.safetensors", "--option", "widht=1"), "did you mean 'width'"),
        (("--output", "a.safetensors", "--option", "width=9"), "choose a value from"),
        (("--output", "a.safetensors", "--option", "share=0.5"), "a run has it"),
        (("--output", "a.safetensors", "--option", 'classes={"a": ["b"]}'), "a run has it"),
        (("--output", "a.safetensors", "--setting", "target_share=0.8"), "leave it out"),
        (("--output", "a.safetensors", "--setting", "learning_rate=0.1"), "write --option learning_rate=... instead"),
        (("--output", "a.safetensors", "--setting", "warmup_steps=5"), "leave it out"),
    ],
)
def test_mistakes_are_answered_with_a_remedy(arguments, words, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in str(call("train-presence", data, *arguments).exception)


def test_a_method_is_given_a_network_by_its_file(data, tmp_path, monkeypatch):
    asked = []

    def start(request, runs, *, name):
        asked.append(request)
        return RunFolder.create(tmp_path, request)

    monkeypatch.setattr(api, "start", start)
    call("train", data, "--method", "latent_classes", "--presence-model", "net.safetensors", "--detach")
    assert asked[0].presence_model == "net.safetensors"
    (run,) = tmp_path.iterdir()
    assert RunFolder(run).request.presence_model.endswith("/net.safetensors")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("marginal", "--presence-model", "net.safetensors"), "the method asks none"),
        (("dynamic_head", "--embedding-file", "vectors.json"), "the embedding 'hierarchy'"),
        (("dynamic_head", "--option", "embedding=learned", "--fetch-text-encoder"), "the embedding 'learned'"),
        (("marginal", "--embedding-otherwise", "learned"), "no embedding of structures"),
    ],
)
def test_what_a_method_would_never_look_at_is_refused(arguments, words, data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words in str(call("train", data, "--method", *arguments, "--detach").exception)
    assert not (tmp_path / "runs").exists()
