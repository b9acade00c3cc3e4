"""What pages say of settings, embeddings, data sets, benchmarks, papers and the demo is what the project does."""

import json
import re
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest

from SemiSegLib.cases.cohort import cohort_dataset
from SemiSegLib.cases.dataset import Side
from SemiSegLib.cases.formats import load_dataset
from SemiSegLib.cli_settings import assignment, read_settings
from SemiSegLib.embeddings.encoder_files import FILES
from SemiSegLib.embeddings.prompts import TEMPLATES
from SemiSegLib.embeddings.vectors import read_vectors
from SemiSegLib.evaluation.modes import MODES
from SemiSegLib.labels.label_set import Regime
from SemiSegLib.labels.rois import RoiTable
from SemiSegLib.methods.cards import CARDS, card_of
from SemiSegLib.methods.recommend import recommend
from SemiSegLib.networks.backbones import BACKBONES
from SemiSegLib.runs.request import (
    DEVICES,
    NORMALIZATIONS,
    OPTIMIZERS,
    OUTSIDE_EMBEDDINGS,
    PRECISIONS,
    SCHEDULES,
    PlanSettings,
    TrainingSettings,
)
from Testing.lib.schemes import ORGAN_AND_VESSEL

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTATION = ROOT / "Resources" / "Documentation"
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
PAGES = [*FRONT, *sorted(DOCUMENTATION.rglob("*.md"))]
SETTINGS = {field.name: field.default for cls in (TrainingSettings, PlanSettings) for field in fields(cls)}
CHOICES = {
    "device": DEVICES,
    "precision": PRECISIONS,
    "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES,
    "normalization": NORMALIZATIONS,
    "backbone": tuple(BACKBONES),
}


def text_of(name):
    return (DOCUMENTATION / name).read_text(encoding="utf-8")


def section(text, title):
    """The lines from a heading to the next of its level."""
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(text):
    """First cell of each table row that begins with a name, to the other cells."""
    found = (line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| `"))
    return {cells[0].strip("`"): cells[1:] for cells in found}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_leads_to_a_file_and_a_heading(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        name, _, heading = target.partition("#")
        page = (path.parent / name).resolve() if name else path
        assert page.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}, target


def test_every_picture_and_table_of_numbers_is_linked():
    linked = {
        (path.parent / target).resolve()
        for path in PAGES
        for target in re.findall(r"\]\(([^)#\s]+)", path.read_text(encoding="utf-8"))
        if "://" not in target
    }
    lost = [path.name for path in DOCUMENTATION.rglob("*") if path.suffix in (".png", ".json") and path not in linked]
    assert lost == []


def test_every_setting_stands_on_the_page_with_its_default_and_choices():
    told = rows(section(text_of("methods.md"), "Settings"))
    assert list(told.keys() - SETTINGS.keys()) == []
    for name, default in SETTINGS.items():
        typed = assignment(f"{name}={told[name][0].strip('`')}")[1]
        assert typed == (pytest.approx(default, abs=1e-3) if isinstance(default, float) else default), name
        for choice in CHOICES.get(name, ()):
            assert f"`{choice}`" in told[name][1], name


def test_settings_can_be_typed_as_the_page_shows():
    lines = section(text_of("methods.md"), "Settings").splitlines()
    (command,) = [line for line in lines if line.startswith("    semiseg train")]
    given = read_settings(re.findall(r"--setting (\S+)", command), steps=10)
    assert given.plan.patch == (64, 64, 64)
    assert (given.training.learning_rate, given.training.schedule) == (0.003, "cosine")


def test_the_page_of_embeddings_names_every_kind_its_options_and_a_file_that_can_be_read(tmp_path):
    told = section(text_of("methods/latent.md"), "Embeddings")
    (option,) = [option for option in card_of("dynamic_head").options if option.name == "embedding"]
    assert set(rows(told)) == set(option.choices)
    assert set(OUTSIDE_EMBEDDINGS) == {name for name, cells in rows(told).items() if cells[1] != "nothing"}
    command = (ROOT / "SemiSegLib" / "cli_runs.py").read_text(encoding="utf-8")
    for name in ("embedding_file", "embedding_prompt", "embedding_otherwise", "fetch_text_encoder"):
        assert f"    {name}: Annotated[" in command
        assert f"--{name.replace('_', '-')}" in told
    words = " ".join(told.split())
    assert all(template in words for template in TEMPLATES.values())
    assert all(f"`{file.name}`" in words for file in FILES)
    (example,) = re.findall(r"```json\n(.*?)```", told, re.DOTALL)
    (tmp_path / "vectors.json").write_text(example)
    names = RoiTable.of(ORGAN_AND_VESSEL).names
    assert read_vectors(tmp_path / "vectors.json", names, ORGAN_AND_VESSEL).shape == (len(names), 3)


def test_the_page_of_data_sets_names_every_key_and_its_examples_can_be_read(tmp_path):
    text = text_of("datasets.md")
    schema = json.loads((ROOT / "Resources" / "dataset.schema.json").read_text(encoding="utf-8"))
    keys = set(schema["properties"])
    for name in ("Annotation", "Case", "Extent", "Structure"):
        keys |= set(schema["$defs"][name]["properties"])
    assert [key for key in sorted(keys) if not re.search(rf'["`]{key}["`]', text)] == []
    whole, *cases = (json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    (tmp_path / "dataset.json").write_text(json.dumps({**whole, "cases": [*whole["cases"], *cases]}))
    dataset = load_dataset(tmp_path)
    regimes = [case.regime(dataset.scheme) for case in dataset.cases]
    assert regimes[:3] == [Regime.FULL, Regime.COARSE, Regime.NONE]
    assert dataset.cases[3].annotation.extent.slices == (10, 20, 30)
    assert dataset.cases[4].annotation.segments is not None
    ready = {path.stem for path in (ROOT / "Resources" / "schemes").glob("*.json")}
    assert all(f"`{name}`" in text for name in ready)


def test_the_page_of_benchmarks_names_every_script_that_can_be_run():
    text = text_of("benchmarks.md")
    scripts = (ROOT / "Testing" / "benchmarks").glob("*.py")
    told = {path.name for path in scripts if path.read_text(encoding="utf-8").split('"""')[1].count("\n    python ")}
    assert {"acdc.py", "costs.py", "three_sites.py"} <= told
    assert [name for name in sorted(told) if name not in text] == []
    assert "semiseg compare" in text


def test_the_front_page_shows_the_first_table_of_the_hippocampus():
    number = r"\d\.\d{3} ± \d\.\d{3}"
    page = text_of("hippocampus.md").split("\n## ")[0]
    measured = [tuple(re.findall(number, line)[:2]) for line in page.splitlines() if line.startswith("| ")]
    shown = re.findall(rf"^\| .+ \| `\w+` \| ({number}) \| ({number}) \|$", FRONT[0].read_text(encoding="utf-8"), re.M)
    assert len(shown) >= 5
    assert set(shown) <= set(measured)


def test_the_front_page_tells_what_the_demo_trains_on(tmp_path):
    code = (ROOT / "SemiSegLib" / "demo.py").read_text(encoding="utf-8")
    call = re.search(r"write_cohort\((.*?)\)", code, re.DOTALL)[1]
    counts = {name: int(count) for name, count in re.findall(r"(\w+)=(\d+)", call)}
    study = cohort_dataset(tmp_path, counts)
    training = study.side(Side.TRAIN)
    card = card_of(recommend(study).method)
    used = sum(case.regime(study.scheme).value in card.uses for case in training)
    words = " ".join(FRONT[0].read_text(encoding="utf-8").split())
    assert f"makes {len(study.cases)} small scans" in words
    assert f"{len(training)} to train ({counts['fine']} with fine labels, {counts['coarse']} coarse, " in words
    assert f"{counts['partial']} partial, {counts['none']} without), {counts['validation']} to choose" in words
    assert f"{counts['test']} to score" in words
    assert f"the recommended method, `{card.name}`, on the {used} with labels" in words


def test_a_first_version_has_no_history():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"\b(?:now|no longer|not yet|anymore)\b", text.replace("not yet released", "")) == []


def test_the_table_of_papers_says_whose_every_numbered_preset_and_mode_is():
    told = section(text_of("methods.md"), "The papers")
    named = {preset for card in CARDS for preset in card.presets if re.search(r"_00\d", preset)}
    named |= {mode for mode in MODES if mode.startswith("paper_")}
    for name in sorted(named):
        (row,) = [line for line in told.splitlines() if f"`{name}`" in line]
        assert re.match(r"\| \w+ (?:et al\.|and Zhang)", row), name


# Rows of options repeat the texts of the cards word by word; those are held by the cards' own tests.
@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_papers_are_called_by_their_authors(path):
    options = {f"| `{option.name}`" for card in CARDS for option in card.options}
    for line in path.read_text(encoding="utf-8").splitlines():
        if not any(line.startswith(option) for option in options):
            assert not re.search(r"papers? 00\d", line, re.IGNORECASE), line


def test_every_method_is_cited_with_all_authors_and_an_address():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    references = text.split("\n  - type: ")[1:]
    notes = " ".join(re.findall(r'notes: "(.*)"', text))
    assert [card.name for card in CARDS if not re.search(rf"\b{card.name}\b", notes)] == []
    assert "others" not in text
    for reference in references:
        assert re.search(r'\n    url: "https://', reference), reference
        assert reference.count("family-names") >= 2, reference
    homepage = re.search(r'EXTENSION_HOMEPAGE "(.+)"', (ROOT / "CMakeLists.txt").read_text(encoding="utf-8"))[1]
    assert f'repository-code: "{homepage}"' in text


def test_no_text_leans_on_a_document_that_is_not_in_the_repository():
    listed = subprocess.run(["git", "ls-files", "*.py", "*.md"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for entry in listed.stdout.splitlines():
        path = ROOT / entry
        if path.exists() and path != Path(__file__).resolve():
            found = re.search(r"\bneed N\d|\bTrap \d|\bissue \d\b", path.read_text(encoding="utf-8"), re.IGNORECASE)
            assert found is None, f"{entry}: {found[0]}"


def test_what_is_said_of_the_commands_of_make_is_what_they_do():
    make = (ROOT / "Makefile").read_text(encoding="utf-8")
    target = make.split("\ntest: ")[1].split("\n\n")[0]
    assert target.count('-m "not slow and not gpu"') == target.count("pytest")
    check = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    texts = [path.read_text(encoding="utf-8") for path in FRONT[:2]]
    assert all("test suite without long tests and those for a GPU" in text for text in texts)
    assert not any(re.search(r"whole (?:test suite|check)", text) for text in (*texts, check))
    assert "`.ci/run` installs the system libraries that panel tests need and runs the first two." in texts[1]
    assert check.count("\nmake lint\n") == 1
    # PowerShell knows no "&" between two commands.
    assert " & " not in texts[0].split("On Windows:")[1].split("\n\n")[1]


def test_every_room_is_on_the_map():
    text = section((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"), "The house")
    rooms = {path.parent.name for path in (ROOT / "SemiSegLib").glob("*/__init__.py")}
    assert [room for room in sorted(rooms) if f"`{room}`" not in text] == []
