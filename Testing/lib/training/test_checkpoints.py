import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from SemiSegLib.errors import CheckpointError
from SemiSegLib.training import checkpoints
from SemiSegLib.training.checkpoints import load_best, load_latest, save_checkpoint

ROOT = Path(__file__).resolve().parents[3]


def save(folder, step, **more):
    save_checkpoint(folder, {"a": torch.full((3,), float(step))}, {"note": f"step {step}"}, step=step, **more)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_was_saved_is_loaded_bit_for_bit(tmp_path):
    tensors = {
        "half": torch.randn(2, 3).to(torch.bfloat16),
        "long": torch.tensor(2**60),
        "last": torch.randn(2, 4, 3, 3, 3).contiguous(memory_format=torch.channels_last_3d),
        "bytes": torch.get_rng_state(),
    }
    data = {"elapsed": 0.1 + 0.2, "nothing": None, "words": ["ü"]}
    save_checkpoint(tmp_path / "new", tensors, data, step=7)
    found = load_latest(tmp_path / "new")
    assert (found.step, found.is_best, found.data) == (7, False, data)
    assert found.tensors.keys() == tensors.keys()
    assert all(torch.equal(found.tensors[name], value) for name, value in tensors.items())


def test_nothing_is_found_where_nothing_was_saved(tmp_path):
    assert load_latest(tmp_path / "nowhere") is None
    assert load_best(tmp_path) is None


def test_the_two_newest_and_the_best_are_kept(tmp_path):
    for step in range(1, 8):
        save(tmp_path, step, is_best=step in (1, 3))
    kept = [3, 6, 7]
    assert names(tmp_path) == sorted(f"step_{s:09d}.{end}" for s in kept for end in ("json", "safetensors"))
    assert load_best(tmp_path).step == 3
    assert load_latest(tmp_path).step == 7


def test_a_damaged_checkpoint_is_passed_over(tmp_path):
    save(tmp_path, 1)
    save(tmp_path, 2)
    path = tmp_path / "step_000000002.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert load_latest(tmp_path).step == 1
    path.write_bytes(content[:20])
    assert load_latest(tmp_path).step == 1
    path.unlink()
    assert load_latest(tmp_path).step == 1


def test_a_damaged_best_checkpoint_falls_back_to_one_that_was_best_before(tmp_path):
    save(tmp_path, 1, is_best=True)
    save(tmp_path, 2, is_best=True)
    (tmp_path / "step_000000002.json").write_text("{")
    assert load_best(tmp_path).step == 1


def test_what_a_killed_write_left_behind_is_removed_by_the_next(tmp_path):
    save(tmp_path, 1)
    (tmp_path / "step_000000002.safetensors.tmp").write_bytes(b"half")
    (tmp_path / "step_000000002.safetensors").write_bytes(b"without its json")
    assert load_latest(tmp_path).step == 1
    save(tmp_path, 3)
    assert load_latest(tmp_path).step == 3
    assert not [name for name in names(tmp_path) if "tmp" in name or "2" in name]


def test_a_full_disk_leaves_the_earlier_checkpoint_and_says_so(tmp_path, monkeypatch):
    save(tmp_path, 1)
    usage = shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
        with pytest.raises(CheckpointError, match="free some space"):
            save(tmp_path, 2)

    def refuse(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "flush", refuse)
        with pytest.raises(CheckpointError, match="No space left on device"):
            save(tmp_path, 2)
    assert load_latest(tmp_path).step == 1
    assert not [name for name in names(tmp_path) if name.endswith("tmp")]


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("failing", [1, 2])
def test_a_step_that_is_saved_again_keeps_its_earlier_state_until_the_new_one_is_complete(
    tmp_path, monkeypatch, failing, failure
):
    """``failing`` 1 and 2: the tensors and their JSON file are renamed; an interrupt stands for a kill."""
    renames = iter(range(1, 100))
    real = checkpoints.replace_file

    def refuse(source, target):
        if next(renames) == failing:
            raise failure
        real(source, target)

    save_checkpoint(tmp_path, {"a": torch.zeros(3)}, {"note": "first"}, step=4, is_best=True)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "replace_file", refuse)
        with pytest.raises((CheckpointError, KeyboardInterrupt)):
            save_checkpoint(tmp_path, {"a": torch.ones(3)}, {"note": "again"}, step=4, is_best=True)
    for found in (load_latest(tmp_path), load_best(tmp_path)):
        assert (found.step, found.data, float(found.tensors["a"].sum())) == (4, {"note": "first"}, 0)
    save_checkpoint(tmp_path, {"a": torch.ones(3)}, {"note": "again"}, step=4, is_best=True)
    assert load_best(tmp_path).data == load_latest(tmp_path).data == {"note": "again"}
    assert names(tmp_path) == ["step_000000004_001.json", "step_000000004_001.safetensors"]


def test_of_two_states_of_one_step_the_later_one_counts(tmp_path, monkeypatch):
    """As after a kill between the new state and the removal of the earlier one."""
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "_remove", lambda path: None)
        for note in ("first", "second", "third"):
            save_checkpoint(tmp_path, {"a": torch.zeros(3)}, {"note": note}, step=4)
            assert load_latest(tmp_path).data == {"note": note}
    save_checkpoint(tmp_path, {"a": torch.zeros(3)}, {"note": "fourth"}, step=4)
    assert names(tmp_path) == ["step_000000004_003.json", "step_000000004_003.safetensors"]


def test_a_checkpoint_of_a_newer_version_is_refused_with_a_remedy(tmp_path):
    save(tmp_path, 1)
    path = tmp_path / "step_000000001.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    with pytest.raises(CheckpointError, match="update SemiSeg"):
        load_latest(tmp_path)


# Writes checkpoints without end, each flush slow, so that a kill falls inside a write.
WRITER = """
import sys, time, torch
from pathlib import Path
from SemiSegLib.training import checkpoints
real = checkpoints.flush
def slow(descriptor):
    time.sleep(0.005)
    real(descriptor)
checkpoints.flush = slow
folder, step = Path(sys.argv[1]), int(sys.argv[2])
print("ready", flush=True)
while True:
    step += 1
    tensors = {"a": torch.full((20000,), float(step))}
    checkpoints.save_checkpoint(folder, tensors, {"step": step}, step=step, is_best=step % 5 == 0)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_kill_inside_a_write_always_leaves_a_good_checkpoint(tmp_path):
    latest, environment = 0, {**os.environ, "PYTHONPATH": str(ROOT)}
    for pause in (0.3, 0.037, 0.071, 0.013):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path), str(latest)], env=environment, stdout=subprocess.PIPE
        )
        assert writer.stdout.readline() == b"ready\n"
        time.sleep(pause)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        found = load_latest(tmp_path)
        if found is not None:
            assert found.step >= latest
            assert torch.equal(found.tensors["a"], torch.full((20000,), float(found.step)))
            latest = found.step
    assert latest >= 5
    assert load_best(tmp_path).step % 5 == 0
