"""A run keeps its vectors, goes on with another embedding where they cannot be had, and its model holds them."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from SemiSegLib import preparation
from SemiSegLib.cases.sites import write_sites
from SemiSegLib.config import read_json
from SemiSegLib.errors import ConfigError, DependencyError
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.cards import card_of
from SemiSegLib.methods.catalogue import Option
from SemiSegLib.methods.factory import build_method
from SemiSegLib.methods.method import Study
from SemiSegLib.prediction.model_file import Model, load_model, save_model
from SemiSegLib.runs.folder import RunFolder
from SemiSegLib.runs.reporter import Reporter
from SemiSegLib.runs.request import EmbeddingSettings, PlanSettings, RunRequest, TrainingSettings
from Testing.lib.prediction.test_predictor import predictor

EMBEDDING = Option(
    name="embedding", default="file", text="Which.", choices=("hierarchy", "learned", "one_hot", "text", "file")
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write_sites(tmp_path_factory.mktemp("sites"), each=1, validation=0, test=1, size=(8, 14, 12))


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    return write_sites(tmp_path_factory.mktemp("full"), each=1, validation=0, test=1, full=True, size=(8, 14, 12))


@pytest.fixture(autouse=True)
def card(monkeypatch):
    """A method with the option "embedding"; preparation needs nothing else of it."""
    plain = card_of("marginal")
    card = replace(plain, options=(*plain.options, EMBEDDING))
    monkeypatch.setattr(preparation, "card_of", lambda name: card)
    return card


def prepared(tmp_path, data, name="run", **asked):
    if (tmp_path / name).exists():
        run = RunFolder(tmp_path / name)
    else:
        plan = PlanSettings(patch=(8, 8, 8), batch=2, features=(4, 8))
        training = TrainingSettings(steps=2, device="cpu")
        request = RunRequest(dataset=str(data.root), method="marginal", plan=plan, training=training, **asked)
        run = RunFolder.create(tmp_path, request, name=name)
    with Reporter(run, version="0", owns_group=False) as reporter:
        return run, preparation.Preparation(run, reporter, "cpu").run()


def test_the_vectors_of_a_file_come_to_the_run_and_stay_there(tmp_path, data):
    names = RoiTable.of(data.scheme).names
    given = tmp_path / "mine.json"
    given.write_text(json.dumps({name: [float(n), 2.0] for n, name in enumerate(names)}))
    settings = EmbeddingSettings(file=str(given))
    run, first = prepared(tmp_path, data, embeddings=settings)
    assert first.embeddings.tolist() == [[float(n), 2.0] for n in range(len(names))]
    assert first.options["embedding"] == "file"
    given.unlink()
    _, again = prepared(tmp_path, data)
    assert np.array_equal(first.embeddings, again.embeddings)
    assert run.embeddings_path.is_file()
    assert run.request.embeddings.file == str(given)


def test_without_its_vectors_a_run_ends_before_cases_are_prepared_or_takes_another_embedding(tmp_path, data):
    missing = EmbeddingSettings(file=str(tmp_path / "missing.json"))
    with pytest.raises(ConfigError, match="does not exist"):
        prepared(tmp_path, data, embeddings=missing)
    assert not (tmp_path / "prepared").exists()
    settings = replace(missing, otherwise="learned")
    run, found = prepared(tmp_path, data, name="other", embeddings=settings)
    assert found.embeddings is None
    assert found.options["embedding"] == "learned"
    assert read_json(run.environment_path)["embedding_instead"] == "learned"


def test_a_resumed_run_keeps_the_embedding_that_it_took(tmp_path, data, monkeypatch):
    settings = EmbeddingSettings(file="missing.json", otherwise="one_hot")
    _, first = prepared(tmp_path, data, embeddings=settings)

    def never(*_, **__):
        raise AssertionError("the embedding of a run must not change")

    monkeypatch.setattr(preparation, "structure_vectors", never)
    _, again = prepared(tmp_path, data)
    assert again.options == first.options
    assert again.options["embedding"] == "one_hot"


def test_what_is_taken_instead_must_not_come_from_outside_itself(tmp_path, data, monkeypatch):
    def none(*_, **__):
        raise DependencyError("no open_clip")

    monkeypatch.setattr(preparation, "structure_vectors", none)
    with pytest.raises(ConfigError, match=r"embeddings\.otherwise"):
        prepared(tmp_path, data, embeddings=EmbeddingSettings(otherwise="text"))
    with pytest.raises(ConfigError, match="learned"):
        prepared(tmp_path, data, name="b", embeddings=EmbeddingSettings(otherwise="lerned"))


def test_an_embedding_from_inside_asks_for_nothing(tmp_path, data, monkeypatch):
    monkeypatch.setattr(preparation, "structure_vectors", None)
    _, found = prepared(tmp_path, data, options={"embedding": "hierarchy"})
    assert found.embeddings is None


def test_a_run_takes_labels_away_and_reads_them_naively_if_asked(tmp_path, full):
    drawn = {"site_a_00": "vessel", "site_b_00": "node", "site_c_00": "organ"}
    inside = {"embedding": "learned"}
    _, whole = prepared(tmp_path, full, name="whole", options=inside)
    assert whole.counts == {"full": 3}
    _, partial = prepared(tmp_path, full, name="partial", drawn=drawn, options=inside)
    assert partial.counts == {"partial": 3}
    _, naive = prepared(tmp_path, full, name="naive", drawn=drawn, undrawn="background", options=inside)
    assert naive.counts == {"full": 2, "coarse": 1}
    case = naive.dataset.case("site_c_00")
    assert case.regime(full.scheme) is Regime.COARSE
    assert naive.dataset.case("test_00") == full.case("test_00")
    with pytest.raises(ConfigError, match="undrawn"):
        RunRequest(dataset="x", method="marginal", undrawn="nothing")


def test_a_model_holds_the_vectors_that_its_method_was_built_with(tmp_path):
    plan = predictor(patch=(8, 8, 8)).model.study.plan
    scheme = predictor(patch=(8, 8, 8)).model.study.scheme
    vectors = torch.arange(8.0).reshape(4, 2)
    study = Study(scheme=scheme, plan=plan, embeddings=vectors)
    path = tmp_path / "model.safetensors"
    save_model(path, Model(build_method("marginal", study, {}), study, "marginal", {}, {}))
    assert torch.equal(load_model(path).study.embeddings, vectors)
    plain = Study(scheme=scheme, plan=plan)
    save_model(path, Model(build_method("marginal", plain, {}), plain, "marginal", {}, {}))
    assert load_model(path).study.embeddings is None
