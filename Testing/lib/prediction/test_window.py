"""Windows over images of any size: coverage, weights, blending, mirroring, precision and broken output."""

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from SemiSegLib.errors import CaseError, ConfigError, RunError, ShapeError
from SemiSegLib.methods.method import Method
from SemiSegLib.planning.plan import ChannelPlan, NetworkPlan, Plan
from SemiSegLib.prediction.blending import Blender, gaussian_weights
from SemiSegLib.prediction.device import pick_device, reduced_precision
from SemiSegLib.prediction.window import (
    WindowSettings,
    pad_to_patch,
    predict_array,
    predict_slabs,
    window_starts,
)

LEAVES = 3


class Constant(Method):
    """Gives every voxel the same probabilities, whatever it sees."""

    values = (0.2, 0.5, 0.3)

    def losses(self, batch, progress):
        raise NotImplementedError

    def predict(self, image):
        values = torch.tensor(self.values, device=image.device).reshape(1, -1, *[1] * (image.ndim - 2))
        return values.expand(len(image), -1, *image.shape[2:])


class Network(Constant):
    """One convolution with fixed weights: depends on neighbors and intensity, not on the place in the window."""

    def __init__(self, dimensions=3, channels=1, size=3):
        super().__init__()
        kind = nn.Conv3d if dimensions == 3 else nn.Conv2d
        self.convolution = kind(channels, LEAVES, size, padding=size // 2)
        generator = torch.Generator().manual_seed(7)
        for parameter in self.parameters():
            parameter.data = torch.randn(parameter.shape, generator=generator)
        self.seen = []

    def predict(self, image):
        self.seen.append(tuple(image.shape))
        return self.convolution(image).softmax(1)


class Placed(Constant):
    """Answers differently at different places of its window."""

    def predict(self, image):
        weights = torch.linspace(0, 1, image.shape[-1], device=image.device).expand(image[:, :1].shape)
        return torch.cat([weights, 1 - weights, 0 * weights], 1)


def plan(patch=(6, 8, 5), *, dimensions=3, channels=1, batch=3):
    return Plan(
        dimensions=dimensions,
        channels=tuple(ChannelPlan(role=f"c{i}") for i in range(channels)),
        axis_order=(0, 1, 2),
        spacing_mm=(1.0, 1.0, 1.0),
        patch=patch,
        batch=batch,
        network=NetworkPlan(),
    )


def image_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.5, 0.75])
@pytest.mark.parametrize("patch", [1, 2, 5, 8])
def test_windows_cover_an_axis_of_any_size_evenly_and_stay_inside(patch, overlap):
    for size in range(1, 41):
        starts = window_starts(size, patch, overlap)
        covered = {voxel for start in starts for voxel in range(start, start + patch)}
        assert set(range(size)) <= covered
        if size > patch:
            assert (starts[0], starts[-1] + patch) == (0, size)
            assert max(np.diff(starts)) <= max(1, np.ceil(patch * (1 - overlap)))


def check_that_a_constant_stays_it(shape):
    result = predict_array(Constant(), image_of(1, *shape), plan())
    assert result.shape == (3, *shape)
    np.testing.assert_allclose(
        result, np.broadcast_to(np.array(Constant.values).reshape(3, 1, 1, 1), result.shape), atol=1e-6
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 11, 17, 24, 39, 40])
def test_a_constant_network_gives_its_constant_everywhere_for_any_shape(size):
    for shape in ((size, 9, 7), (5, size, 3), (7, 4, size)):
        check_that_a_constant_stays_it(shape)


@pytest.mark.parametrize("shape", [(6, 9, 5), (6, 8, 7), (13, 17, 11)])
def test_windows_that_are_added_up_along_the_classes_are_noticed(shape, monkeypatch):
    # The released code of paper 000 slices the axis of the classes where it means the first axis of the volume.
    def along_the_classes(blender, window, value):
        _row, h, w = window
        height, width = slice(h, h + blender.patch[1]), slice(w, w + blender.patch[2])
        blender.sums[height, :, width].add_(value * blender.weights)
        blender.totals[:, height, width] += blender.weights

    check_that_a_constant_stays_it(shape)
    monkeypatch.setattr(Blender, "add", along_the_classes)
    with pytest.raises((AssertionError, RuntimeError)):
        check_that_a_constant_stays_it(shape)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 33), (3, 5, 17), (4, 21, 8)])
def test_a_two_dimensional_plan_sees_each_slice_alone(shape):
    method = Network(dimensions=2)
    image = image_of(1, *shape)
    result = predict_array(method, image, plan((8, 6), dimensions=2))
    assert all(len(seen) == 4 and seen[2:] == (8, 6) for seen in method.seen)
    again = np.concatenate(
        [predict_array(method, image[:, [d]], plan((8, 6), dimensions=2)) for d in range(shape[0])], axis=1
    )
    np.testing.assert_allclose(result, again, atol=1e-6)


def test_one_window_is_the_network_itself():
    method, image = Network(), image_of(1, 6, 8, 5)
    expected = method.predict(torch.from_numpy(image)[None])[0].detach().numpy()
    np.testing.assert_allclose(predict_array(method, image, plan()), expected, atol=1e-6)


def test_blending_equals_monais_sliding_window():
    # Sizes at which evenly spread windows and MONAI's fixed steps are the same windows.
    image, method = image_of(1, 12, 16, 20), Placed()
    settings = WindowSettings(overlap_fraction=0.5)
    found = predict_array(method, image, plan((6, 8, 10)), settings=settings)
    expected = sliding_window_inference(
        torch.from_numpy(image)[None], (6, 8, 10), 2, method.predict, overlap=0.5, mode="gaussian", sigma_scale=0.125
    )
    np.testing.assert_allclose(found, expected[0].numpy(), atol=2e-3)
    assert np.ptp(found[0]) > 0.3


def test_weights_fall_from_the_middle_of_a_window_and_are_symmetric():
    weights = gaussian_weights((5, 8, 1))
    assert weights[2, 3, 0] == weights.max()
    assert torch.equal(weights, weights.flip(0, 1, 2))
    assert weights.min() >= 1e-3
    assert weights[0, 0, 0] < weights[2, 0, 0] < weights[2, 3, 0]


def test_an_image_smaller_than_the_patch_lies_in_its_middle_among_zeros():
    image = torch.ones(2, 3, 4, 9)
    padded, place = pad_to_patch(image, (6, 4, 5))
    assert padded.shape == (2, 6, 4, 9)
    assert (padded.sum(), place) == (image.sum(), (slice(2, 5), slice(0, 4), slice(0, 9)))
    assert torch.equal(padded[:, 2:5], image)


def test_slabs_come_in_order_once_each_and_hold_no_more_rows_than_a_patch():
    image = image_of(1, 31, 9, 7)
    whole = predict_array(Network(), image, plan())
    rows = 0
    for slab in predict_slabs(Network(), image, plan()):
        count = slab.probabilities.shape[1]
        assert (slab.start, slab.uncertainty) == (rows, None)
        assert 0 < count <= 6
        np.testing.assert_allclose(slab.probabilities.numpy(), whole[:, rows : rows + count], atol=1e-6)
        rows += count
    assert rows == 31


@pytest.mark.parametrize("batch", [1, 2, 7, 50])
def test_the_number_of_windows_in_a_batch_does_not_matter(batch):
    image = image_of(1, 13, 11, 9)
    expected = predict_array(Network(), image, plan())
    method = Network()
    found = predict_array(method, image, plan(), settings=WindowSettings(batch=batch))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert max(seen[0] for seen in method.seen) == min(batch, sum(seen[0] for seen in method.seen))


def test_mirroring_makes_the_result_follow_a_flip_of_the_image():
    # At these sizes the windows of the flipped image are the flipped windows.
    image, method = image_of(1, 9, 12, 9), Network()
    for axes in ((1,), (3,), (1, 3)):
        mirror = WindowSettings(mirror=(1 in axes, 2 in axes, 3 in axes))
        found = predict_array(method, image, plan(), settings=mirror)
        flipped = predict_array(method, np.flip(image, axes).copy(), plan(), settings=mirror)
        np.testing.assert_allclose(np.flip(flipped, axes), found, atol=1e-5)
        plain = predict_array(method, image, plan())
        assert np.abs(np.flip(predict_array(method, np.flip(image, axes).copy(), plan()), axes) - plain).max() > 0.05


def test_a_two_dimensional_plan_mirrors_in_the_slice_only():
    image, method = image_of(1, 3, 13, 8), Network(dimensions=2)
    everything = predict_array(
        method, image, plan((8, 6), dimensions=2), settings=WindowSettings(mirror=(True, True, False))
    )
    in_plane = predict_array(
        method, image, plan((8, 6), dimensions=2), settings=WindowSettings(mirror=(False, True, False))
    )
    np.testing.assert_array_equal(everything, in_plane)


def test_the_methods_own_uncertainty_is_blended_beside_the_probabilities():
    class Unsure(Network):
        def uncertainty(self, image):
            return torch.full_like(image[:, 0], 0.25)

    slabs = list(predict_slabs(Unsure(), image_of(1, 14, 9, 9), plan(), settings=WindowSettings(uncertainty=True)))
    assert sum(len(slab.uncertainty) for slab in slabs) == 14
    for slab in slabs:
        assert slab.probabilities.shape[0] == LEAVES
        np.testing.assert_allclose(slab.uncertainty.numpy(), 0.25, atol=1e-6)
    plain = list(predict_slabs(Network(), image_of(1, 14, 9, 9), plan(), settings=WindowSettings(uncertainty=True)))
    assert all(slab.uncertainty is None and slab.probabilities.shape[0] == LEAVES for slab in plain)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_an_output_that_is_not_finite_is_an_error_and_never_a_label(value):
    class Broken(Network):
        def predict(self, image):
            logits = self.convolution(image)
            logits[0, 0, 0, 0, 0] = value
            return logits.softmax(1)

    with pytest.raises(CaseError, match="not a finite number"):
        predict_array(Broken(), image_of(1, 9, 9, 9), plan())


class Rounding(Constant):
    """Rounds as autocast would. A real bf16 convolution would kill the tests on machines that trap its instructions."""

    def __init__(self, *, overflows=False):
        super().__init__()
        self.overflows = overflows
        self.types = []

    def predict(self, image):
        is_reduced = torch.is_autocast_enabled("cpu")
        self.types.append(torch.get_autocast_dtype("cpu") if is_reduced else torch.float32)
        rounded = image.to(self.types[-1])
        logits = torch.cat([rounded, -rounded, rounded * (float("nan") if self.overflows and is_reduced else 0)], 1)
        return logits.softmax(1)


def test_what_overflows_in_half_precision_is_repeated_in_single():
    image, method = image_of(1, 6, 8, 5), Rounding(overflows=True)
    found = predict_array(method, image, plan(), settings=WindowSettings(precision="bf16"))
    np.testing.assert_array_equal(found, predict_array(Rounding(), image, plan()))
    assert method.types == [torch.bfloat16, torch.float32]


def test_reduced_precision_is_close_to_single_and_gives_single():
    image = image_of(1, 14, 12, 9)
    exact, reduced = (
        predict_array(Rounding(), image, plan(), settings=WindowSettings(precision=precision))
        for precision in ("fp32", "bf16")
    )
    assert reduced.dtype == np.float32
    assert 0 < np.abs(exact - reduced).max() < 0.02


def test_a_cpu_computes_in_single_precision_unless_told_otherwise():
    method = Rounding()
    predict_array(method, image_of(1, 6, 8, 5), plan())
    assert method.types == [torch.float32]
    assert reduced_precision("auto", torch.device("cuda")) is torch.float16
    assert reduced_precision("fp32", torch.device("cuda")) is None


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_windows_that_do_not_fit_into_memory_are_taken_in_smaller_numbers(error):
    class Hungry(Network):
        limit = 2

        def predict(self, image):
            if len(image) > self.limit:
                raise error
            return super().predict(image)

    image = image_of(1, 13, 11, 9)
    found = predict_array(Hungry(), image, plan(), settings=WindowSettings(batch=7))
    np.testing.assert_allclose(found, predict_array(Network(), image, plan()), atol=1e-6)
    method = Hungry()
    method.limit = 0
    with pytest.raises(RunError, match="6 x 8 x 5 voxels does not fit into memory") as told:
        predict_array(method, image, plan())
    # Who predicts on the CPU already needs another remedy.
    assert "choose the device 'cpu'" not in str(told.value)


def test_an_error_that_is_no_lack_of_memory_is_told_as_it_is():
    class Broken(Network):
        def predict(self, image):
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        predict_array(Broken(), image_of(1, 13, 11, 9), plan(), settings=WindowSettings(batch=7))


def test_training_goes_on_as_it_was_after_a_prediction():
    class Mixed(Network):
        def __init__(self):
            super().__init__()
            self.dropout = nn.Dropout(0.9)
            self.teacher = nn.Dropout(0.9)

        def predict(self, image):
            return self.dropout(super().predict(image))

    method = Mixed().train()
    method.teacher.eval()
    image = image_of(1, 9, 9, 9)
    np.testing.assert_array_equal(predict_array(method, image, plan()), predict_array(method, image, plan()))
    assert (method.training, method.dropout.training, method.teacher.training) == (True, True, False)
    assert torch.is_grad_enabled()
    for slab in predict_slabs(method, image, plan()):
        assert torch.is_grad_enabled()
        assert not torch.is_inference_mode_enabled()
        assert slab.probabilities.grad_fn is None


def test_several_channels_are_seen_together():
    image = image_of(2, 9, 9, 9)
    found = predict_array(Network(channels=2), image, plan(channels=2))
    assert not np.allclose(found, predict_array(Network(channels=2), image[::-1].copy(), plan(channels=2)))


def test_what_does_not_fit_is_named():
    with pytest.raises(ShapeError, match=r"expected \(2, D, H, W\)"):
        predict_array(Network(), image_of(1, 9, 9, 9), plan(channels=2))
    with pytest.raises(ShapeError, match="no empty axis"):
        predict_array(Network(), image_of(1, 0, 9, 9), plan())

    class Cropping(Network):
        def predict(self, image):
            return super().predict(image)[..., 1:]

    with pytest.raises(ShapeError, match="method Cropping"):
        predict_array(Cropping(), image_of(1, 9, 9, 9), plan())
    with pytest.raises(ConfigError, match="overlap_fraction is 1"):
        WindowSettings(overlap_fraction=1.0)
    with pytest.raises(ConfigError, match="did you mean 'cuda'"):
        pick_device("cudda")


def test_a_device_that_is_not_there_is_refused_and_auto_takes_what_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="no device 'cuda:1'"):
        pick_device("cuda:1")
