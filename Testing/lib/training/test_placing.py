"""A batch goes to the device as a whole."""

from dataclasses import fields, replace

import torch
from torch import Tensor

from SemiSegLib.training.precision import Compute
from Testing.lib.methods import tiny


def test_every_part_of_a_batch_is_put_on_the_device():
    batch, _truth = tiny.batch(2, maps=("signed_distance",))
    batch = replace(batch, case_codes=torch.ones(len(batch), len(tiny.TABLE), dtype=torch.bool))
    placed = Compute(device="meta").place(batch)
    tensors = [getattr(placed, field.name) for field in fields(placed)]
    tensors = [part for part in [*tensors, *placed.maps.values()] if isinstance(part, Tensor)]
    assert len(tensors) == 6
    assert {part.device.type for part in tensors} == {"meta"}
