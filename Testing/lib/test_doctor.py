"""What the doctor advises, and the device that is then really taken: both by one trial."""

import logging

import pytest
import torch

from SemiSegLib import doctor
from SemiSegLib.doctor import DeviceTrial
from SemiSegLib.prediction import device
from SemiSegLib.prediction.device import pick_device, try_device

NO_KERNEL = "CUDA error: no kernel image is available for execution on the device\nCUDA kernel errors might be..."


@pytest.fixture
def computer(monkeypatch):
    """A computer with so many NVIDIA cards, and perhaps Apple's GPU; what fails does so as told."""

    def has(*, cards=0, has_mps=False, **failures):
        tried = []

        def trial(name):
            tried.append(name)
            # torch's "cuda" is the first card.
            place = {"cuda": "cuda_0"}.get(name, name.replace(":", "_"))
            if place in failures:
                raise failures[place]
            return 1.0

        monkeypatch.setattr(torch.cuda, "is_available", lambda: cards > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cards)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: has_mps)
        monkeypatch.setattr(device, "try_device", trial)
        monkeypatch.setattr(doctor, "try_device", trial)
        device._works.cache_clear()
        names = [*(f"cuda:{number}" for number in range(cards)), *(["mps"] if has_mps else []), "cpu"]
        monkeypatch.setattr(doctor, "_devices", lambda: [(name, "a device", None) for name in names])
        return tried

    yield has
    device._works.cache_clear()


def test_a_card_that_the_build_has_no_kernels_for_is_left_for_the_cpu_as_the_doctor_says(computer, caplog):
    tried = computer(cards=1, cuda_0=RuntimeError(NO_KERNEL))
    with caplog.at_level(logging.WARNING):
        assert pick_device("auto") == torch.device("cpu")
        assert pick_device("auto") == torch.device("cpu")
    assert tried == ["cuda"]
    (told,) = caplog.messages
    assert told.startswith("cuda is there but does not work, so it is not used: CUDA error: no kernel image")
    assert "\n" not in told
    advice = doctor.diagnose().advice
    assert advice.startswith("cuda:0 is there but does not work (CUDA error: no kernel image")
    assert advice.endswith("Training runs on the CPU meanwhile.")


def test_another_device_that_works_is_taken_as_the_doctor_says(computer):
    computer(cards=2, cuda_0=RuntimeError(NO_KERNEL))
    assert pick_device("auto") == torch.device("cuda:1")
    assert doctor.diagnose().advice.endswith("Training runs on cuda:1 meanwhile.")
    computer(cards=2, cuda_1=RuntimeError(NO_KERNEL))
    assert pick_device("auto") == torch.device("cuda")
    assert doctor.diagnose().advice.endswith("Training runs on cuda:0 meanwhile.")
    computer(has_mps=True)
    assert pick_device("auto") == torch.device("mps")
    computer(has_mps=True, mps=NotImplementedError("Conv3D"))
    assert pick_device("auto") == torch.device("cpu")


def test_a_card_whose_memory_another_program_has_is_not_taken_for_broken(computer):
    computer(cards=1, cuda_0=torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB"))
    assert pick_device("auto") == torch.device("cuda")
    assert doctor.diagnose().advice.startswith("The memory of cuda:0 is full: close other programs")


def test_a_device_that_is_named_is_not_tried(computer):
    tried = computer(cards=1, cuda_0=RuntimeError(NO_KERNEL))
    assert pick_device("cuda") == torch.device("cuda")
    assert pick_device("cpu") == torch.device("cpu")
    assert tried == []


def test_the_trial_leaves_random_numbers_alone_and_works_where_nothing_is_learned():
    before = torch.get_rng_state()
    with torch.inference_mode():
        assert try_device("cpu") > 0
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(RuntimeError):
        try_device("meta")


def test_without_a_card_the_cpu_is_advised_and_a_small_card_gets_small_patches():
    cpu = DeviceTrial("cpu", "a processor", None, 3.0)
    assert "training runs on the CPU" in doctor._advice((cpu,))
    small = DeviceTrial("cuda:0", "a card", 4.0, 1.0)
    assert doctor._advice((small, cpu)) == "Training will use cuda:0, with small patches because its memory is small."
