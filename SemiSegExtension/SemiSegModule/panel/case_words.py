"""The words and colors in which the panel speaks of cases."""

from __future__ import annotations

from slicer.i18n import tr as _

from SemiSegLib.labels.label_set import Regime

# Text colors that are read on the light and the dark theme alike.
GREEN, AMBER, VIOLET, RED, GRAY = "#2a8f5a", "#b06a00", "#7d5bbe", "#c8402f", "#808080"

REGIME_COLORS = {Regime.FULL: GREEN, Regime.COARSE: AMBER, Regime.PARTIAL: VIOLET, Regime.NONE: GRAY}
STATE_COLORS = {"untouched": GRAY, "partial": AMBER, "done": GREEN}
# Empty is the run's own choice.
SIDES = ("", "train", "validation", "test")


def describeRegime(regime: Regime) -> str:
    """Return how much labels say, in one word."""
    return {
        Regime.FULL: _("fine"),
        Regime.COARSE: _("coarse"),
        Regime.PARTIAL: _("partial"),
        Regime.NONE: _("none"),
    }[regime]


def explainRegime(regime: Regime | None) -> str:
    """Return how much labels say, in a sentence."""
    if regime is None:
        return ""
    return {
        Regime.FULL: _("Every voxel is known to its finest structure"),
        Regime.COARSE: _("Every voxel is known to its whole, not everywhere to its part"),
        Regime.PARTIAL: _("Some structures or regions were not annotated in this case"),
        Regime.NONE: _("Used without labels, by methods that learn from unlabeled scans"),
    }[regime]


def describeState(state: str) -> str:
    """Return how far an annotation is, in one word."""
    return {"untouched": _("untouched"), "partial": _("partial"), "done": _("done")}[state]


def describeSide(side: str) -> str:
    """Return a side of the split in the words of a table."""
    return {
        "": _("auto"),
        "train": _("train"),
        "validation": _("validate"),
        "test": _("test"),
    }[side]


def explainSide(side: str) -> str:
    """Return a side of the split in the words of a choice."""
    return {
        "": _("let the run decide"),
        "train": _("training"),
        "validation": _("validation"),
        "test": _("test (never seen)"),
    }[side]


def describeSeverity(severity: str) -> str:
    """Return the result of a check in one word; "" is a case without findings."""
    return {"": _("ok"), "note": _("note"), "warning": _("look"), "error": _("fix")}[severity]


SEVERITY_COLORS = {"": GREEN, "note": GRAY, "warning": AMBER, "error": RED}
