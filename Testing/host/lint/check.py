"""The static check of a module's folder: all .ui and Python files against what Slicer has."""

import ast
from pathlib import Path

from Testing.host.lint.findings import Finding, Used
from Testing.host.lint.python_files import PythonCheck
from Testing.host.lint.ui_files import check_ui_file, used_in_form
from Testing.host.lint.versions import unguarded


def check_folder(folder: Path, used: Used | None = None) -> tuple[list[Finding], int]:
    """Return what a module uses that Slicer does not have, and how many names were looked up.

    Args:
        folder: of the module.
        used: takes everything that was looked up.
    """
    used = Used() if used is None else used
    findings: list[Finding] = []
    form: dict[str, str] = {}
    for path in sorted(folder.rglob("*.ui")):
        classes, found = check_ui_file(path)
        form.update(classes)
        findings += found
        used.add(used_in_form(path))
    trees = {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("*.py"))}
    made = {attribute for tree in trees.values() for attribute in _set_on_ui(tree)}
    count = 0
    for path, tree in trees.items():
        check = PythonCheck(path, form, made)
        check.visit(tree)
        findings += check.findings
        findings += unguarded(path, tree)
        used.add(check.used)
        count += check.count
    return sorted(set(findings)), count


def _set_on_ui(tree: ast.AST) -> set[str]:
    """Return the names that code adds to a `ui` object itself."""
    stores = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store)]
    return {node.attr for node in stores if getattr(node.value, "attr", getattr(node.value, "id", None)) == "ui"}
