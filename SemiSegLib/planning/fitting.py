"""The largest network, patch and batch that a budget of memory and work allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from SemiSegLib.errors import TrainingError, explain
from SemiSegLib.planning.cost import planned_core_seconds, step_core_seconds
from SemiSegLib.planning.fixed_backbones import FIXED_BACKBONES
from SemiSegLib.planning.memory import estimate_memory_gib
from SemiSegLib.planning.plan import NetworkPlan, Plan, has_quick_heads
from SemiSegLib.planning.topology import plan_topology
from SemiSegLib.runs.request import PlanSettings

MOST_FEATURES = {2: 512, 3: 320}
# Edge of the largest patch considered, as a square or cube of the same volume in millimeters.
LARGEST_EDGE = {2: 512, 3: 160}


@dataclass(frozen=True)
class Budget:
    """What a training step may cost.

    Attributes:
        memory_gib: of one step.
        core_seconds: of one step of all networks on a processor; infinite where no time budget asks for many steps.
        planned_core_seconds: of one step of one planned network of the same patch and rows on a processor, whatever
            is trained; infinite where only memory counts.
        widths: (features of the first stage, downsampling before it) to try, best first.
        rows: fewest and most rows of a batch.
        most_voxels: of all rows together, as long as the fewest rows are there.
    """

    memory_gib: float
    core_seconds: float
    planned_core_seconds: float
    widths: tuple[tuple[int, int], ...]
    rows: tuple[int, int]
    most_voxels: float


@dataclass(frozen=True)
class Outputs:
    """What the network says of each voxel.

    Attributes:
        classes: output channels.
        structures: that the method answers one by one, each with maps of its own.
        graphs: networks whose activations a step holds at once.
    """

    classes: int
    structures: int = 0
    graphs: int = 1


def fit(plan: Plan, settings: PlanSettings, budget: Budget, *, spacing_mm: tuple[float, ...], outputs: Outputs) -> Plan:
    """Return the plan with the best network, patch and batch that fit the budget.

    The first width and stem that fit with the whole median image (or the largest patch) are taken; where none does,
    the patch of the last is cut along its relatively longest axis until it fits. What ``settings`` fix stays.

    Args:
        plan: everything but network, patch and batch is taken from it.
        settings: what a person fixed.
        budget: what a step may cost.
        spacing_mm: along the network axes.
        outputs: of the network.
    """
    median = plan.median_shape[3 - plan.dimensions :]
    first = settings.patch or _first_patch(median, spacing_mm)

    def fits(candidate: Plan) -> bool:
        memory_gib = estimate_memory_gib(
            candidate, classes=outputs.classes, structures=outputs.structures, graphs=outputs.graphs
        )
        if memory_gib > budget.memory_gib:
            return False
        if planned_core_seconds(candidate, classes=outputs.classes) > budget.planned_core_seconds:
            return False
        # Networks held at once are paid for here, not all the work of a step: in 240 s of a core on the hippocampus,
        # cross supervision and the uncertainty-aware teacher were measured with the network of the other methods (32
        # features from half resolution on); their work, 2.3 times a network's, would have given them a narrower one.
        seconds = step_core_seconds(candidate, classes=outputs.classes, work=outputs.graphs)
        return seconds <= budget.core_seconds

    def build(patch: tuple[int, ...], width: int, stem: int) -> Plan:
        network = _network(settings, patch, spacing_mm=spacing_mm, width=width, stem=stem)
        candidate = replace(plan, network=network, patch=patch, batch=settings.batch or budget.rows[0])
        if settings.patch is not None:
            return candidate
        return replace(
            candidate, patch=tuple(-(-n // d) * d for n, d in zip(patch, divisor_of(candidate), strict=True))
        )

    for width, stem in budget.widths:
        best = build(first, width, stem)
        if fits(best):
            break
    while settings.patch is None and not fits(best):
        smaller = smaller_patch(best.patch, divisor_of(best), median)
        if smaller is None:
            break
        best = build(smaller, width, stem)
    return best if settings.batch is not None else _with_rows(best, budget, fits)


def smaller_patch(patch: Sequence[int], divisor: Sequence[int], reference: Sequence[int]) -> tuple[int, ...] | None:
    """Return the patch cut by one divisor along the axis longest relative to a reference, or None at the end.

    At least two voxels are left along each axis at the lowest resolution.
    """
    sizes = [(n - 1) // d * d for n, d in zip(patch, divisor, strict=True)]
    allowed = [axis for axis, (n, d) in enumerate(zip(sizes, divisor, strict=True)) if n >= max(2 * d, 4)]
    if not allowed:
        return None
    chosen = max(allowed, key=lambda axis: (patch[axis] / reference[axis], patch[axis]))
    return tuple(sizes[axis] if axis == chosen else n for axis, n in enumerate(patch))


def divisor_of(plan: Plan) -> tuple[int, ...]:
    """Return what each axis of the plan's patch is best divisible by."""
    fixed = FIXED_BACKBONES.get(plan.network.backbone)
    if fixed is not None:
        return (fixed.divisor,) * plan.dimensions
    divisor = plan.network.stem_stride
    for stride in plan.network.strides:
        divisor = tuple(d * s for d, s in zip(divisor, stride, strict=True))
    return divisor


def shrink(plan: Plan, *, least_rows: int = 1) -> Plan:
    """Return a plan that needs less memory, after a step ran out of it: first fewer rows, then smaller patches.

    The prepared cases stay valid, and so do weights: the network stays that of the first patch.

    Args:
        plan: what was too large.
        least_rows: rows a batch must keep, for example one of each regime.

    Raises:
        TrainingError: there is nothing left to reduce.
    """
    least = max(1, least_rows)
    if plan.batch > least:
        return replace(plan, batch=max(plan.batch // 2, least))
    smaller = smaller_patch(plan.patch, divisor_of(plan), plan.patch)
    if smaller is None:
        raise TrainingError(
            explain(
                f"the device has too little memory even for a patch of {' x '.join(map(str, plan.patch))} voxels "
                f"and {plan.batch} rows",
                where="training step",
                remedy="close other programs, use a device with more memory, or plan a narrower network ('features')",
            )
        )
    network = replace(plan.network, made_for=plan.network.made_for or plan.patch)
    return replace(plan, patch=smaller, network=network)


def _with_rows(plan: Plan, budget: Budget, fits: Callable[[Plan], bool]) -> Plan:
    least, most = budget.rows
    rows = least
    while rows < most:
        candidate = replace(plan, batch=rows + 1)
        if not fits(candidate) or candidate.batch * math.prod(plan.patch) > budget.most_voxels:
            break
        rows += 1
    # An even number splits evenly between fine and coarse rows.
    return replace(plan, batch=max(least, rows - rows % 2))


def _network(
    settings: PlanSettings, patch: tuple[int, ...], *, spacing_mm: tuple[float, ...], width: int, stem: int
) -> NetworkPlan:
    finest = min(spacing_mm)
    # Only fine axes are halved before the first stage, and only where four voxels of its output are left.
    stems = tuple(stem if mm < 2 * finest and n >= 4 * stem else 1 for mm, n in zip(spacing_mm, patch, strict=True))
    stages = None if settings.features is None else len(settings.features)
    topology = plan_topology(patch, spacing_mm, stem_stride=stems, stages=stages)
    most = MOST_FEATURES[len(patch)]
    backbone = settings.backbone or "plan_unet"
    return NetworkPlan(
        backbone=backbone,
        features=settings.features or tuple(min(width * 2**i, most) for i in range(len(topology.kernels))),
        strides=topology.strides,
        kernels=topology.kernels,
        stem_stride=stems,
        norm=settings.norm or "instance",
        deep_supervision=settings.deep_supervision or 0,
        dropout=settings.dropout or 0.0,
        quick_heads=has_quick_heads(backbone),
    )


def _first_patch(median: Sequence[int], spacing_mm: Sequence[float]) -> tuple[int, ...]:
    """Return the largest patch considered: a cube in millimeters, cut to the median image."""
    count = len(median)
    edge_mm = LARGEST_EDGE[count] * math.prod(spacing_mm) ** (1 / count)
    return tuple(max(1, min(round(edge_mm / mm), n)) for mm, n in zip(spacing_mm, median, strict=True))
