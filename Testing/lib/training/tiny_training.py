"""The smallest thing that trains: batches that are a function of their number, a network with dropout and buffers."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn import functional

from SemiSegLib.batches.batch import Batch
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.method import LossTerms, Method
from SemiSegLib.runs.request import TrainingSettings
from SemiSegLib.training.trainer import Trainer
from SemiSegLib.training.validation import Scores

FIXED = TrainingSettings(
    steps=8, precision="fp32", channels_last=False, threads=1, learning_rate=0.01, deterministic=True
)
NO_ROWS = dict.fromkeys(Regime, slice(0, 0))


def settings(**changes):
    return replace(FIXED, **changes)


def a_batch(number, rows=2, shape=(6, 5, 7)):
    generator = torch.Generator().manual_seed(number)
    codes = torch.randint(0, 2, (rows, *shape), generator=generator)
    image = torch.randn((rows, 1, *shape), generator=generator) + codes.unsqueeze(1) * 2.0
    return Batch(
        image=image,
        codes=codes + 1,
        label_sets=torch.tensor([[True, True], [True, False], [False, True]]),
        rows={**NO_ROWS, Regime.FULL: slice(0, rows)},
        case_ids=tuple(f"case_{number}_{row}" for row in range(rows)),
        maps={},
    )


def batches_from(first, change=lambda number, batch: batch):
    number = first
    while True:
        yield change(number, a_batch(number))
        number += 1


class TinyMethod(Method):
    """A network with everything that makes a resume hard: dropout, running statistics, a follower."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.network = nn.Sequential(
                nn.Conv3d(1, 4, 3, padding=1), nn.BatchNorm3d(4), nn.LeakyReLU(), nn.Dropout(0.3), nn.Conv3d(4, 2, 1)
            )
        self.register_buffer("follower", torch.zeros(2))
        self.seen = []

    def losses(self, batch, progress):
        self.seen.append((progress, batch.case_ids))
        logits = self.network(batch.image)
        loss = functional.cross_entropy(logits.float(), batch.codes - 1)
        yield LossTerms(values={"cross_entropy": loss}, weights={"cross_entropy": 1.0})

    def predict(self, image):
        return self.network(image).softmax(1)

    def after_step(self, progress):
        self.follower.mul_(0.9).add_(self.network[-1].bias.detach(), alpha=0.1)


def scores(value=0.5, **more):
    found = {"dice": {"organ": value}, "cases": {"organ": 1}, "predicted": {"organ": 10}, "mean_dice": value}
    return Scores(**{**found, "by_case": {"a": {"organ": value}}, **more})


def train(method=None, *, change=None, **arguments):
    method = method or TinyMethod()
    chosen = arguments.pop("settings", FIXED)
    source = batches_from if change is None else lambda first: batches_from(first, change)
    trainer = Trainer(method, source, chosen, device="cpu", **arguments)
    return trainer, list(trainer.run())


def weights(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
