"""The files of BiomedCLIP's text encoder, and where they are kept; without torch, so that Slicer may ask of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from SemiSegLib.embeddings.download import RemoteFile

REVISION = "9f341de24bfb00180f1b847274256e9b65a3a32e"
_HUB = f"https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224/resolve/{REVISION}"
WEIGHTS = RemoteFile(
    name="open_clip_pytorch_model.bin",
    url=f"{_HUB}/open_clip_pytorch_model.bin",
    size_bytes=783_705_670,
    sha256="52cc993c5c5ff962bd0c60931874bc001e7e9b41666a385530f4a036294576be",
)
VOCABULARY = RemoteFile(name="vocab.txt", url=f"{_HUB}/vocab.txt")
FILES = (VOCABULARY, WEIGHTS)


def encoder_folder(chosen: str | None = None) -> Path:
    """Return where the text encoder is kept: the folder that was chosen, or one of the user's cache."""
    if chosen is not None:
        return Path(chosen)
    caches = os.environ.get("LOCALAPPDATA") if sys.platform == "win32" else os.environ.get("XDG_CACHE_HOME")
    return Path(caches or Path.home() / ".cache") / "semiseg" / "biomed_clip"


def seems_kept(folder: Path) -> bool:
    """Return whether files of these names and lengths are in a folder; their content is not read."""
    try:
        sizes = {file: (folder / file.name).stat().st_size for file in FILES}
    except OSError:
        return False
    return all(file.size_bytes in (None, size) for file, size in sizes.items())
