"""What the Extensions Index and its reviewers ask of an extension, as far as a machine can look."""

import ast
import json
import re
import sys
from pathlib import Path

import jsonschema
import pytest

from SemiSegModule import about

ROOT = Path(__file__).resolve().parents[2]
EXTENSION = ROOT / "SemiSegExtension"
ENTRY = json.loads((ROOT / "SemiSeg.json").read_text(encoding="utf-8"))
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")
SCHEMA_URL = "https://raw.githubusercontent.com/Slicer/ExtensionsIndex/main/schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
SCHEMA = json.loads((ROOT / "Testing/host/data/catalog_entry.schema.json").read_text(encoding="utf-8"))
# Besides Python's own; scipy and SimpleITK come with Slicer as well.
ALLOWED = {"slicer", "qt", "ctk", "vtk", "numpy", "scipy", "SimpleITK", "SemiSegLib", "SemiSegModule"}
FILES = [EXTENSION / "SemiSeg.py", *sorted((EXTENSION / "SemiSegModule").rglob("*.py"))]


def name(path):
    return path.relative_to(ROOT).as_posix()


def cmake(variable):
    return re.search(rf'^set\({variable} "([^"]*)"\)', CMAKE, re.MULTILINE).group(1)


def test_the_entry_fits_the_published_schema():
    assert ENTRY["$schema"] == SCHEMA_URL
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    jsonschema.validate(ENTRY, SCHEMA, jsonschema.Draft7Validator)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("tier", 0),
        ("tier", 6),
        ("tier", "1"),
        ("scm_type", "svn"),
        ("build_dependencies", "PyTorch"),
        ("build_dependencies", [1]),
        ("enabled", "yes"),
        ("scm_url", None),
        ("homepage", "https://example.org"),
    ],
)
def test_the_schema_refuses_an_entry_that_the_index_would_refuse(key, value):
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**ENTRY, key: value}, SCHEMA, jsonschema.Draft7Validator)


@pytest.mark.parametrize("key", ["$schema", "category", "scm_url"])
def test_the_schema_asks_for_what_every_entry_must_say(key):
    with pytest.raises(jsonschema.ValidationError, match="required"):
        jsonschema.validate({name: ENTRY[name] for name in ENTRY if name != key}, SCHEMA, jsonschema.Draft7Validator)


def test_the_entry_is_of_git_below_a_category_of_the_index_and_experimental():
    assert ENTRY["category"] == "Segmentation"
    assert ENTRY["scm_type"] == "git"
    # 3 is for what a community uses and answers for, on three systems; nobody has installed it from the index yet.
    assert ENTRY["tier"] == 1


def test_repository_extension_and_project_are_named_as_the_index_asks():
    assert re.fullmatch(r"https://github\.com/\w+/SlicerSemiSeg\.git", ENTRY["scm_url"])
    assert re.search(r"^project\((\w+)\)", CMAKE, re.MULTILINE).group(1) == "SemiSeg"
    assert "slicer" not in "SemiSeg".lower()
    assert cmake("EXTENSION_HOMEPAGE") == ENTRY["scm_url"].removesuffix(".git")
    assert cmake("EXTENSION_HOMEPAGE") == about.HOMEPAGE
    assert cmake("EXTENSION_DEPENDS").split(";") == ENTRY["build_dependencies"]
    assert (ROOT / "LICENSE.txt").is_file()


@pytest.mark.parametrize("variable", ["EXTENSION_ICONURL", "EXTENSION_SCREENSHOTURLS"])
def test_a_picture_of_the_catalog_is_in_the_repository(variable):
    start = cmake("EXTENSION_HOMEPAGE").replace("github.com", "raw.githubusercontent.com") + "/main/"
    for url in cmake(variable).split():
        assert url.startswith(start)
        path = ROOT / url.removeprefix(start)
        assert path.suffix in (".png", ".jpg", ".gif")
        assert path.is_file(), url


def test_the_description_can_be_understood_and_has_no_line_break():
    text = cmake("EXTENSION_DESCRIPTION")
    assert 60 < len(text) < 400
    assert text.endswith(".")


def test_the_readme_has_summary_picture_module_citation_and_tutorial_with_its_data():
    summary, picture = README.split("\n\n")[1:3]
    assert len(re.findall(r"\.(?:\s|$)", summary)) <= 3
    (path,) = re.findall(r"!\[.+\]\((.+)\)", picture)
    assert (ROOT / path).is_file()
    assert "**Module.** *SemiSeg*:" in README
    assert "## How to cite" in README
    assert "## A first training" in README
    assert "Sample Data" in README
    assert "Apache" in README


def test_every_link_of_the_readme_leads_to_a_file():
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]
    assert [link for link in links if link and not (ROOT / link).exists()] == []


def test_all_eleven_questions_of_the_index_are_answered():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").split("## Questions asked")[1]
    rows = [line for line in text.splitlines() if line.startswith("| ") and "?" in line.split("|")[1]]
    assert len(rows) >= 11
    assert all(len(row.split("|")[2].strip()) > 2 for row in rows)


@pytest.mark.parametrize("path", FILES, ids=name)
def test_at_file_scope_nothing_foreign_is_imported_and_nothing_done(path):
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        modules += [node.module] if isinstance(node, ast.ImportFrom) else []
        for module in modules:
            top = module.split(".")[0]
            assert top in ALLOWED or top in sys.stdlib_module_names, f"{name(path)}:{node.lineno} imports {module}"
        is_call = isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant)
        # A script may begin when it is run, not when it is imported.
        does = is_call or isinstance(node, ast.For | ast.While | ast.With | ast.Try)
        assert not does, f"{name(path)}:{node.lineno} does something when it is imported"


def test_nothing_installs_torch_by_pip():
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "pip_install":
                assert "torch" not in ast.unparse(node).lower(), name(path)


def test_help_and_acknowledgement_name_the_papers_and_how_to_cite(module):
    assert about.HOMEPAGE in module.helpText
    for authors, title in about.PAPERS:
        assert title in module.acknowledgementText
        assert authors.split(",")[0] in module.acknowledgementText
    assert "How to cite" in module.acknowledgementText
    cited = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert all(f'title: "{title}"' in cited for _authors, title in about.PAPERS)


def test_both_icons_are_there_and_the_drawing_is_the_same_size():
    svg = (EXTENSION / "Resources/Icons/SemiSeg.svg").read_text(encoding="utf-8")
    assert 'viewBox="0 0 128 128"' in svg
    assert (EXTENSION / "Resources/Icons/SemiSeg.png").is_file()
