"""How likely each structure is in a scan: by the model's presence network, or by what its probabilities say."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.networks.modes import evaluating
from SemiSegLib.networks.presence import PresenceModel
from SemiSegLib.planning.plan import Plan
from SemiSegLib.prediction.decision import Decision
from SemiSegLib.prediction.device import reduced_precision
from SemiSegLib.prediction.findings import CONFIDENCE, HIGH, LOW, PRESENCE, Evidence
from SemiSegLib.prediction.forward import evaluated
from SemiSegLib.prediction.model_file import Model
from SemiSegLib.prediction.window import Slab, WindowSettings, windows_of


def presence_of(model: Model) -> PresenceModel | None:
    """Return the presence network of a model's method, or None if it has none."""
    found = getattr(model.method, "presence", None)
    return found if isinstance(found, PresenceModel) else None


def presence_evidence(
    model: Model, presence: PresenceModel, image: np.ndarray, device: torch.device, settings: WindowSettings
) -> Evidence:
    """Return what a presence network says of a scan: of each ROI the largest probability over all windows.

    Args:
        model: gives scheme, plan and thresholds.
        presence: of its method, on the device.
        image: (M, D, H, W) float32, prepared.
        device: where to compute.
        settings: how windows are laid, and the precision.

    Raises:
        CaseError: what the network says is not finite.
        RunError: one window alone does not fit into memory.
    """
    rois = RoiTable.of(model.study.scheme)
    best = _largest(presence, image, model.study.plan, device, settings).cpu().numpy()
    told = np.array([bool(presence.description.classes_of.get(name)) for name in rois.names])
    of_roi = dict(zip(presence.rois, best, strict=True))
    scores = np.array([of_roi.get(name, np.nan) for name in rois.names], dtype=np.float64)
    scores[~told] = np.nan
    low, high = (float(model.options.get(name, usual)) for name, usual in (("low", LOW), ("high", HIGH)))
    return Evidence(scores=scores, source=PRESENCE, low=low, high=high)


class Confidence:
    """Gathers what probabilities say of the ROIs, slab by slab, on the plan's grid.

    Args:
        rois: of the model's scheme.
        decision: how leaves come from probabilities.
    """

    def __init__(self, rois: RoiTable, decision: Decision) -> None:
        self.rois = rois
        self.decision = decision
        self.sums: Tensor | None = None

    def add(self, slab: Slab) -> None:
        """Take the next rows."""
        probabilities = slab.probabilities
        members = torch.from_numpy(self.rois.members.copy()).to(probabilities.device)
        winner = self.decision(probabilities).long()
        found = []
        for k, leaves in enumerate(self.rois.leaf_sets):
            own = probabilities[sorted(leaves)].sum(0)
            inside = members[k][winner]
            found.append(torch.stack([(own * inside).sum(), inside.sum().to(own.dtype), own.max()]))
        values = torch.stack(found).double()
        if self.sums is None:
            self.sums = values
        else:
            self.sums = torch.cat([self.sums[:, :2] + values[:, :2], torch.maximum(self.sums, values)[:, 2:]], dim=1)

    def evidence(self) -> Evidence:
        """Return the mean probability where a ROI was segmented, or the largest anywhere if it was not."""
        assert self.sums is not None, "no slab was added"
        total, count, largest = self.sums.cpu().numpy().T
        scores = np.where(count > 0, total / np.maximum(count, 1), largest)
        return Evidence(scores=scores.clip(0, 1), source=CONFIDENCE)


@torch.inference_mode()
def _largest(
    presence: nn.Module, image: np.ndarray, plan: Plan, device: torch.device, settings: WindowSettings
) -> Tensor:
    best: Tensor | None = None
    reduced = reduced_precision(settings.precision, device)
    with evaluating(presence):
        for batch in windows_of(image, plan, device=device, settings=settings):
            found = evaluated(presence, batch, reduced=reduced, device=device).amax(0)
            best = found if best is None else torch.maximum(best, found)
    assert best is not None, "every image has at least one window"
    return best
