"""The teacher: a network that follows another as a running mean of its weights and is never trained itself."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from SemiSegLib.config import check_choice, check_range

BUFFERS = ("average", "copy", "keep")


class Teacher(nn.Module):
    """A running mean of a student's weights (mean teacher, Tarvainen and Valpola 2017).

        theta_T <- a theta_T + (1 - a) theta_S,   a = min(1 - 1 / (t + 1), decay)

    t counts the updates from 0, so the first makes the teacher equal to the student. The teacher's own parameters have
    no gradient, it stays in evaluation while the method is trained, and all its state lies in the state dict.

    Args:
        student: copied at once.
        decay: 0 to 1; 0.99 has a half-life of 69 updates, 0.999 of 693.
        buffers: "average" follows the running statistics like the weights (EMAN, Cai et al. 2021), "copy" takes the
            student's as they are, "keep" never touches them (the released code of papers 000 and 003, whose teachers
            run in training mode and gather statistics of their own).
    """

    updates: Tensor

    def __init__(self, student: nn.Module, *, decay: float, buffers: str = "average") -> None:
        super().__init__()
        check_range("decay", decay, low=0.0, high=1.0)
        check_choice("buffers", buffers, BUFFERS)
        self.decay, self.buffer_rule = decay, buffers
        self.network = copy.deepcopy(student).requires_grad_(False)
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        # The same number where reading it does not wait for the device; unknown after a state was loaded.
        self._count: int | None = None
        self.eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation, whatever the method around it does."""
        super().train(False)
        return self

    def forward(self, *inputs: Any) -> Any:
        """Return what the network says, without a graph."""
        with torch.no_grad():
            return self.network(*inputs)

    @torch.no_grad()
    def follow(self, student: nn.Module) -> None:
        """Take one step toward the student."""
        if self._count is None:
            self._count = int(self.updates)
        decay = min(1 - 1 / (self._count + 1), self.decay)
        own: list[Tensor] = list(self.network.parameters())
        other: list[Tensor] = list(student.parameters())
        if self.buffer_rule != "keep":
            for mine, theirs in zip(self.network.buffers(), student.buffers(), strict=True):
                if self.buffer_rule == "copy" or not mine.is_floating_point():
                    mine.copy_(theirs)
                else:
                    own.append(mine)
                    other.append(theirs)
        torch._foreach_lerp_(own, other, 1 - decay)
        self.updates += 1
        self._count += 1

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        super()._load_from_state_dict(*arguments, **keywords)
        self._count = None


class Teachers(nn.ModuleList):
    """One teacher for each of several students, in their order.

    Args:
        students: copied at once.
        decay: of every teacher.
    """

    def __init__(self, students: Iterable[nn.Module], *, decay: float) -> None:
        super().__init__(Teacher(student, decay=decay) for student in students)

    def follow(self, students: Iterable[nn.Module]) -> None:
        """Let each take one step toward its student."""
        for teacher, student in zip(self, students, strict=True):
            assert isinstance(teacher, Teacher)
            teacher.follow(student)
