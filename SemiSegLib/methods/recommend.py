"""Which method suits a study, and why, in words a clinician understands."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from SemiSegLib.cases.dataset import Case, Dataset, Side
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import card_of

# Fewer complete cases than these are few: a network that has seen so few is often wrong about others. Ours; the least
# that papers 001 and 003 trained with are 12 and 16.
FEW_CASES = 4
# With more complete cases than these for each other one, the others are too few to be worth the half of each batch that
# they would fill. Ours.
MOST_PER_OTHER = 4
# More names than these are not read.
MOST_NAMES = 4


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """What to train.

    Attributes:
        method: registered name.
        reason: one to three plain sentences.
        alternatives: names of other methods that these labels can train, better first.
    """

    method: str
    reason: str
    alternatives: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a choice depends on: training cases by what their labels say, and what is to be found in them.

    Attributes:
        full, coarse, partial, unlabeled: number of cases.
        structures: number of leaves besides background.
        is_flat: each slice is an image of its own.
    """

    full: int
    coarse: int
    partial: int
    unlabeled: int
    structures: int
    is_flat: bool

    @property
    def others(self) -> int:
        """Number of cases that are not complete."""
        return self.coarse + self.partial + self.unlabeled


@dataclass(frozen=True)
class Rule:
    """One line of the table.

    Attributes:
        applies: whether the rule speaks of such a study.
        method: what it recommends.
        alternatives: what else can be trained then, better first.
        because: the reason, a sentence without its point; what the cases are is said before it.
    """

    applies: Callable[[Facts], bool]
    method: str
    alternatives: tuple[str, ...]
    because: str


# Read from the top: the first rule that applies decides. What measurements say is changed here and nowhere else.
RULES = (
    Rule(
        lambda facts: facts.full == 0,
        "marginal",
        ("mean_teacher",),
        "Marginal supervision learns from each label what it says, and nothing from what was not drawn",
    ),
    Rule(
        lambda facts: facts.full > MOST_PER_OTHER * facts.others,
        "supervised",
        ("cross_pseudo_supervision",),
        "Labels as complete as these need no more than plain supervised training",
    ),
    # Measured on the hippocampus: modified_unet before marginal, both before supervised. The first is paper 000's own.
    Rule(
        lambda facts: facts.coarse > 0,
        "efficient_subclass",
        ("modified_unet", "marginal"),
        "Efficient subclass segmentation learns the coarse structures from every label, and the fine ones inside them "
        "where they were drawn",
    ),
    Rule(
        lambda facts: facts.partial >= facts.unlabeled,
        "marginal",
        ("mean_teacher", "cross_pseudo_supervision"),
        "Marginal supervision learns from all that was drawn, and takes nothing for absent that was not looked for",
    ),
    Rule(
        lambda facts: facts.full < FEW_CASES,
        "mean_teacher",
        ("uncertainty_aware_mean_teacher", "supervised"),
        "Trained on so few complete cases a model is often wrong about others, so the mean teacher only asks it to "
        "answer steadily there and takes none of its answers for a label",
    ),
    # Paper 003: first of the methods that it compares on the left atrium, one structure in volumes.
    Rule(
        lambda facts: facts.structures == 1 and not facts.is_flat,
        "dual_task_mutual_learning",
        ("dual_task_consistency", "cross_pseudo_supervision"),
        "Dual-task mutual learning suits one structure in volumes: one network learns its outline and one the distance "
        "to its surface, and each corrects the other where nothing was drawn",
    ),
    # Paper 001: several structures in volumes; Chen et al. and paper 000: slices.
    Rule(
        lambda facts: True,
        "cross_pseudo_supervision",
        ("mean_teacher", "dual_task_mutual_learning"),
        "Cross pseudo supervision trains two networks that each learn what the other recognizes where nothing was "
        "drawn, for any number of structures, in slices or volumes",
    ),
)


def recommend(dataset: Dataset) -> Recommendation:
    """Return the method that fits what the labels of a study's training cases say.

    Cases without a side count as training cases. The reason names the number of cases of each kind, and structures that
    must be drawn somewhere before a model can learn them.
    """
    cases = [case for case in dataset.cases if case.split in (None, Side.TRAIN)]
    counts = Counter(case.regime(dataset.scheme) for case in cases)
    if counts[Regime.NONE] == len(cases):
        return Recommendation(
            method="supervised",
            reason="No case is labeled yet. Draw every structure in at least one case, then train on it.",
        )
    facts = Facts(
        full=counts[Regime.FULL],
        coarse=counts[Regime.COARSE],
        partial=counts[Regime.PARTIAL],
        unlabeled=counts[Regime.NONE],
        structures=len(dataset.scheme.leaf_names) - 1,
        is_flat=dataset.dimensions == 2,
    )
    rule = next(rule for rule in RULES if rule.applies(facts))
    hint = _to_draw(dataset, cases) or (_to_complete() if facts.full == 0 else "")
    reason = f"{_kinds(facts)}. {rule.because}{_unused(rule.method, facts)}.{hint}"
    return Recommendation(method=rule.method, reason=reason, alternatives=rule.alternatives)


def _kinds(facts: Facts) -> str:
    """Return how many cases there are of each kind, as the beginning of a sentence."""
    kinds = (
        (facts.full, "every structure drawn", "every structure"),
        (facts.coarse, "only the coarse structures drawn", "only the coarse ones"),
        (facts.partial, "only some structures drawn", "only some"),
        (facts.unlabeled, "none drawn", "none"),
    )
    (first, what, _), *others = [kind for kind in kinds if kind[0]]
    verb = "case has" if first == 1 else "cases have"
    return _listed([f"{first} {verb} {what}", *(f"{count} {less}" for count, _, less in others)], "and")


def _unused(method: str, facts: Facts) -> str:
    """Return which cases the method leaves out, as the end of a sentence."""
    numbers = {"full": facts.full, "coarse": facts.coarse, "partial": facts.partial, "none": facts.unlabeled}
    left = {name: count for name, count in numbers.items() if count and name not in card_of(method).uses}
    count = sum(left.values())
    if not count:
        return ""
    kind = "case without labels" if set(left) == {"none"} else "other case"
    return f"; the {kind} is not used" if count == 1 else f"; the {count} {kind.replace('case', 'cases')} are not used"


def _to_draw(dataset: Dataset, cases: Sequence[Case]) -> str:
    """Return what to draw if no case tells a structure from all others; empty if one does, or none says what it has."""
    annotations = [case.annotation for case in cases if case.annotation is not None]
    if any(annotation.values is None and not annotation.segments for annotation in annotations):
        # Segments that are found by their names; what there is, only their files tell.
        return ""
    drawn = {next(iter(s)) for a in annotations for s in a.sets(dataset.scheme) if len(s) == 1}
    missing = [name for leaf, name in enumerate(dataset.scheme.leaf_names) if leaf and leaf not in drawn]
    if not missing:
        return ""
    if len(missing) > MOST_NAMES:
        missing = [*missing[: MOST_NAMES - 1], f"{len(missing) - MOST_NAMES + 1} other structures"]
    them = "it" if len(missing) == 1 else "them"
    return (
        f" No case shows {_listed(missing, 'or')} by itself: draw {them} in a few cases, or the model cannot learn "
        f"{them}."
    )


def _to_complete() -> str:
    return " Draw every structure in a few cases, and methods that need complete cases can be trained too."


def _listed(words: Sequence[str], last: str) -> str:
    return ", ".join(words[:-1]) + f" {last} {words[-1]}" if len(words) > 1 else words[0]
