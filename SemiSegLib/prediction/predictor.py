"""A model applied to a scan: one call, no state between calls, the result on the scan's own grid."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np

from SemiSegLib.batches.prepare import prepare_image
from SemiSegLib.cases.volume import Volume
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.reach import MARGIN
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.prediction.components import largest_components, near_components
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.device import pick_device
from SemiSegLib.prediction.evidence import Confidence, presence_evidence, presence_of
from SemiSegLib.prediction.findings import Findings, find, require_structures
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.prediction.restore import Restorer
from SemiSegLib.prediction.review import review as review_of
from SemiSegLib.prediction.window import WindowSettings, predict_slabs
from SemiSegLib.runs.review import Review


@dataclass(frozen=True)
class Prediction:
    """What a model says of a scan.

    Attributes:
        leaves: uint8 leaf indices on the scan's grid.
        uncertainty: float32, 0 to 1, on the scan's grid, or None if it was not asked for.
        scheme: what the indices mean.
        findings: what is known of each structure, or None if it was not asked for.
        review: how much a look at the result is worth, or None if it was not asked for.
    """

    leaves: Volume
    uncertainty: Volume | None
    scheme: LabelScheme
    findings: Findings | None = None
    review: Review | None = None

    def superclasses(self) -> Volume:
        """Return uint8 superclass indices: of each voxel the superclass of its leaf, so they can never disagree."""
        lookup = np.array(self.scheme.superclass_of_leaf, dtype=np.uint8)
        return Volume(lookup[self.leaves.voxels], self.leaves.geometry)

    def near_components(self, model: Model) -> Prediction:
        """Return the same without pieces that lie farther from the largest than labels showed; see ``components``."""
        reach = model.study.reach
        if reach is None:
            return self
        margin = MARGIN * min(mm for mm in model.study.plan.spacing_mm if mm > 0)
        limits = [None if mm is None else mm + margin for mm in reach.case_mm]
        kept = near_components(self.leaves.voxels, self.scheme, limits, self.leaves.geometry.spacing_mm)
        return replace(self, leaves=Volume(kept, self.leaves.geometry), findings=None, review=None)

    def largest_components(self) -> Prediction:
        """Return the same with one piece of each structure, the largest; see ``prediction.components``.

        Without findings and review, which tell of the whole.
        """
        kept = largest_components(self.leaves.voxels, self.scheme)
        return replace(self, leaves=Volume(kept, self.leaves.geometry), findings=None, review=None)


class Predictor:
    """Applies one model.

    Args:
        model: what ``load_model`` returned; its method is moved to the device.
        device: "auto", "cpu", "cuda" or "mps".
        mirror: average over copies mirrored along the axes that the training flipped.
        precision: "auto", "fp32", "bf16" or "fp16".
        overlap_fraction: least overlap of neighboring windows.
        largest_component: keep one piece of each structure, see ``prediction.components``.
        all_pieces: also keep pieces that lie farther from the largest of their structure than labels showed, which are
            left out if the model knows how far that is.

    Raises:
        ConfigError: the computer has no such device, or the model was not trained with flips.
    """

    def __init__(  # noqa: PLR0913 - all that one may ask of a prediction
        self,
        model: Model,
        *,
        device: str = "auto",
        mirror: bool = False,
        precision: str = "auto",
        overlap_fraction: float = 0.5,
        largest_component: bool = False,
        all_pieces: bool = False,
    ) -> None:
        self.model = model
        self.all_pieces = all_pieces
        self.largest_component = largest_component
        self.device = pick_device(device)
        self.method = model.method.to(self.device).eval()
        self.settings = WindowSettings(
            overlap_fraction=overlap_fraction,
            mirror=_flips_of_training(model) if mirror else (False, False, False),
            precision=precision,
        )

    def predict(
        self,
        channels: Sequence[Volume],
        *,
        uncertainty: bool = False,
        on_progress: Callable[[float], None] | None = None,
        drawn: Collection[str] | None = None,
        review: bool = False,
    ) -> Prediction:
        """Return the segmentation of a scan.

        Args:
            channels: one volume per channel of the model's plan, in its order, on one grid.
            uncertainty: also return how unsure the model is.
            on_progress: called with the finished share, 0 to 1.
            drawn: also find out about each structure, where a person has drawn these; None asks for nothing.
            review: also tell how much a look at the result is worth.

        Raises:
            ShapeError: another number of channels than the model has, or grids that differ.
            CaseError: an intensity or the network's output is not finite.
            RunError: the device has too little memory for one window.
            LabelError: a drawn structure is not one of the scheme.
        """
        require_structures(drawn or (), self.model.study.scheme)
        study = self.model.study
        image, grid = prepare_image(channels, study.plan)
        decision = Decision.of(self.method, study.scheme)
        restorer = Restorer(grid, decision, uncertainty=uncertainty, doubt=review)
        settings = WindowSettings(
            overlap_fraction=self.settings.overlap_fraction,
            mirror=self.settings.mirror,
            precision=self.settings.precision,
            uncertainty=uncertainty,
        )
        presence = presence_of(self.model)
        confidence = None
        if drawn is not None and presence is None:
            confidence = Confidence(RoiTable.of(study.scheme), decision)
        for slab in predict_slabs(self.method, image, study.plan, device=self.device, settings=settings):
            restorer.add(slab)
            if confidence is not None:
                confidence.add(slab)
            if on_progress is not None:
                on_progress((slab.start + slab.probabilities.shape[1]) / image.shape[1])
        leaves, unsure = restorer.finish()
        geometry = channels[0].geometry
        prediction = Prediction(
            leaves=Volume(leaves, geometry),
            uncertainty=None if unsure is None else Volume(unsure, geometry),
            scheme=study.scheme,
        )
        if self.largest_component:
            prediction = prediction.largest_components()
        elif not self.all_pieces:
            prediction = prediction.near_components(self.model)
        if drawn is not None:
            if presence is not None:
                evidence = presence_evidence(self.model, presence, image, self.device, settings)
            else:
                assert confidence is not None
                evidence = confidence.evidence()
            prediction = replace(prediction, findings=find(prediction.leaves, study.scheme, evidence, drawn))
        if not review:
            return prediction
        doubt = restorer.finished_doubt()
        return replace(prediction, review=review_of(prediction.leaves, doubt, prediction.scheme, prediction.findings))


def _flips_of_training(model: Model) -> tuple[bool, bool, bool]:
    """Return the plan axes along which the training flipped patches, by what the model file says.

    Scans are turned to one orientation, so a mirrored copy shows another body. A network that learned none such answers
    wrongly: see ``Augmentation.mirror`` for what flips alone cost.
    """
    axes = model.provenance.get("flipped_axes")
    if axes and isinstance(axes, list) and all(axis in range(3) for axis in axes):
        return 0 in axes, 1 in axes, 2 in axes
    raise ConfigError(
        explain(
            "the model was trained without flips, so it never saw a mirrored scan"
            if axes == []
            else "the model file does not say whether the training flipped scans, as mirroring needs",
            where="prediction with mirrored copies (mirror)",
            remedy="predict without mirroring; it is for models trained with the setting mirror=true",
        )
    )
