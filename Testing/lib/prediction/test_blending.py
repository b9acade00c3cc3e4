"""Where windows are blended when a device has too little memory for their sums; the result is the same."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from SemiSegLib.errors import RunError
from SemiSegLib.prediction import blending
from SemiSegLib.prediction.window import WindowSettings, predict_array, predict_slabs
from Testing.lib.prediction.test_window import Network, image_of, plan

# Every window row after the first moves the sums up; some rows of the image lie in the last window alone.
SHAPE = (1, 23, 11, 9)
NO_MEMORY = "CUDA out of memory. Tried to allocate 2.00 GiB"


class Crowded:
    """Pretends that a device, which is the CPU by another name, has room for so many allocations of the blender."""

    def __init__(self, monkeypatch, *, allocations):
        self.left, self.moved = allocations, []
        fake = SimpleNamespace(**{name: getattr(torch, name) for name in ("ones", "arange", "exp", "float32", "cuda")})
        fake.zeros = self.zeros
        monkeypatch.setattr(blending, "torch", fake)
        monkeypatch.setattr(blending.Blender, "_mean", self.counted(blending.Blender._mean))
        monkeypatch.setattr(blending.Blender, "_move_up", self.counted(blending.Blender._move_up))
        monkeypatch.setattr(blending.Blender, "leave_device", self.leave_device)
        monkeypatch.setattr(blending, "_give_room", self.moved.append)

    def take(self):
        if not self.moved:
            self.left -= 1
            if self.left < 0:
                raise torch.OutOfMemoryError(NO_MEMORY)

    def zeros(self, size, device):
        self.take()
        return torch.zeros(size, device=device)

    def counted(self, real):
        def compute(blender, *given):
            self.take()
            return real(blender, *given)

        return compute

    def leave_device(self):
        if self.moved:
            return False
        self.moved.append("device")
        return True


def predicted(method=None):
    return predict_array(method or Network(), image_of(*SHAPE), plan(), settings=WindowSettings(batch=2))


@pytest.mark.parametrize("allocations", [*range(24), 200])
def test_wherever_memory_runs_out_the_rest_is_blended_on_the_cpu_with_the_same_result(monkeypatch, allocations):
    expected = predicted()
    crowded = Crowded(monkeypatch, allocations=allocations)
    np.testing.assert_array_equal(predicted(), expected)
    assert len(crowded.moved) == (allocations < 200)


def test_what_is_no_lack_of_memory_is_told_as_it_is(monkeypatch):
    def broken(blender, number, count):
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(blending.Blender, "_move_up", broken)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        predicted()


def test_where_the_cpu_itself_has_too_little_memory_that_is_told(monkeypatch):
    def hungry(blender, held):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(blending.Blender, "_mean", hungry)
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        predicted()


class Squeezed(Network):
    """Has no room for a window once there are sums, until these have left the device."""

    room = False

    def predict(self, image):
        if len(self.seen) > 2 and not self.room:
            raise torch.OutOfMemoryError(NO_MEMORY)
        return super().predict(image)


def test_a_window_that_has_no_room_beside_the_sums_is_given_theirs(monkeypatch):
    expected, method = predicted(), Squeezed()

    def leave_device(blender):
        left, method.room = not method.room, True
        return left

    with pytest.raises(RunError, match="one window of"):
        predicted(method)
    monkeypatch.setattr(blending.Blender, "leave_device", leave_device)
    method.seen.clear()
    np.testing.assert_allclose(predicted(method), expected, atol=1e-6)
    assert method.room


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
@pytest.mark.parametrize("allocations", [0, 4, 200])
def test_a_gpu_that_runs_out_of_memory_gives_what_the_cpu_gives(monkeypatch, allocations):
    expected = predicted()
    real = blending.Blender.leave_device
    crowded = Crowded(monkeypatch, allocations=allocations)

    def leave_device(blender):
        crowded.moved.append("device")
        return real(blender)

    monkeypatch.setattr(blending.Blender, "leave_device", leave_device)
    settings = WindowSettings(batch=2, precision="fp32")
    slabs = list(predict_slabs(Network().to("cuda"), image_of(*SHAPE), plan(), device="cuda", settings=settings))
    assert {slab.probabilities.device.type for slab in slabs} == {"cpu" if allocations == 0 else "cuda"}
    found = torch.cat([slab.probabilities.cpu() for slab in slabs], dim=1)
    np.testing.assert_allclose(found.numpy(), expected, atol=5e-3)
