"""The vectors that a run's method asks for: of its text encoder or of a file, computed once and kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from SemiSegLib.embeddings.encoder_files import encoder_folder
from SemiSegLib.embeddings.prompts import prompts, template_for
from SemiSegLib.embeddings.text_encoder import encode
from SemiSegLib.embeddings.vectors import keep_vectors, kept_vectors, read_vectors
from SemiSegLib.errors import ConfigError, explain
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.labels.scheme import LabelScheme
from SemiSegLib.runs.request import EmbeddingSettings


def structure_vectors(
    kind: str,
    scheme: LabelScheme,
    modalities: Iterable[str],
    settings: EmbeddingSettings,
    *,
    kept: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Return (K, E) float32 vectors of the scheme's ROIs, in their order; those of an earlier session if there are any.

    Args:
        kind: "text" or "file".
        scheme: its ROIs get vectors.
        modalities: "CT" or "MR" of each channel; they choose the prompt.
        settings: file, prompt, where the encoder is, and whether it may be fetched.
        kept: file of the run that keeps them.
        on_progress: called with megabytes fetched and their number.

    Raises:
        ConfigError: no file is named, or it does not suit; or the encoder is not there and may not be fetched.
        DependencyError: a package for text is not installed.
        RunError: the encoder cannot be fetched.
    """
    names = RoiTable.of(scheme).names
    vectors = kept_vectors(kept, names)
    if vectors is not None:
        return vectors
    if kind == "file":
        if settings.file is None:
            raise ConfigError(
                explain(
                    "no file of vectors is named",
                    where="embedding=file",
                    remedy="name one (setting embeddings.file, --embedding-file), or choose another embedding: "
                    "learned, one_hot or hierarchy",
                )
            )
        vectors = read_vectors(Path(settings.file), names, scheme)
    else:

        def told(done: int, total: int) -> None:
            if on_progress is not None:
                on_progress(done // 1_000_000, max(1, total // 1_000_000))

        sentences = prompts(names, settings.prompt or template_for(modalities))
        vectors = encode(sentences, encoder_folder(settings.encoder), may_fetch=settings.fetch, on_progress=told)
    keep_vectors(kept, names, vectors)
    return vectors
