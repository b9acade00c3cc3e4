"""Dynamic heads alone: each structure has a head made from an embedding of it and the image (paper 002, "Baseline").

Paper 002 is Zhao et al., "Exploiting Latent Classes for Medical Image Segmentation from Partially Labeled Datasets";
the head is that of the CLIP-driven universal model (Liu et al., ICCV 2023, https://arxiv.org/abs/2301.00785). One
network answers every structure k by itself, and a case teaches those that were drawn in it, C:

    L = sum_{k in C} BCE(z_k, y_k) + Dice(s(z_k), y_k)

No code of paper 002 is published. Its sum is the mean over structures here (``average``), voxels of another structure
teach too that a structure is absent (``exclusion``), parts are asked to lie in their wholes (``containment_weight``),
and embeddings are learned, a part's beginning near its whole's. Preset "paper" has none of this, and embeddings that
BiomedCLIP made of texts. DoDNet's code smooths the denominator of the Dice alone and so punishes a drawn structure
that is empty with a constant; such a structure has no Dice here, and its cross entropy teaches that it is absent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from SemiSegLib.batches.batch import Batch
from SemiSegLib.methods.latent.roi_learner import RoiLearner, RoiOptions
from SemiSegLib.methods.method import LossTerms, Method, Progress, Study
from SemiSegLib.methods.parts.supervision import LABELED, nothing


@dataclass(frozen=True, kw_only=True)
class DynamicHeadOptions(RoiOptions):
    """The head of each ROI and what labels teach it, and nothing else."""


class DynamicHeadMethod(Method):
    """A network with a dynamic head, taught by labels."""

    Options: type[RoiOptions] = DynamicHeadOptions

    def __init__(self, study: Study, options: RoiOptions) -> None:
        super().__init__()
        self.learner = RoiLearner(study, options)

    def losses(self, batch: Batch, progress: Progress) -> Iterator[LossTerms]:
        """Yield what the labels teach; only labeled rows are computed."""
        weights, rows = self.learner.weights(), batch.part(*LABELED)
        if len(rows) == 0:
            yield LossTerms({name: nothing(self.learner) for name in weights}, weights)
            return
        maps = self.learner.maps(rows) if self.learner.reads_maps else None
        yield LossTerms(self.learner.terms(self.learner(rows.image), rows, maps), weights)

    @property
    def predictor(self) -> nn.Module:
        """The network that predicts."""
        return self.learner

    def predict(self, image: Tensor) -> Tensor:
        """Return (B, L, *S) leaf probabilities for (B, M, *S) images."""
        return self.learner.probability(self.predictor(image))

    def uncertainty(self, image: Tensor) -> Tensor | None:
        """Return (B, *S): the doubt of the structure of which there is most; with the softmax, that of ``predict``."""
        return None if self.learner.is_softmax else self.learner.doubt(self.predictor(image))

    def predict_with_uncertainty(self, image: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return what ``predict`` and ``uncertainty`` do, from one pass."""
        outputs = self.predictor(image)
        return self.learner.probability(outputs), None if self.learner.is_softmax else self.learner.doubt(outputs)

    def warm_start_rows(self) -> dict[str, tuple[str, ...]]:
        """Return the names of the structures for each output layer."""
        return self.learner.output_rows("learner.")
