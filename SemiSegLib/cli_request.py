"""A whole request in a file, in place of the options of ``semiseg train``."""

from __future__ import annotations

from pathlib import Path

import typer

from SemiSegLib.cases.formats import FILE_NAME
from SemiSegLib.config import from_json, read_json
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.cards.presence import PRESENCE
from SemiSegLib.methods.factory import resolve_options
from SemiSegLib.runs.request import OUTSIDE_EMBEDDINGS, EmbeddingSettings, RunRequest

# What of the command line no request says: the data, so that no other are trained on by mistake, and where and when.
BESIDE = frozenset({"dataset", "request", "runs", "name", "queue", "baseline", "detach"})


def read_request(file: Path, dataset: Path, context: typer.Context) -> RunRequest:
    """Return the request of a file.

    Args:
        file: JSON, as the ``request.json`` of a run.
        dataset: that was typed.
        context: of the command, which knows what else was typed.

    Raises:
        ConfigError: the file is no request, is about another dataset, or an option was typed that it replaces.
    """
    asked = from_json(RunRequest, read_json(file), where=str(file))
    if _dataset_file(dataset) != _dataset_file(Path(asked.dataset)):
        raise ConfigError(
            explain(
                f"the request is about the dataset {asked.dataset}, not {dataset}",
                where=str(file),
                remedy="name the dataset of the request, or change 'dataset' in its file",
            )
        )
    typed = [max(option.opts, key=len) for option in context.command.params if _is_replaced(option.name, context)]
    if typed:
        raise ConfigError(
            explain(
                f"{', '.join(typed)} would change nothing: the request says it",
                where="command line, beside --request",
                remedy="leave it out and change the request's file, or leave out --request",
            )
        )
    return asked


def require_used(request: RunRequest) -> None:
    """Refuse vectors of structures or a presence network that the method, by its options, would never look at.

    Raises:
        ConfigError: something was given that would change nothing.
    """
    card = card_of(request.method)
    embedding = resolve_options(card, request.preset, request.options).get("embedding")
    if request.embeddings != EmbeddingSettings() and embedding not in OUTSIDE_EMBEDDINGS:
        asked = f"its structures have the embedding '{embedding}'" if embedding else "it has no embedding of structures"
        raise ConfigError(
            explain(
                f"where embeddings come from would change nothing: {asked}",
                where=f"method '{card.name}'",
                remedy="add --option embedding=file or embedding=text, or leave the other options of embeddings out",
            )
        )
    if request.presence_model is not None and PRESENCE.name not in card.stages:
        raise ConfigError(
            explain(
                "a presence network would change nothing: the method asks none",
                where=f"method '{card.name}'",
                remedy="leave --presence-model out, or choose latent_classes",
            )
        )


def _is_replaced(name: str | None, context: typer.Context) -> bool:
    if name is None or name in BESIDE:
        return False
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _dataset_file(path: Path) -> Path:
    path = path.expanduser().resolve()
    return path / FILE_NAME if path.is_dir() else path
