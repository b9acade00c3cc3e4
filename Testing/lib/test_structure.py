"""The rules of the house, held by a machine: flow of imports, torch-free rooms, size of files, no code in data."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "SemiSegLib"
EXTENSION = ROOT / "SemiSegExtension"

ORDER = [
    "errors",
    "config",
    "registry",
    "labels",
    "cases",
    "runs",
    "embeddings",
    "planning",
    "batches",
    "networks",
    "losses",
    "methods",
    "prediction",
    "evaluation",
    "training",
    "top",
]
# These rooms are level: none of them may know another of the group.
STRANGERS = ({"networks", "losses", "evaluation"},)
TORCH_FREE = [
    "SemiSegLib.errors",
    "SemiSegLib.config",
    "SemiSegLib.registry",
    "SemiSegLib.labels",
    "SemiSegLib.cases",
    "SemiSegLib.runs",
    "SemiSegLib.training.events",
    "SemiSegLib.methods.catalogue",
    "SemiSegLib.methods.cards",
    "SemiSegLib.methods.recommend",
    "SemiSegLib.baseline",
]
FORBIDDEN_CALLS = {"eval", "exec", "__import__"}
FORBIDDEN_ATTRIBUTES = {("torch", "load"), ("yaml", "load"), ("os", "system"), ("os", "popen")}
FORBIDDEN_MODULES = {"pickle", "shelve", "marshal", "yaml", "dill", "cloudpickle", "socketserver", "http.server"}

LIBRARY_FILES = sorted(LIBRARY.rglob("*.py"))
SHIPPED_FILES = LIBRARY_FILES + sorted(EXTENSION.rglob("*.py"))


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in ORDER else "top"


def imports(path: Path) -> list[tuple[int, str]]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.lineno, ("." * node.level) + (node.module or "")))
    return found


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=name)
def test_a_room_imports_only_rooms_above_it(path):
    here = room(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for line, module in imports(path):
        assert not module.startswith("."), f"{name(path)}:{line} is a relative import"
        if not module.startswith("SemiSegLib"):
            continue
        there = room(module)
        if there == here or module == "SemiSegLib":
            continue
        assert ORDER.index(there) < ORDER.index(here), f"{name(path)}:{line} imports {module}, which is below it"
        for group in STRANGERS:
            assert not {here, there} <= group, f"{name(path)}:{line}: {here} and {there} do not know each other"


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=name)
def test_itk_reads_and_writes_files_in_one_room_that_holds_its_lock(path):
    called = [
        node.attr for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Attribute)
    ]
    files = [part for part in called if re.fullmatch(r"(Image|ImageSeries)File(Reader|Writer)|(Read|Write)Image", part)]
    assert not files or path.name == "itk_files.py", f"{name(path)} uses {files[0]} of SimpleITK itself"


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=name)
def test_the_library_never_imports_slicer_or_qt(path):
    for line, module in imports(path):
        assert module.split(".")[0] not in {"slicer", "qt", "ctk", "vtk", "PySide6"}, f"{name(path)}:{line}"


@pytest.mark.parametrize("path", sorted(EXTENSION.rglob("*.py")), ids=name)
def test_the_module_never_imports_torch_or_monai(path):
    for line, module in imports(path):
        assert module.split(".")[0] not in {"torch", "monai"}, f"{name(path)}:{line}"


def test_rooms_for_slicer_can_be_imported_without_torch():
    modules = []
    for entry in TORCH_FREE:
        path = ROOT.joinpath(*entry.split("."))
        files = sorted(path.glob("*.py")) if path.is_dir() else [path.with_suffix(".py")]
        modules += [f"{entry}.{file.stem}" if path.is_dir() else entry for file in files if file.stem != "__init__"]
    code = (
        "import sys, importlib\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] in {'torch', 'monai', 'safetensors', 'edt', 'typer', 'rich', 'matplotlib'}:\n"
        "            raise ImportError(name)\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"for m in {modules!r}: importlib.import_module(m)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=name)
def test_a_file_stays_small_and_runs_no_code_from_data(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 330, f"{name(path)} has {len(text.splitlines())} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Call):
            function = node.func
            if isinstance(function, ast.Name):
                assert function.id not in FORBIDDEN_CALLS, f"{name(path)}:{node.lineno} calls {function.id}"
            if isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
                pair = (function.value.id, function.attr)
                assert pair not in FORBIDDEN_ATTRIBUTES, f"{name(path)}:{node.lineno} calls {'.'.join(pair)}"
            for keyword in node.keywords:
                value = getattr(keyword.value, "value", None)
                assert (keyword.arg, value) not in {("shell", True), ("allow_pickle", True)}, (
                    f"{name(path)}:{node.lineno}"
                )
        if isinstance(node, ast.ExceptHandler):
            swallowed = node.type is None or (len(node.body) == 1 and isinstance(node.body[0], ast.Pass))
            broad = node.type is None or getattr(node.type, "id", "") in {"Exception", "BaseException"}
            assert not (swallowed and broad), f"{name(path)}:{node.lineno} swallows errors"
    for line, module in imports(path):
        assert module not in FORBIDDEN_MODULES, f"{name(path)}:{line} imports {module}"


@pytest.mark.parametrize("path", SHIPPED_FILES, ids=name)
def test_a_folder_is_at_most_two_deep(path):
    assert len(path.relative_to(ROOT).parts) <= 4, name(path)


def test_no_text_of_the_project_names_a_machine_path():
    kinds = {".py", ".md", ".json", ".toml", ".txt", ".cff", ".ui", ".cmake"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout")
    for entry in listed.stdout.splitlines():
        path = ROOT / entry
        if path.suffix in kinds and path.exists() and path != Path(__file__).resolve():
            text = path.read_text(encoding="utf-8")
            for word in ("/work/", "/root/", "/home/", "../shared"):
                assert word not in text, f"{entry} names {word}"
