"""The contract between a method and the trainer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.labels.reach import Reach
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.planning.plan import Plan


@dataclass(frozen=True)
class Progress:
    """How far a training is.

    Attributes:
        step: optimizer steps done, from 0.
        fraction: share of the training done, 0 to 1: by steps, or by time when a time budget ends the run.
    """

    step: int
    fraction: float


@dataclass(frozen=True)
class LossTerms:
    """Named loss values with their weights; the total is computed here and nowhere else.

    Attributes:
        values: term name to scalar tensor with a graph.
        weights: term name to weight; every value has one.
        group: the optimizer group that steps on these terms.
    """

    values: Mapping[str, Tensor]
    weights: Mapping[str, float]
    group: str = "main"

    def total(self) -> Tensor:
        """Return the weighted sum."""
        terms = [self.weights[name] * value for name, value in self.values.items()]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


@dataclass(frozen=True, kw_only=True)
class GroupSettings:
    """What one optimizer group does otherwise than the training settings say; None is as they say.

    Attributes:
        optimizer: "adamw", "adam" or "sgd".
        learning_rate: at the start.
        schedule: of the learning rate.
        weight_decay: of the group.
        betas: shares of their past that the means of gradients and of their squares keep in "adam" and "adamw";
            PyTorch's 0.9 and 0.999 by default.
    """

    optimizer: str | None = None
    learning_rate: float | None = None
    schedule: str | None = None
    weight_decay: float | None = None
    betas: tuple[float, float] | None = None


@dataclass(frozen=True)
class Study:
    """What a method is built for.

    Attributes:
        scheme: label scheme.
        plan: data and network plan.
        presence: of (B, M, *S) images the (B, K) float32 calibrated probability that each ROI of the scheme, in the
            order of ``RoiTable``, is in them; None without one. A method that needs it keeps a copy as its own state.
        embeddings: (K, E) float, one row per ROI, for instance of a text; None without them.
        implied: names of the groups that are what their parts are, by the labels it is trained on; see ``labels.rois``.
        reach: how far from its largest piece a structure reaches, by the labels it is trained on; None if the method
            does not ask.
    """

    scheme: LabelScheme
    plan: Plan
    presence: nn.Module | None = None
    embeddings: Tensor | None = None
    implied: tuple[str, ...] = ()
    reach: Reach | None = None


class Trainable(nn.Module, ABC):
    """Networks and what they learn from one step: all that the trainer asks for. State lives in ``state_dict()``."""

    @abstractmethod
    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield loss terms; the trainer backpropagates each before it asks for the next.

        Each yield's graph is freed by the backward pass. A value must be finite and 0 with a graph where
        nothing in the batch teaches it.
        """

    def after_step(self, progress: Progress) -> None:
        """Update what follows the trained networks, after the optimizer step; nothing by default."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return optimizer group name to its parameters; one group "main" of all trainable ones by default."""
        return {"main": [p for p in self.parameters() if p.requires_grad]}

    def group_settings(self) -> dict[str, GroupSettings]:
        """Return optimizer group name to what it does otherwise than the training settings; nothing by default."""
        return {}


class Method(Trainable):
    """What can be trained and then segments.

    Attributes:
        decision: how leaves are decided from the probabilities: "superclass_first" or "leaf"; see
            ``prediction.decision``. ``build_method`` sets what the options say.
    """

    decision: str = "superclass_first"

    @abstractmethod
    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities, summing to 1 over L, for (B, M, *S) images."""

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return (B, *S) uncertainty in [0, 1], or None to use the entropy of ``predict``."""
        return None

    def predict_with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``predict`` and ``uncertainty`` do; to be overridden where one pass gives both."""
        return self.predict(image), self.uncertainty(image)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return state-dict name of each output layer to the class name of each output row."""
        return {}
