"""Static check of a module's Python files: every name it takes from qt, ctk and slicer, every signal it connects."""

import ast
import functools
from pathlib import Path

from Testing.host import facts
from Testing.host.lint import names
from Testing.host.lint.findings import Finding, Used
from Testing.host.lint.names import Scope, class_error, dotted, is_checked_class, member_error

MODULES = ("qt", "ctk", "slicer")


@functools.cache
def _all_signals() -> frozenset[str]:
    tables = (*facts.SLICER_API, *(name for name in facts.QT_API if name in facts.QT_CLASSES))
    return frozenset(signal for name in tables for signal in facts.signals(name))


class _Assignments(ast.NodeVisitor):
    """Learns the classes of names that are only ever bound to a value of one class, per function and per class."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.unclear: set[str] = set()

    def _bind(self, target: ast.expr, class_name: str | None) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for item in target.elts:
                self._bind(item, None)
            return
        name = ".".join(dotted(target))
        if not name:
            return
        known = self.scope.values.get(name)
        if class_name is None or (known is not None and known != class_name):
            self.unclear.add(name)
            self.scope.values.pop(name, None)
        elif name not in self.unclear:
            self.scope.values[name] = class_name

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
                for item, value in zip(target.elts, node.value.elts, strict=False):
                    self._bind(item, self.scope.class_of(value))
            else:
                self._bind(target, self.scope.class_of(node.value))

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, None)
        self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self._bind(ast.Name(node.arg), None)


class PythonCheck(ast.NodeVisitor):
    """Walks one file.

    Args:
        path: the file.
        form: object name -> C++ class of all forms of the module.
        made: attribute names that the module itself sets on its `ui`.
    """

    def __init__(self, path: Path, form: dict[str, str], made: set[str]) -> None:
        self.path, self.form, self.made = path, form, made
        self.scope = Scope(form)
        self.findings: list[Finding] = []
        self.used = Used()
        self.count = 0

    def report(self, node: ast.expr, what: str) -> None:
        if what:
            self.findings.append(Finding(self.path, node.lineno, what))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._in_scope(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        self._in_scope(node)

    def _in_scope(self, node: ast.ClassDef | ast.FunctionDef) -> None:
        outer = self.scope
        self.scope = Scope(self.form, dict(outer.values))
        learner = _Assignments(self.scope)
        learner.visit(node)
        if isinstance(node, ast.ClassDef):
            # Local names of one method say nothing about another one.
            self.scope.values = {name: kind for name, kind in self.scope.values.items() if "." in name}
        self.generic_visit(node)
        self.scope = outer

    def visit_Attribute(self, node: ast.Attribute) -> None:
        parts = dotted(node)
        if len(parts) >= 2 and parts[0] in MODULES:
            self._check_module_name(node, parts)
        elif len(parts) >= 2 and parts[-2] == "ui" and self.form:
            self.count += 1
            if parts[-1] not in self.form and parts[-1] not in self.made:
                self.report(node, f"there is no '{parts[-1]}' in the form")
        self._check_member(node)
        self.generic_visit(node)

    def _check_module_name(self, node: ast.Attribute, parts: tuple[str, ...]) -> None:
        if len(parts) == 2:
            self.count += 1
            self.used.names.add(".".join(parts))
            self.report(node, class_error(parts))
        elif parts[:2] == ("slicer", "util") and len(parts) == 3:
            self.count += 1
            self.used.names.add(".".join(parts))
            if parts[2] not in names.util_names():
                self.report(node, f"slicer.util.{parts[2]} does not exist")
        elif len(parts) == 3 and not class_error(parts) and is_checked_class(parts[1]):
            self.count += 1
            self.used.members.add((parts[1], parts[2]))
            self.report(node, member_error(parts[1], parts[2]))

    def _check_member(self, node: ast.Attribute) -> None:
        owner = self.scope.class_of(node.value)
        if not is_checked_class(owner):
            return
        self.count += 1
        self.used.members.add((str(owner), node.attr))
        error = member_error(str(owner), node.attr)
        kind = "" if error else facts.members(str(owner)).get(node.attr, "")
        if not error and isinstance(node.ctx, ast.Store) and kind not in ("property", "always", ""):
            error = f"{owner}.{node.attr} is a {kind} and can not be assigned"
        self.report(node, error)

    def visit_Call(self, node: ast.Call) -> None:
        function = node.func
        if isinstance(function, ast.Attribute):
            owner = self.scope.class_of(function.value)
            if is_checked_class(owner) and facts.members(str(owner)).get(function.attr) == "property":
                self.report(node, f"{owner}.{function.attr} is a property and can not be called")
            first = node.args[0] if node.args else None
            if function.attr in ("connect", "disconnect") and isinstance(first, ast.Constant):
                self._check_signal(node, owner, first.value)
        elif isinstance(function, ast.Name) and function.id == "isinstance" and len(node.args) == 2:
            self._check_isinstance(node)
        self.generic_visit(node)

    def _check_signal(self, node: ast.Call, owner: str | None, text: object) -> None:
        if not isinstance(text, str):
            return
        self.count += 1
        signal = facts.normalized(text)
        self.used.signals.add(signal)
        if is_checked_class(owner) and not str(owner).startswith("vtk"):
            if signal not in facts.signals(str(owner)):
                self.report(node, f"{owner} has no signal '{signal}'")
        elif signal not in _all_signals():
            self.report(node, f"no class of Qt, CTK or Slicer has a signal '{signal}'")

    def _check_isinstance(self, node: ast.Call) -> None:
        """PythonQt's classes do not inherit from each other: isinstance(label, qt.QWidget) is False there."""
        kinds = node.args[1].elts if isinstance(node.args[1], ast.Tuple) else [node.args[1]]
        for kind in kinds:
            parts = dotted(kind)
            if len(parts) == 2 and parts[0] in ("qt", "ctk"):
                self.report(node, f"isinstance(_, {'.'.join(parts)}) is not reliable in PythonQt")

    def visit_Compare(self, node: ast.Compare) -> None:
        for side in (node.left, *node.comparators):
            if not isinstance(side, ast.Attribute):
                continue
            owner = self.scope.class_of(side.value)
            if is_checked_class(owner) and facts.members(str(owner)).get(side.attr) in ("slot", "method"):
                self.report(side, f"{owner}.{side.attr} is compared without being called")
        self.generic_visit(node)
