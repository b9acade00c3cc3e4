"""What is doubtful about the selected case, one line for each, with a button where one click puts it right."""

from __future__ import annotations

from typing import Any

import qt

from SemiSegModule.panel import case_words as words
from SemiSegModule.panel.case_problems import CaseProblem


class ProblemList:
    """Shows all problems of a case, the worst first.

    Lines are kept and shown again: a new button in the place of one that is being clicked would swallow the click.

    Args:
        ui: widgets of the form by name; the first line is in the form.
    """

    def __init__(self, ui: Any) -> None:
        self._parent = ui.caseProblems
        self._lines: list[tuple[Any, Any]] = []
        self._problems: tuple[CaseProblem, ...] = ()
        self._add(ui.caseCheckLabel, ui.fixCaseButton)
        self._parent.visible = False

    def show(self, problems: tuple[CaseProblem, ...] | None) -> None:
        """Show problems; None, or none at all, hides the list."""
        self._problems = problems or ()
        while len(self._lines) < len(self._problems):
            self._addLine()
        for number, (label, button) in enumerate(self._lines):
            problem = self._problems[number] if number < len(self._problems) else None
            label.visible = problem is not None
            button.visible = problem is not None and problem.fix is not None
            if problem is not None:
                # A text without a button has the whole width.
                self._parent.layout().addWidget(label, number, 0, 1, 1 if problem.fix is not None else 2)
                _setText(label, _described(problem))
                _setText(button, problem.label)
        self._parent.visible = bool(self._problems)

    def button(self, number: int) -> Any:
        """Return the button that puts a problem right, counted from the worst."""
        return self._lines[number][1]

    def _addLine(self) -> None:
        number = len(self._lines)
        label, button = qt.QLabel(self._parent), qt.QPushButton(self._parent)
        label.objectName, button.objectName = f"caseCheckLabel_{number}", f"fixCaseButton_{number}"
        first, firstButton = self._lines[0]
        label.wordWrap, label.textInteractionFlags = True, first.textInteractionFlags
        button.toolTip = firstButton.toolTip
        self._parent.layout().addWidget(button, number, 1)
        self._add(label, button)

    def _add(self, label: Any, button: Any) -> None:
        number = len(self._lines)
        button.connect("clicked()", lambda: self._fix(number))
        self._lines.append((label, button))

    def _fix(self, number: int) -> None:
        if number < len(self._problems):
            fix = self._problems[number].fix
            if fix is not None:
                fix()


def escaped(text: str) -> str:
    """Return a text as it is read in rich text."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _described(problem: CaseProblem) -> str:
    color = words.SEVERITY_COLORS[problem.severity]
    remedy = escaped(_sentence(problem.remedy)) if problem.remedy else ""
    return f'<span style="color:{color}">{escaped(_sentence(problem.what))}</span> {remedy}'.strip()


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _setText(widget: Any, text: str) -> None:
    if widget.text != text:
        widget.text = text
