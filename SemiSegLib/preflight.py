"""What a run will need before it starts: ``python -m SemiSegLib.preflight REQUEST [--runs FOLDER]`` prints it as JSON.

Only the headers of images are read, so a large study takes seconds too. The plan is the one that the run will make,
but for intensities, which cost no memory. Planning needs torch; the panel calls this in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from SemiSegLib.batches.distance import SIGNED_DISTANCE
from SemiSegLib.batches.grid import PlanGrid
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.itk_files import ImageHeader, header_with_itk
from SemiSegLib.cases.orientation import closest_orientation
from SemiSegLib.cases.volume import Geometry
from SemiSegLib.config import from_json, read_json, to_json
from SemiSegLib.errors import CaseError, SemiSegError, explain
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import Card, graphs_at_once, maps_of, work_of
from SemiSegLib.methods.factory import build_method, resolve_options
from SemiSegLib.methods.method import Study
from SemiSegLib.networks.backbones import build_backbone
from SemiSegLib.planning.cost import BYTES_PER_WEIGHT, GIB, step_core_seconds
from SemiSegLib.planning.fingerprint import ChannelFingerprint, Fingerprint
from SemiSegLib.planning.memory import estimate_memory_gib, free_memory_gib
from SemiSegLib.planning.plan import Plan
from SemiSegLib.planning.planner import make_plan, time_on_cores
from SemiSegLib.planning.processor import fp32_cores
from SemiSegLib.prediction.device import pick_device
from SemiSegLib.preparation import allowed_regimes, answered_structures, may_be_used
from SemiSegLib.runs.preflight import (
    Needs,
    Preflight,
    Requirement,
    disk_requirement,
    free_disk_gib,
    in_order,
    memory_requirement,
    missing_packages,
    packages_requirement,
    time_requirement,
)
from SemiSegLib.runs.request import OUTSIDE_EMBEDDINGS, RunRequest

# Headers are read of at most so many cases, evenly drawn; the others are taken to be like them.
MOST_HEADERS = 200
# The newest, the one before, the best, and the one that is being written.
CHECKPOINTS = 4
# A value, and two moments of its gradient.
NUMBERS_PER_WEIGHT = 3
IMAGE_BYTES, CODE_BYTES, DISTANCE_BYTES = 2, 1, 2


def look_ahead(request: RunRequest, runs: Path) -> Preflight:
    """Return what a run will need, and what of it is missing.

    Args:
        request: as it would be started.
        runs: folder in which its folder would be made.

    Raises:
        SemiSegError: the dataset or the method cannot be used at all.
    """
    needs = measure(request, runs)
    found = (
        packages_requirement(missing_packages()),
        memory_requirement(needs.memory_gib, needs.memory_free_gib, needs.device),
        *_disk_requirements(needs, request, runs),
        time_requirement(needs, request.training.steps),
        _device_note(needs),
    )
    return Preflight(requirements=in_order(part for part in found if part is not None), needs=needs)


def measure(request: RunRequest, runs: Path) -> Needs:
    """Return the numbers alone; arguments and errors as ``look_ahead``."""
    dataset, card = load_dataset(Path(request.dataset)), card_of(request.method)
    device = str(pick_device(request.training.device))
    allowed = allowed_regimes(card, request.use_regimes)
    cases = [case for case in dataset.cases if case.split is not Side.TEST and may_be_used(case, dataset, allowed)]
    grids = _geometries(dataset, cases)
    structures = answered_structures(card, dataset)
    options = resolve_options(card, request.preset, request.options)
    graphs = graphs_at_once(card, options)
    plan = make_plan(
        _fingerprint(dataset, grids),
        dataset,
        request.plan,
        device=device,
        core_seconds=time_on_cores(request.training),
        structures=structures,
        graphs=graphs,
    )
    classes = len(dataset.scheme.leaves)
    trained, held, single = _weights(request, card, dataset, plan)
    memory = estimate_memory_gib(plan, classes=classes, structures=structures, graphs=graphs)
    memory += (BYTES_PER_WEIGHT * max(0, trained - graphs * single) + 4 * held) / GIB
    voxels = sum(math.prod(PlanGrid.of(grid, plan).shape) for grid in grids) * len(cases) / len(grids)
    maps = DISTANCE_BYTES * len(RoiTable.of(dataset.scheme)) if SIGNED_DISTANCE in maps_of(card, options) else 0
    seconds = None
    if device == "cpu":
        seconds = step_core_seconds(plan, classes=classes, work=work_of(card, options)) / fp32_cores(request.training)
    return Needs(
        cases=len(cases),
        device=device,
        patch=tuple(plan.patch),
        batch=plan.batch,
        weights=trained,
        memory_gib=memory,
        memory_free_gib=free_memory_gib(device),
        prepared_gib=voxels * (IMAGE_BYTES * len(dataset.channels) + CODE_BYTES + maps) / GIB,
        checkpoints_gib=CHECKPOINTS * 4 * (NUMBERS_PER_WEIGHT * trained + held) / GIB,
        model_gib=4 * (trained + held) / GIB,
        disk_free_gib=free_disk_gib(runs),
        step_seconds=seconds,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what a request needs as JSON; the exit code is 0 if the run can start, 1 if not."""
    parser = argparse.ArgumentParser(prog="SemiSegLib.preflight", description="What a run will need before it starts.")
    parser.add_argument("request", type=Path, help="JSON file of a request")
    parser.add_argument("--runs", type=Path, default=Path(), help="folder in which the run would be made")
    given = parser.parse_args(arguments)
    try:
        request = from_json(RunRequest, read_json(given.request), where=given.request.name)
        found = look_ahead(request, given.runs)
    except SemiSegError as error:
        lines = str(error).splitlines()
        remedy = lines[-1].strip().removeprefix("remedy: ") if len(lines) > 1 else ""
        wrong = Requirement(code="dataset", severity="error", what=lines[0], where="the run", remedy=remedy)
        found = Preflight(requirements=(wrong,))
    sys.stdout.write(json.dumps({**to_json(found), "can_start": found.can_start}, ensure_ascii=False) + "\n")
    return 0 if found.can_start else 1


def _geometries(dataset: Dataset, cases: Sequence[Case]) -> list[Geometry]:
    """Return the grids of some of the cases, by the headers of their first channel.

    Raises:
        CaseError: there is no case, or no header of any can be read.
    """
    chosen = cases[:: max(1, math.ceil(len(cases) / MOST_HEADERS))]
    found = []
    for case in chosen:
        reference = case.images.get(dataset.channels[0])
        # The check of the dataset names what is missing or cannot be read; here only the amount counts.
        if reference is None:
            continue
        try:
            header = header_with_itk(dataset.path(reference))
        except (CaseError, RuntimeError):
            continue
        found.append(_geometry(header))
    if not found:
        raise CaseError(
            explain(
                f"the header of none of {len(chosen)} images can be read",
                where=f"dataset '{dataset.name}'",
                remedy="check the dataset: `semiseg check` names each file and what is wrong with it",
            )
        )
    return found


def _geometry(header: ImageHeader) -> Geometry:
    """Return the grid of a header; of a plane, as one slice; of a sequence, that of a frame."""
    stored = len(header.size)
    count = min(3, stored)
    size, spacing = np.ones(3, dtype=int), np.ones(3)
    size[:count], spacing[:count] = header.size[:count], header.spacing[:count]
    axes = np.eye(3)
    axes[:count, :count] = np.array(header.direction).reshape(stored, stored)[:count, :count]
    affine = np.eye(4)
    affine[:3, :3] = (axes * spacing)[:, ::-1]
    i, j, k = (int(n) for n in size)
    return Geometry((k, j, i), affine)


def _fingerprint(dataset: Dataset, grids: Sequence[Geometry]) -> Fingerprint:
    """Return a fingerprint without intensities."""
    canonical = [closest_orientation(grid).apply_geometry(grid) for grid in grids]
    none = ChannelFingerprint(
        role="",
        modality="MR",
        from_foreground=False,
        mean=0.0,
        deviation=1.0,
        median=0.0,
        low=0.0,
        high=1.0,
        zero_share=0.0,
    )
    return Fingerprint(
        case_ids=tuple(str(number) for number in range(len(grids))),
        shapes=tuple(grid.shape for grid in canonical),
        spacings_mm=tuple(grid.spacing_mm for grid in canonical),
        channels=tuple(
            replace(none, role=role, modality=dataset.modality.get(role, "MR")) for role in dataset.channels
        ),
        classes=len(dataset.scheme.leaves),
    )


def _weights(request: RunRequest, card: Card, dataset: Dataset, plan: Plan) -> tuple[int, int, int]:
    """Return the numbers that the method trains, those that it only holds (teachers), and those of one backbone."""
    backbone = build_backbone(
        plan.network, in_channels=len(plan.channels), dimensions=plan.dimensions, patch=tuple(plan.patch)
    )
    single = sum(parameter.numel() for parameter in backbone.parameters())
    options = resolve_options(card, request.preset, request.options)
    if card.stages or options.get("embedding") in OUTSIDE_EMBEDDINGS:
        # It cannot be built before another network or vectors are there; their share is small.
        return single, 0, single
    with torch.random.fork_rng():
        method = build_method(request.method, Study(dataset.scheme, plan), options)
    trained = sum(parameter.numel() for parameter in method.parameters() if parameter.requires_grad)
    return trained, sum(tensor.numel() for tensor in method.state_dict().values()) - trained, single


def _disk_requirements(needs: Needs, request: RunRequest, runs: Path) -> list[Requirement | None]:
    """Return what each disk lacks: prepared cases may lie on another than the run."""
    if request.prepared_folder is None:
        return [disk_requirement(needs.disk_gib, needs.disk_free_gib, runs)]
    prepared = Path(request.prepared_folder)
    return [
        disk_requirement(needs.checkpoints_gib + needs.model_gib, needs.disk_free_gib, runs),
        disk_requirement(needs.prepared_gib, free_disk_gib(prepared), prepared),
    ]


def _device_note(needs: Needs) -> Requirement:
    step = "" if needs.step_seconds is None else f"; a step will take about {needs.step_seconds:.1f} s"
    return Requirement(
        code="device",
        severity="note",
        what=f"training takes samples of {' x '.join(map(str, needs.patch))} voxels, {needs.batch} at a time{step}",
        where=f"device {needs.device}",
    )


if __name__ == "__main__":
    sys.exit(main())
