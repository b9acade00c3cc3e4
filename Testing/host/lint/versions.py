"""Which Slicer has what: names that are newer than 5.10, and whether code asks before it uses them."""

import ast
from collections.abc import Iterator
from pathlib import Path

from Testing.host.lint.findings import Finding
from Testing.host.lint.names import dotted

# From the release branches v5.10.0 and v5.12.3: name to the first version that has it.
NEWER = {
    "slicer.packaging": "5.12",
    "slicer.util.executePythonModule": "5.12",
    "slicer.util.LazyImport": "5.13",
    "registerCustomSampleDataCategory": "5.12",
    "nodeAddedByUserAction": "5.12",
}
# Arguments that functions of 5.10 do not take.
NEWER_ARGUMENTS = {
    "slicer.util.launchConsoleProcess": ("blocking", "logCallback", "completedCallback"),
    "slicer.util.pip_install": ("constraints", "blocking", "show_progress", "requester", "logCallback"),
}


def unguarded(path: Path, tree: ast.AST) -> list[Finding]:
    """Return uses of names newer than 5.10 that stand in no branch where they are known to be there."""
    found = []
    for node, guards in _with_guards(tree, ()):
        name = _newer_name(node)
        if name and not any(name.split(".")[-1] in guard for guard in guards):
            found.append(Finding(path, node.lineno, f"{name} is new in Slicer {NEWER[name]} and used without asking"))
        if isinstance(node, ast.Call):
            function = ".".join(dotted(node.func))
            for keyword in node.keywords:
                if keyword.arg in NEWER_ARGUMENTS.get(function, ()):
                    found.append(Finding(path, node.lineno, f"{function}({keyword.arg}=) is new in Slicer 5.12"))
    return found


def _newer_name(node: ast.AST) -> str:
    """Return the newer name that a node uses, "" if none."""
    if isinstance(node, ast.Attribute):
        name = ".".join(dotted(node))
        return name if name in NEWER else node.attr if node.attr in NEWER else ""
    if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
        first = node.args[0] if node.args else None
        return first.value if isinstance(first, ast.Constant) and first.value in NEWER else ""
    return ""


def _with_guards(node: ast.AST, guards: tuple[str, ...]) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    """Return all nodes with the questions that are answered by yes where they stand.

    These are the tests of the branches around it, and of the branches before it that leave if the answer is no.
    """
    yield node, guards
    if isinstance(node, ast.If | ast.IfExp):
        yes, no = _answers(node.test)
        for part, more in (([node.test], ()), (_listed(node.body), yes), (_listed(node.orelse), no)):
            yield from _block(part, (*guards, *more))
        return
    for _name, value in ast.iter_fields(node):
        yield from _block([item for item in _listed(value) if isinstance(item, ast.AST)], guards)


def _block(items: list[ast.AST], guards: tuple[str, ...]) -> Iterator[tuple[ast.AST, tuple[str, ...]]]:
    for item in items:
        yield from _with_guards(item, guards)
        if isinstance(item, ast.If) and isinstance(item.body[-1], ast.Return | ast.Raise):
            guards = (*guards, *_answers(item.test)[1])


def _answers(test: ast.expr) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what is known to be there in the branch of a test, and in the other one."""
    text = ast.unparse(test)
    if text.startswith("not ") or text.endswith("is None"):
        return (), (text,)
    return (text,), ()


def _listed(value: object) -> list[ast.AST]:
    return value if isinstance(value, list) else [value] if isinstance(value, ast.AST) else []
