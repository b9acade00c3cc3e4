"""BiomedCLIP's text encoder: sentences to vectors of 512 numbers. Its weights are fetched only when that was allowed.

Zhang et al. 2023 (https://arxiv.org/abs/2303.00915), as paper 002 embeds its structures; through open_clip, which is an
optional package. Two files are kept: the weights, whose length and SHA-256 are those of the revision below, and the
vocabulary, which is checked against the mark that the hub states for it. All else is written here, so nothing that is
fetched says what is run, and the weights are read as tensors alone.
"""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from types import ModuleType
from typing import Any

import numpy as np
import torch

from SemiSegLib.config import write_json
from SemiSegLib.embeddings.download import Told, fetch, is_there
from SemiSegLib.embeddings.encoder_files import FILES, VOCABULARY, WEIGHTS
from SemiSegLib.errors import ConfigError, DependencyError, RunError, explain

# How the optional packages are imported, and what pip calls them.
PACKAGES = {"open_clip": "open-clip-torch", "transformers": "transformers"}
LENGTH = 512
WORDS = 30_522
OTHERS = "choose another embedding (learned, one_hot or hierarchy), or give vectors in a file (embedding=file)"
# The shape of the model: its released open_clip_config.json and that of BiomedBERT.
_BERT = {
    "model_type": "bert",
    "architectures": ["BertModel"],
    "vocab_size": WORDS,
    "hidden_size": 768,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
    "intermediate_size": 3072,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "pad_token_id": 0,
}
_VISION = {
    "timm_model_name": "vit_base_patch16_224",
    "timm_model_pretrained": False,
    "timm_pool": "",
    "timm_proj": "linear",
    "image_size": 224,
}
_TOKENIZER = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "model_max_length": 512,
    "unk_token": "[UNK]",
    "sep_token": "[SEP]",
    "pad_token": "[PAD]",
    "cls_token": "[CLS]",
    "mask_token": "[MASK]",
}


def encode(
    sentences: Sequence[str], folder: Path, *, may_fetch: bool = False, on_progress: Told | None = None
) -> np.ndarray:
    """Return (K, 512) float32 vectors of length 1, one for each sentence; on the CPU, in about 10 s.

    Args:
        sentences: K of them, each of 250 words at most.
        folder: of the encoder's two files.
        may_fetch: fetch what is missing, 784 MB.
        on_progress: called with the bytes that are there and their number while the weights are fetched.

    Raises:
        DependencyError: open_clip or transformers is not installed.
        ConfigError: files are missing and may not be fetched.
        RunError: they cannot be fetched, or the files are not those of the encoder.
    """
    open_clip = _package("open_clip")
    # open_clip imports it later, and only then says that it is not there.
    _package("transformers")
    provide(folder, may_fetch=may_fetch, on_progress=on_progress)
    try:
        with _described(folder) as described:
            model = open_clip.create_model(f"local-dir:{described}", device="cpu", weights_only=True)
            tokens = open_clip.get_tokenizer(f"local-dir:{described}")(list(sentences))
            with torch.inference_mode():
                found = model.eval().encode_text(tokens, normalize=True)
    except (RuntimeError, ValueError, KeyError, OSError, TypeError, AttributeError) as error:
        raise DependencyError(
            explain(
                f"open_clip {getattr(open_clip, '__version__', '')} cannot read the text encoder: {error}",
                where=str(folder),
                remedy=f"install open-clip-torch 3.3 and transformers, or {OTHERS}",
            )
        ) from error
    vectors: np.ndarray = found.float().numpy().copy()
    return vectors


def provide(folder: Path, *, may_fetch: bool, on_progress: Told | None = None) -> None:
    """See to it that the encoder's files are in a folder.

    Raises:
        ConfigError: files are missing and may not be fetched.
        RunError: they cannot be fetched, or are not those of the encoder.
    """
    missing = [file for file in FILES if not is_there(file, folder)]
    if missing and not may_fetch:
        raise ConfigError(
            explain(
                f"the text encoder BiomedCLIP is not on this computer: {', '.join(f.name for f in missing)}",
                where=str(folder),
                remedy="allow it to be fetched once, 784 MB from huggingface.co (setting embeddings.fetch, "
                f"--fetch-text-encoder); or copy its files into the folder; or {OTHERS}",
            )
        )
    for file in missing:
        told = on_progress if file is WEIGHTS else None
        fetch(file, folder, on_progress=told, instead=f"connect to the internet and resume; or {OTHERS}")
    words = (folder / VOCABULARY.name).read_text(encoding="utf-8").splitlines()
    if len(words) != WORDS:
        raise ConfigError(
            explain(
                f"the vocabulary has {len(words)} words, expected {WORDS}",
                where=str(folder / VOCABULARY.name),
                remedy=f"delete the file so that it is fetched again; or {OTHERS}",
            )
        )


@contextmanager
def _described(folder: Path) -> Iterator[Path]:
    """Give a folder for a while in which the files stand with what the packages must know, so that they ask no hub.

    The folder of the files may be a person's copy of the hub's, with descriptions of its own, or not be writable.

    Raises:
        RunError: it cannot be made.
    """
    with ExitStack() as stack:
        try:
            kept = Path(stack.enter_context(TemporaryDirectory(prefix="semiseg-", ignore_cleanup_errors=True)))
            for file in FILES:
                _link(folder.absolute() / file.name, kept / file.name)
            _describe(kept)
        except OSError as error:
            raise RunError(
                explain(
                    f"the text encoder cannot be described: {error.strerror or error}",
                    where=gettempdir(),
                    remedy=f"see that there is room for temporary files and that they may be written; or {OTHERS}",
                )
            ) from error
        yield kept


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:
        # Windows lets not everybody make links.
        shutil.copyfile(source, target)


def _describe(folder: Path) -> None:
    text = {
        "hf_model_name": str(folder),
        "hf_tokenizer_name": str(folder),
        "hf_proj_type": "mlp",
        "hf_pooler_type": "cls_last_hidden_state_pooler",
        "hf_model_pretrained": False,
        "context_length": 256,
    }
    parts: dict[str, dict[str, Any]] = {
        "open_clip_config.json": {
            "model_cfg": {"embed_dim": LENGTH, "vision_cfg": _VISION, "text_cfg": text},
            "preprocess_cfg": {},
        },
        "config.json": _BERT,
        "tokenizer_config.json": _TOKENIZER,
    }
    for name, content in parts.items():
        write_json(folder / name, content)


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise DependencyError(
            explain(
                f"the package '{PACKAGES[name]}' is needed to embed text: {error}",
                where="embedding=text",
                remedy=f"install it with `pip install {PACKAGES[name]}`; or {OTHERS}",
            )
        ) from error
