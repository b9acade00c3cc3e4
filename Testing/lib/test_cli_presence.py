"""``semiseg train-presence``: a network that tells which structures an image holds, as a file."""

import json
import time

import pytest
from typer.testing import CliRunner

from SemiSegLib import api
from SemiSegLib.cli import app
from SemiSegLib.errors import ConfigError
from SemiSegLib.prediction.presence_file import load_presence
from SemiSegLib.runs.folder import RunFolder
from Testing.lib.run_farm import a_cohort


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return a_cohort(tmp_path_factory.mktemp("data") / "cohort", fine=2, coarse=1, partial=1, none=1)


def call(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def test_the_command_trains_a_file_and_does_not_train_it_twice(data, tmp_path):
    output = tmp_path / "presence.safetensors"
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
    assert "not calibrated: 200 validation patches hold it and 0 do not" in again.stdout
    other = call(*command[:-2], "--setting", "threads=2")
    assert isinstance(other.exception, ConfigError)
    assert "name another file" in str(other.exception)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--output", "presence.txt"), "end its name in .safetensors"),
        (("--output", "a.safetensors", "--option", "widht=1"), "did you mean 'width'"),
        (("--output", "a.safetensors", "--option", "share=2"), "choose a value from"),
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
    call("train", data, "--method", "marginal", "--presence-model", "net.safetensors", "--detach")
    assert asked[0].presence_model == "net.safetensors"
    (run,) = tmp_path.iterdir()
    assert RunFolder(run).request.presence_model.endswith("/net.safetensors")
