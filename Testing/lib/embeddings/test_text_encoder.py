"""The text encoder is fetched only when that was allowed, reads prompts, and its absence names what else can be done.

A stand-in for open_clip records what it is asked; the model itself has 784 MB and is tried by hand.
"""

import json
import sys
import types

import numpy as np
import pytest
import torch

from SemiSegLib.embeddings import download, encoder_files, structures, text_encoder
from SemiSegLib.embeddings.encoder_files import FILES, VOCABULARY, WEIGHTS, encoder_folder, seems_kept
from SemiSegLib.embeddings.text_encoder import WORDS, encode
from SemiSegLib.errors import ConfigError, DependencyError, RunError
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.runs.request import EmbeddingSettings
from Testing.lib.cases.tiny import scheme

NAMES = RoiTable.of(scheme()).names


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(1, generator=torch.Generator().manual_seed(0)))

    def encode_text(self, tokens, *, normalize):
        assert normalize
        assert not self.training
        assert torch.is_inference_mode_enabled()
        return torch.nn.functional.normalize(torch.sin(tokens.float() * torch.arange(1.0, 513.0)), dim=1)


@pytest.fixture
def packages(monkeypatch):
    """Stand in for both packages; return what was asked of them."""
    asked = {}

    def create_model(name, **how):
        folder = text_encoder.Path(name.removeprefix("local-dir:"))
        asked["model"] = (name, how)
        asked["files"] = {path.name: path.read_bytes() for path in folder.iterdir()}
        return Encoder()

    def get_tokenizer(name):
        asked["tokenizer"] = name

        def tokenize(texts):
            asked["texts"] = texts
            return torch.tensor([[sum(text.encode())] for text in texts])

        return tokenize

    fake = types.SimpleNamespace(create_model=create_model, get_tokenizer=get_tokenizer, __version__="3.3.0")
    monkeypatch.setitem(sys.modules, "open_clip", fake)
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace())
    return asked


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Return a folder in which both files are, small ones."""
    (tmp_path / VOCABULARY.name).write_text("\n".join(f"w{n}" for n in range(WORDS)) + "\n")
    (tmp_path / WEIGHTS.name).write_bytes(b"weights")
    monkeypatch.setattr(text_encoder, "is_there", lambda file, folder: (folder / file.name).is_file())
    return tmp_path


@pytest.fixture
def offline(monkeypatch):
    """Refuse every connection; return the addresses that were asked for."""
    asked = []

    def refuse(request, timeout):
        asked.append(request.full_url)
        raise download.urllib.error.URLError("[Errno -3] Temporary failure in name resolution")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    return asked


def vectors(kind, folder, **settings):
    return structures.structure_vectors(
        kind, scheme(), ["CT"], EmbeddingSettings(**settings), kept=folder / "embeddings.safetensors"
    )


def test_the_weights_are_those_of_one_revision_with_their_checksum():
    for file in FILES:
        assert file.url.startswith("https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224/")
        assert f"/resolve/{encoder_files.REVISION}/" in file.url
    assert len(encoder_files.REVISION) == 40
    assert len(WEIGHTS.sha256) == 64
    assert WEIGHTS.size_bytes > 700e6


def test_nothing_is_fetched_unless_it_was_allowed(packages, offline, tmp_path):
    with pytest.raises(ConfigError, match="not on this computer") as caught:
        encode(["a liver"], tmp_path)
    for word in ("784 MB", "--fetch-text-encoder", "learned", "one_hot", "hierarchy", "embedding=file"):
        assert word in str(caught.value)
    assert offline == []
    assert list(tmp_path.iterdir()) == []


def test_offline_the_message_names_another_embedding(packages, offline, tmp_path):
    with pytest.raises(RunError, match="offline") as caught:
        encode(["a liver"], tmp_path, may_fetch=True)
    assert offline == [VOCABULARY.url]
    assert "learned" in str(caught.value)


def test_a_missing_package_is_named_before_anything_is_fetched(monkeypatch, offline, tmp_path):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(DependencyError, match="pip install open-clip-torch") as caught:
        encode(["a liver"], tmp_path, may_fetch=True)
    assert "learned" in str(caught.value)
    assert offline == []


def test_the_model_is_made_of_local_files_alone_and_of_tensors_alone(packages, there):
    found = encode(["a liver", "a spleen"], there)
    assert found.shape == (2, 512)
    assert found.dtype == np.float32
    assert np.linalg.norm(found, axis=1) == pytest.approx(1.0, abs=1e-5)
    name, how = packages["model"]
    assert how == {"device": "cpu", "weights_only": True}
    assert packages["tokenizer"] == name
    files = packages["files"]
    text = json.loads(files["open_clip_config.json"])["model_cfg"]["text_cfg"]
    assert f"local-dir:{text['hf_model_name']}" == f"local-dir:{text['hf_tokenizer_name']}" == name
    assert json.loads(files["config.json"])["vocab_size"] == WORDS
    assert files[WEIGHTS.name] == b"weights"
    assert not text_encoder.Path(text["hf_model_name"]).exists()


@pytest.mark.parametrize("has_links", [True, False])
def test_the_folder_of_the_encoder_is_left_as_it_is(packages, there, monkeypatch, has_links):
    def refuse(*_):
        raise OSError(1314, "A required privilege is not held by the client")

    if not has_links:
        monkeypatch.setattr(text_encoder.Path, "symlink_to", refuse)
    for name in ("open_clip_config.json", "config.json", "tokenizer_config.json"):
        (there / name).write_text("of the hub")
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in there.iterdir()}
    encode(["a liver"], there)
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in there.iterdir()} == before
    assert packages["files"][WEIGHTS.name] == b"weights"
    assert b"of the hub" not in packages["files"].values()


def test_a_full_disk_is_explained_so_that_another_embedding_can_be_taken(packages, there, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(text_encoder, "write_json", full)
    with pytest.raises(RunError, match="No space left") as caught:
        encode(["a liver"], there)
    assert "learned" in str(caught.value)


def test_files_that_are_no_such_model_are_explained(packages, there, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("Error(s) in loading state_dict")

    monkeypatch.setattr(sys.modules["open_clip"], "create_model", broken)
    with pytest.raises(DependencyError, match="cannot read the text encoder"):
        encode(["a liver"], there)
    (there / VOCABULARY.name).write_text("one\n")
    with pytest.raises(ConfigError, match="has 1 words"):
        encode(["a liver"], there)


def test_a_run_computes_its_vectors_once_and_needs_no_text_model_again(packages, there, tmp_path):
    found = vectors("text", tmp_path, encoder=str(there))
    assert packages["texts"] == [f"A computerized tomography of a {name}" for name in NAMES]
    packages.clear()
    (there / WEIGHTS.name).unlink()
    assert np.array_equal(vectors("text", tmp_path, encoder=str(there)), found)
    assert packages == {}


def test_a_prompt_of_ones_own_is_read(packages, there, tmp_path):
    vectors("text", tmp_path, encoder=str(there), prompt="{item} in mice")
    assert packages["texts"][0] == f"{NAMES[0]} in mice"


def test_a_file_of_vectors_is_kept_with_the_run(tmp_path):
    given = tmp_path / "mine.json"
    given.write_text(json.dumps({name: [float(n), 1.0] for n, name in enumerate(NAMES)}))
    found = vectors("file", tmp_path, file=str(given))
    assert found.tolist() == [[float(n), 1.0] for n in range(len(NAMES))]
    given.unlink()
    assert np.array_equal(vectors("file", tmp_path, file=str(given)), found)
    with pytest.raises(ConfigError, match="--embedding-file"):
        structures.structure_vectors("file", scheme(), ["MR"], EmbeddingSettings(), kept=tmp_path / "no")


def test_the_encoder_is_kept_in_the_users_cache_unless_told_otherwise(monkeypatch, tmp_path):
    assert encoder_folder("/somewhere/else") == text_encoder.Path("/somewhere/else")
    monkeypatch.setattr(encoder_files.sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert encoder_folder() == tmp_path / "semiseg" / "biomed_clip"


def test_files_of_the_right_names_and_lengths_seem_to_be_the_encoder_without_being_read(tmp_path):
    folder = tmp_path / "biomed_clip"
    assert not seems_kept(folder)
    folder.mkdir()
    (folder / VOCABULARY.name).write_text("word\n")
    weights = folder / WEIGHTS.name
    weights.write_bytes(b"cut off")
    assert not seems_kept(folder)
    with weights.open("r+b") as file:
        file.truncate(WEIGHTS.size_bytes)
    assert seems_kept(folder)
