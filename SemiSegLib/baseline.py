"""The baseline of a run: the same training on its fully labeled cases only, to see what the other cases are worth."""

from __future__ import annotations

from dataclasses import replace

from SemiSegLib.errors import RunError, explain
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.methods.cards import card_of
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.request import EmbeddingSettings, PresenceSettings, RunRequest

METHOD = "supervised"


def can_have_baseline(request: RunRequest) -> bool:
    """Return whether a run may learn from more than fully labeled cases, so that there is something to compare."""
    uses = card_of(request.method).uses
    used = uses if request.use_regimes is None else [name for name in request.use_regimes if name in uses]
    return request.compare_with is None and any(name != Regime.FULL.value for name in used)


def require_baseline(request: RunRequest) -> None:
    """Raise RunError if a run learns from fully labeled cases only, so that there is nothing to compare."""
    if can_have_baseline(request):
        return
    raise RunError(
        explain(
            f"the method '{request.method}' learns here from fully labeled cases only: there is nothing to compare",
            where="baseline",
            remedy="train without a baseline, or choose a method that uses the other cases too",
        )
    )


def baseline_request(first: RunFolder, *, title: str = "") -> RunRequest:
    """Return what to ask of the baseline of a run; it waits for the end of that run and compares itself with it.

    Data, split, seed, plan, budget and the model to start from are those of the run. The method is plain supervised
    training, and the training cases are the fully labeled ones.

    Args:
        first: the run; its folder must exist, it may be anywhere between created and finished.
        title: a name for people, or "" to make one of the run's.

    Raises:
        RunError: the run uses nothing else than fully labeled cases.
    """
    request = first.request
    require_baseline(request)
    return replace(
        request,
        method=METHOD,
        preset=None,
        options={},
        use_regimes=(Regime.FULL.value,),
        embeddings=EmbeddingSettings(),
        presence_model=None,
        presence=PresenceSettings(),
        after=str(first.path),
        compare_with=str(first.path),
        title=title or f"{request.title or first.path.name}, fully labeled cases only",
        id="",
    )
