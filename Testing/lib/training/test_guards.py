import pytest
import torch
from torch import nn

from SemiSegLib.training.guards import CollapseGuard, Extremes, KeptBuffers, NonFiniteError, NonFiniteGuard
from Testing.lib.training.tiny_training import a_batch


def seen(number):
    return [Extremes.of(a_batch(number))]


def test_extremes_are_largest_distances_from_zero_and_nan_is_one():
    batch = a_batch(1, rows=3)
    batch.image[0, 0, 1, 2, 3] = -1e6
    batch.image[1, 0, 5, 4, 6] = torch.nan
    found = Extremes.of(batch)
    assert found.case_ids == ("case_1_0", "case_1_1", "case_1_2")
    assert found.largest[0] == 1e6
    assert found.largest[1].isnan()
    assert found.largest[2] == batch.image[2].abs().max()


def test_kept_buffers_come_back_also_where_other_tensors_took_their_places():
    class Shared(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm3d(2)
            self.register_buffer("now", torch.tensor(1.0))
            self.register_buffer("coming", torch.tensor(2.0), persistent=False)

    module = Shared()
    tensor = module.now
    kept = KeptBuffers(module)
    module.norm(torch.full((1, 2, 3, 4, 5), torch.inf))
    module.coming = module.now
    module.now = torch.tensor(torch.nan)
    kept.put_back()
    assert module.now is tensor
    assert (float(module.now), float(module.coming)) == (1.0, 2.0)
    assert torch.equal(module.norm.running_mean, torch.zeros(2))
    assert int(module.norm.num_batches_tracked) == 0


def test_the_cases_with_extreme_intensities_are_named_first():
    guard = NonFiniteGuard()
    bad = a_batch(7)
    bad.image[1, 0, 0, 0, 0] = 1e30
    text = guard.skip([*seen(3), Extremes.of(bad)], step=4, precision="fp16")
    assert "case_7_1" in text
    assert "case_3" not in text
    assert guard.case_ids() == ("case_7_1",)


def test_a_good_step_forgives():
    guard = NonFiniteGuard()
    for step in range(19):
        guard.skip(seen(step), step=step, precision="fp32")
    guard.passed()
    guard.skip(seen(0), step=20, precision="fp32")
    assert guard.in_a_row == 1


def test_the_twentieth_in_a_row_raises_and_a_long_list_of_cases_is_cut():
    guard = NonFiniteGuard()
    for step in range(19):
        guard.skip(seen(step), step=step, precision="fp32")
    with pytest.raises(NonFiniteError, match=r"case_0_0.* and 32 more"):
        guard.skip(seen(19), step=19, precision="fp32")


def test_an_alarm_comes_after_five_empty_validations_in_a_row_and_again_after_ten():
    guard = CollapseGuard()
    alarms = [guard.look({"organ": 0, "vessel": 3}) for _ in range(10)]
    assert [len(found) for found in alarms] == [0, 0, 0, 0, 1, 0, 0, 0, 0, 1]
    assert guard.look({"organ": 5, "vessel": 3}) == []
    assert guard.counts == {"organ": 0, "vessel": 0}


def test_the_count_of_empty_validations_goes_on_after_a_resume():
    first = CollapseGuard()
    for _ in range(4):
        first.look({"organ": 0})
    assert len(CollapseGuard(first.counts).look({"organ": 0})) == 1
