"""The sentences that a text encoder reads of structures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from SemiSegLib.errors import ConfigError, explain

# The first is that of the CLIP-driven universal model (https://arxiv.org/abs/2301.00785); paper 002 states none.
TEMPLATES = {"CT": "A computerized tomography of a {item}", "MR": "A magnetic resonance image of a {item}"}
ITEM = "{item}"


def template_for(modalities: Iterable[str]) -> str:
    """Return the template of a study: that of CT if every channel is CT, else that of MR."""
    return TEMPLATES["CT" if set(modalities) == {"CT"} else "MR"]


def prompts(names: Sequence[str], template: str) -> tuple[str, ...]:
    """Return one sentence for each structure; underscores in names become spaces.

    Args:
        names: of the structures.
        template: holds ``{item}`` where the name goes.

    Raises:
        ConfigError: the template has no place for the name.
    """
    if ITEM not in template:
        raise ConfigError(
            explain(
                f"the prompt '{template}' does not say where the structure's name goes",
                where="embeddings.prompt",
                remedy=f"write {ITEM} in it, as in '{TEMPLATES['CT']}'",
            )
        )
    return tuple(template.replace(ITEM, " ".join(name.replace("_", " ").split())) for name in names)
