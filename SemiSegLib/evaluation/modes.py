"""How a metric is computed: in millimeters with every empty case decided, or as each paper did it."""

from __future__ import annotations

from dataclasses import dataclass

from SemiSegLib.config import check_choice, check_range
from SemiSegLib.registry import Registry

OVERLAP_METRICS = ("dice", "jaccard", "sensitivity", "precision")
DISTANCE_METRICS = ("hd", "hd95", "hd95_directed", "asd", "assd", "surface_dice")
EMPTY_POLICIES = ("decided", "zero", "zero_without_prediction", "left_out")


@dataclass(frozen=True, kw_only=True)
class EvaluationMode:
    """The conventions of one evaluation.

    Attributes:
        name: registered name.
        metrics: the metrics that are reported; the others stay None.
        in_mm: distances in millimeters; else in voxels, each axis counted as 1.
        hd95_is_directed: whether "hd95" is the larger of the two directed percentiles (MONAI) or the percentile
            of both directions pooled (medpy).
        dice_smoothing: voxels added to the denominator of Dice.
        empty: what a structure scores that is absent from the prediction, the reference or both.
            "decided": both absent Dice 1 and distances 0, one absent Dice 0 and distances the image diagonal.
            "zero": everything 0 if either is absent.
            "zero_without_prediction": everything 0 if the prediction is absent, else no distances.
            "left_out": no overlap score without a reference, no distance if either is absent.
        largest_component: keep only the largest component (26 neighbors) of the prediction.
        tolerance_mm: tolerance of the surface Dice, 1 mm unless told.
    """

    name: str
    metrics: tuple[str, ...] = (*OVERLAP_METRICS, *DISTANCE_METRICS)
    in_mm: bool = True
    hd95_is_directed: bool = False
    dice_smoothing: float = 0.0
    empty: str = "decided"
    largest_component: bool = False
    tolerance_mm: float = 1.0

    def __post_init__(self) -> None:
        check_choice("empty", self.empty, EMPTY_POLICIES)
        check_range("tolerance_mm", self.tolerance_mm, low=0.0)
        for metric in self.metrics:
            check_choice("metrics", metric, (*OVERLAP_METRICS, *DISTANCE_METRICS))

    @property
    def unit(self) -> str:
        """The unit of the distances, "mm" or "voxel"."""
        return "mm" if self.in_mm else "voxel"

    @property
    def measures_distances(self) -> bool:
        """Whether any reported metric needs the surfaces."""
        return any(metric in self.metrics for metric in DISTANCE_METRICS)


MODES: Registry[EvaluationMode] = Registry("evaluation mode")

for _mode in (
    EvaluationMode(name="strict"),
    # Released code, val.py:312: medpy without spacing, zeros if either mask is empty.
    EvaluationMode(name="paper_000", metrics=("dice", "hd95"), in_mm=False, empty="zero"),
    # The paper names no library; its transforms are MONAI's, so MONAI's definitions are taken.
    EvaluationMode(name="paper_001", metrics=("dice", "hd95"), hd95_is_directed=True, empty="left_out"),
    # The paper reports Dice alone; DoDNet's script (postp.py:64-76), which it compares with, adds 1 voxel.
    EvaluationMode(name="paper_002", metrics=("dice",), dice_smoothing=1.0, empty="zero"),
    # Released code, test_util.py:32-36: largest component, then medpy without spacing.
    EvaluationMode(
        name="paper_003",
        metrics=("dice", "jaccard", "asd", "hd95"),
        in_mm=False,
        empty="zero_without_prediction",
        largest_component=True,
    ),
):
    MODES.register(_mode.name)(_mode)
