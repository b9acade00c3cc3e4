"""Where patches lie: anywhere inside a volume, its last place included."""

from types import SimpleNamespace

import numpy as np
import pytest

from SemiSegLib.batches.sampling import draw_center


def starts_of(generators, shape=(4, 6, 5), patch=(3, 6, 2)):
    case = SimpleNamespace(codes=np.zeros(shape, dtype=np.uint8), known=np.zeros((0, 3), dtype=int), centers={})
    centers = [draw_center(case, None, patch=patch, shift=False, generator=generator) for generator in generators]
    return np.array(centers) - (np.array(patch) - 1) / 2


def check_that_every_place_is_taken(generators):
    found = starts_of(generators)
    assert [sorted(set(axis.tolist())) for axis in found.T] == [[0, 1], [0], [0, 1, 2, 3]]


class WithoutTheLast:
    """Paper 000's released crops: the last place is never drawn."""

    def __init__(self, seed):
        self.generator = np.random.default_rng(seed)

    def integers(self, low, high):
        return self.generator.integers(low, np.maximum(np.asarray(high) - 1, np.asarray(low) + 1))


def test_a_patch_may_lie_at_every_place_of_a_volume():
    check_that_every_place_is_taken([np.random.default_rng(seed) for seed in range(100)])
    with pytest.raises(AssertionError):
        check_that_every_place_is_taken([WithoutTheLast(seed) for seed in range(100)])


def test_a_volume_smaller_than_a_patch_lies_in_its_middle():
    found = starts_of([np.random.default_rng(seed) for seed in range(20)], shape=(2, 3, 5), patch=(5, 3, 5))
    assert (found == [-2, 0, 0]).all()
