"""What the runs of a comparison share, and what is asked of each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from SemiSegLib.arms import Arm, read_arm
from SemiSegLib.cases.coarsen import choose_fine
from SemiSegLib.cases.dataset import Dataset
from SemiSegLib.comparison import ComparisonSettings
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.kept_scores import DataHashes, data_hashes
from SemiSegLib.runs.request import RunRequest


@dataclass(frozen=True)
class Bench:
    """What every run of a comparison shares.

    Attributes:
        study: with sides.
        path: from which runs read it.
        settings: what is compared.
        output: folder for runs, scores and tables.
    """

    study: Dataset
    path: Path
    settings: ComparisonSettings
    output: Path

    @cached_property
    def data(self) -> DataHashes:
        """Hashes of the study, by which kept scores are known to be of it."""
        return data_hashes(self.study)

    def fine_cases(self, count: int) -> tuple[str, ...]:
        """Return the first so many cases that keep their fine labels."""
        order = self.settings.fine_order
        if not order:
            return choose_fine(self.study, count, self.settings.split_seed)
        if count > len(order):
            where, remedy = "fine cases", "name more cases in the order, or ask for fewer"
            raise ConfigError(explain(f"{count} were asked for, {len(order)} named", where=where, remedy=remedy))
        return order[:count]

    def request(self, arm: Arm, seed: int) -> RunRequest:
        """Return what is asked of one run."""
        settings = self.settings
        training, plan = arm.own.under(settings.training, settings.plan, given=settings.given)
        return RunRequest(
            dataset=str(self.path),
            method=arm.method,
            preset=arm.preset,
            options=arm.options,
            plan=plan,
            training=training,
            fine_cases=None if arm.fine is None else self.fine_cases(arm.fine),
            other_labels=settings.other_labels,
            drawn=settings.drawn if arm.labels else None,
            undrawn="background" if arm.labels == "naive" else "unknown",
            seed=seed,
            title=f"{arm.title}, seed {seed}",
        )


def arms_of(settings: ComparisonSettings) -> tuple[Arm, ...]:
    """Return the lines of a comparison in their order.

    Raises:
        ConfigError: a method, preset or option is unknown, or two lines would share their runs.
    """
    arms = [*settings.arms]
    for fine in settings.fine:
        arms += [read_arm(text, fine=fine, with_settings=settings.preset_settings) for text in settings.methods]
    full = read_arm("supervised", fine=None)
    if settings.with_full and full.name not in [arm.name for arm in arms]:
        arms.append(full)
    names = [arm.name for arm in arms]
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(explain("two lines are the same", where=f"line '{name}'", remedy="name each line once"))
    return tuple(arms)
