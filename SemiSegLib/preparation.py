"""Before a training: dataset, checks, split, plan, prepared cases; what an earlier session did is found again."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from SemiSegLib.batches.distance import SIGNED_DISTANCE, DistanceMaps
from SemiSegLib.batches.reach import measure_reach
from SemiSegLib.batches.store import PreparedStore
from SemiSegLib.cases.checks import check_dataset, require_usable
from SemiSegLib.cases.coarsen import keep_fine
from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cases.recast import recast, undrawn_as_background
from SemiSegLib.cases.split import apply_split, make_split, write_split
from SemiSegLib.config import check_choice, from_json, read_json, write_json
from SemiSegLib.embeddings.structures import structure_vectors
from SemiSegLib.errors import ConfigError, DependencyError, RunError, explain
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.reach import Reach
from SemiSegLib.labels.rois import RoiTable, implied_groups
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import Card, batch_shares, graphs_at_once, maps_of, needs_of, needs_reach
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.planning.fingerprint import fingerprint
from SemiSegLib.planning.plan import Plan
from SemiSegLib.planning.planner import make_plan, time_on_cores
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.manifest import add_to_manifest, read_manifest
from SemiSegLib.runs.reporter import Reporter
from SemiSegLib.runs.request import OUTSIDE_EMBEDDINGS

logger = logging.getLogger("SemiSegLib.worker")


class StoppedEarlyError(Exception):
    """A stop was asked for before the training began."""


@dataclass(frozen=True)
class Prepared:
    """All that a training needs besides its settings.

    Attributes:
        dataset: with sides, and coarsened if asked.
        plan: data and network plan.
        store: prepared cases.
        card: of the method.
        training: cases to draw batches from.
        validation: labeled validation cases.
        composition: regime name to its share of a batch up to a common factor, of the regimes that are used here.
        counts: regime name to the number of training cases.
        options: every option of the method.
        embeddings: (K, E) float32 vectors of the scheme's ROIs, or None if the method asks for none from outside.
        reach: how far structures reach in labels, or None if the method does not ask for it.
    """

    dataset: Dataset
    plan: Plan
    store: PreparedStore
    card: Card
    training: tuple[Case, ...]
    validation: tuple[Case, ...]
    composition: Mapping[str, float]
    counts: Mapping[str, int]
    options: Mapping[str, Any]
    embeddings: np.ndarray | None = None
    reach: Reach | None = None

    @property
    def implied(self) -> tuple[str, ...]:
        """Names of the groups that are what their parts are, by the labels of the training cases."""
        tables = {self.store.summary(case.id).table for case in self.training}
        return implied_groups(self.dataset.scheme, (leaves for table in tables for leaves in table.sets))

    def with_plan(self, plan: Plan) -> Prepared:
        """Return the same with another patch or batch; the prepared cases are not looked through again."""
        return replace(self, plan=plan, store=self.store.with_plan(plan))


class Preparation:
    """Prepares one run.

    Args:
        folder: the run.
        reporter: tells the state, and is the sign that this process writes; None in the others.
        device: what the plan is for.
    """

    def __init__(self, folder: RunFolder, reporter: Reporter | None, device: str) -> None:
        self.folder, self.reporter, self.device = folder, reporter, device
        self.request = folder.request

    def run(self) -> Prepared:
        """Return what the training needs.

        Raises:
            SemiSegError: a case is damaged, or the cases do not suit the method.
            StoppedEarlyError: a stop was asked for.
        """
        card = card_of(self.request.method)
        self._tell("reading the dataset")
        dataset = load_dataset(self.folder.dataset)
        if self.reporter is not None:
            findings = check_dataset(dataset, on_progress=self._progress("checking cases"))
            for finding in findings:
                logger.info("%s: case '%s': %s; %s", finding.severity, finding.case, finding.what, finding.remedy)
            require_usable(dataset, findings)
        dataset = self._split(dataset)
        if self.request.fine_cases is not None:
            dataset = keep_fine(dataset, self.request.fine_cases, others=self.request.other_labels)
        if self.request.drawn is not None:
            dataset = recast(dataset, self.request.drawn)
        if self.request.undrawn == "background":
            dataset = undrawn_as_background(dataset)
        options = resolve_options(card, self.request.preset, self.request.options)
        options, embeddings = self._embeddings(card, options, dataset)
        plan = self._plan(dataset, answered_structures(card, dataset), graphs_at_once(card, options))
        allowed = allowed_regimes(card, self.request.use_regimes)
        training = tuple(c for c in dataset.side(Side.TRAIN) if may_be_used(c, dataset, allowed))
        validation = tuple(c for c in dataset.side(Side.VALIDATION) if c.annotation is not None)
        store = PreparedStore(self.folder.prepared, dataset, plan)
        store.prepare([c.id for c in (*training, *validation)], on_progress=self._progress("preparing cases"))
        # Only now is known what a segmentation says whose segments are matched by name.
        training = tuple(c for c in training if store.summary(c.id).regime.value in allowed)
        counts = Counter(store.summary(c.id).regime.value for c in training)
        _require_needed(card, options, counts, dataset)
        if SIGNED_DISTANCE in maps_of(card, options):
            DistanceMaps(store).prepare([c.id for c in training], on_progress=self._progress("measuring distances"))
        reach: Reach | None = None
        if needs_reach(card, options):
            words = "measuring how far apart pieces lie"
            reach = measure_reach(store, [c.id for c in training], on_progress=self._progress(words))
            self._note_reach(dataset, reach)
        self._note(store, validation, counts)
        prepared = Prepared(
            dataset=dataset,
            plan=plan,
            store=store,
            card=card,
            training=training,
            validation=validation,
            composition=batch_shares(card, options, counts),
            counts={regime.value: counts[regime.value] for regime in Regime if counts[regime.value]},
            options=options,
            embeddings=embeddings,
            reach=reach,
        )
        if card.answers == "structures" and prepared.implied:
            names = ", ".join(prepared.implied)
            logger.info("no label says what is not %s: taken for what its parts are together", names)
        return prepared

    def _embeddings(
        self, card: Card, options: dict[str, Any], dataset: Dataset
    ) -> tuple[dict[str, Any], np.ndarray | None]:
        """Return the options and the vectors that they ask for; another embedding where those cannot be had."""
        path, otherwise = self.folder.environment_path, self.request.embeddings.otherwise
        taken = read_manifest(path).get("embedding_instead")
        if options.get("embedding") not in OUTSIDE_EMBEDDINGS or taken is not None:
            return options if taken is None else {**options, "embedding": taken}, None

        def tell(done: int, total: int) -> None:
            if self.folder.stop_requested():
                raise StoppedEarlyError
            if self.reporter is not None:
                self.reporter.update(message=f"fetching the text encoder: {done} of {total} MB")

        self._tell("embedding the structures")
        try:
            vectors = structure_vectors(
                str(options["embedding"]),
                dataset.scheme,
                dataset.modality.values(),
                self.request.embeddings,
                kept=self.folder.embeddings_path,
                on_progress=tell,
            )
        except (ConfigError, DependencyError, RunError) as error:
            if otherwise is None:
                raise
            if otherwise in OUTSIDE_EMBEDDINGS:
                remedy = "name one that needs nothing from outside, such as learned"
                what = f"instead of the embedding '{options['embedding']}' there would be '{otherwise}'"
                raise ConfigError(explain(what, where="embeddings.otherwise", remedy=remedy)) from error
            options = resolve_options(card, self.request.preset, {**self.request.options, "embedding": otherwise})
            logger.warning("the embedding is '%s', because: %s", otherwise, str(error).splitlines()[0])
            if self.reporter is not None:
                add_to_manifest(path, embedding_instead=otherwise)
            return options, None
        return options, vectors

    def _split(self, dataset: Dataset) -> Dataset:
        if self.folder.split_path.exists():
            dataset = apply_split(dataset, self.folder.split_path)
        dataset = make_split(dataset, seed=self.request.seed, validation_share=self.request.validation_share)
        if self.reporter is not None:
            write_split(dataset, self.folder.split_path)
        return dataset

    def _plan(self, dataset: Dataset, structures: int, graphs: int) -> Plan:
        path = self.folder.plan_path
        if path.exists():
            return from_json(Plan, read_json(path), where=path.name)
        asked = self.request.plan
        seen = fingerprint(dataset, as_ct=asked.normalization == "ct", on_progress=self._progress("planning"))
        plan = make_plan(
            seen,
            dataset,
            asked,
            device=self.device,
            core_seconds=time_on_cores(self.request.training),
            structures=structures,
            graphs=graphs,
        )
        write_json(path, plan)
        return plan

    def _note(self, store: PreparedStore, validation: tuple[Case, ...], counts: Mapping[str, int]) -> None:
        words = ", ".join(f"{count} {name}" for name, count in counts.items())
        logger.info("training cases: %s; validation cases: %d", words, len(validation))
        if self.reporter is not None:
            if not validation:
                logger.warning("no validation is possible: no labeled patient can be spared; the last model is kept")
            add_to_manifest(self.folder.environment_path, data=store.content_keys())

    def _note_reach(self, dataset: Dataset, reach: Reach) -> None:
        names = dataset.scheme.leaf_names
        known = [f"{name} {mm:.1f} mm" for name, mm in zip(names, reach.case_mm, strict=True) if mm is not None]
        logger.info("voxels lie from the largest piece of their structure at most: %s", ", ".join(known) or "not known")

    def _tell(self, message: str) -> None:
        if self.folder.stop_requested():
            raise StoppedEarlyError
        if self.reporter is not None:
            self.reporter.update(state="preparing", message=message)

    def _progress(self, words: str) -> Callable[[int, int], None]:
        self._tell(words)

        def tell(done: int, total: int) -> None:
            if self.folder.stop_requested():
                raise StoppedEarlyError
            if self.reporter is not None and (done == total or done % max(1, total // 20) == 0):
                self.reporter.update(message=f"{words}: {done} of {total}")

        return tell


def answered_structures(card: Card, dataset: Dataset) -> int:
    """Return how many structures the method answers one by one."""
    return len(RoiTable.of(dataset.scheme)) if card.answers == "structures" else 0


def allowed_regimes(card: Card, asked: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the regimes that the method uses and the request does not exclude."""
    for name in asked or ():
        check_choice("use_regimes", name, [regime.value for regime in Regime])
    return tuple(name for name in card.uses if asked is None or name in asked)


def may_be_used(case: Case, dataset: Dataset, allowed: tuple[str, ...]) -> bool:
    """Return whether a case has, or may turn out to have, one of these regimes."""
    annotation = case.annotation
    if annotation is not None and annotation.values is None and not annotation.segments:
        return True
    return case.regime(dataset.scheme).value in allowed


def _require_needed(card: Card, options: Mapping[str, Any], counts: Mapping[str, int], dataset: Dataset) -> None:
    needs = needs_of(card, options)
    if any(counts.get(name) for name in needs):
        return
    found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "none that it can use"
    # What other options of the method could learn from is not lost.
    others = needs != card.needs and any(counts.get(name) for name in card.needs)
    method = f"'{card.name}' with this preset or these options" if others else f"'{card.name}'"
    another = "the preset 'ours', or another method" if others else "another method"
    raise RunError(
        explain(
            f"the method {method} needs training cases that are {' or '.join(needs)}; there are: {found}",
            where=f"dataset '{dataset.name}', training side",
            remedy=f"label a case as the method needs it, or choose {another}",
        )
    )
