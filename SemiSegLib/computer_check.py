"""What this computer is good for, one line of advice per finding; says something also where torch is not installed.

    python -m SemiSegLib.computer_check ANSWER.json [STUDY_FOLDER]

writes ``[{"severity": "good" | "note" | "warning", "text": ...}, ...]``. Slicer runs it beside itself.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from SemiSegLib.config import write_json

GIB = 2**30
# Below these a training of usual size does not fit; both are told as numbers too.
SMALL_MEMORY_GIB = 7.5
SMALL_DISK_GIB = 10.0
FEW_CORES = 4
NEEDED = ("torch", "monai", "safetensors", "edt", "einops", "scipy", "SimpleITK")
DRIVER_SECONDS = 5


@dataclass(frozen=True)
class Advice:
    """One finding.

    Attributes:
        severity: "good", "note" or "warning" (something should be done).
        text: what was found and, for a warning, what to do.
    """

    severity: Literal["good", "note", "warning"]
    text: str


def check_computer(folder: Path | None = None) -> tuple[Advice, ...]:
    """Return what was found: packages, devices, memory, disk.

    Args:
        folder: where studies will be written, made or not; the current folder if None.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    found = [_packages(missing)]
    found += _card_without_torch() if "torch" in missing else _devices()
    found += [_memory(memory_gib()), _disk(folder or Path.cwd()), _cores(os.cpu_count() or 1)]
    return tuple(found)


def memory_gib() -> float | None:
    """Return the computer's memory in GiB, or None if the system does not tell."""
    if sys.platform == "win32":
        return _windows_memory_gib()
    if "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / GIB


def _packages(missing: list[str]) -> Advice:
    if not missing:
        return Advice("good", "All packages for training and prediction are installed.")
    return Advice(
        "warning",
        f"Not installed: {', '.join(missing)}. Press Install... in the panel, or outside of Slicer run "
        '`pip install -c constraints.txt ".[cli]"` in the folder of SemiSeg.',
    )


def _devices() -> list[Advice]:
    try:
        doctor: Any = importlib.import_module("SemiSegLib.doctor")
        diagnosis = doctor.diagnose()
    except (ImportError, OSError) as error:
        # A library of torch that does not fit the system shows only when it is loaded.
        return [
            Advice(
                "warning",
                f"torch is installed but cannot be loaded ({str(error).splitlines()[0]}): uninstall it in the module "
                "PyTorch Util and install it again.",
            )
        ]
    found = [_device(trial) for trial in diagnosis.devices]
    is_fine = all(advice.severity != "warning" for advice in found)
    return [*found, Advice("good" if is_fine else "warning", diagnosis.advice)]


def _device(trial: Any) -> Advice:
    name = f"{trial.device} ({trial.title})"
    if trial.milliseconds is None:
        return Advice("warning", f"{name} does not work: {trial.failure}. Update its driver, or install torch anew.")
    memory = "" if trial.memory_gib is None else f", {trial.memory_gib:.0f} GiB of memory"
    return Advice("good", f"{name} works{memory}; a small 3-D convolution takes {trial.milliseconds:.1f} ms.")


def _card_without_torch() -> list[Advice]:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return [
            Advice("note", "No NVIDIA graphics card was found; whether another one can be used is known with torch.")
        ]
    command = [tool, "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=DRIVER_SECONDS, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return [Advice("warning", "The driver of the graphics card does not answer: update it, then check again.")]
    cards = [line.strip() for line in told.splitlines() if line.strip()]
    return [Advice("note", f"Graphics card: {card}. Whether it can be used is known with torch.") for card in cards]


def _memory(gib: float | None) -> Advice:
    if gib is None:
        return Advice("note", "The system does not tell how much memory there is.")
    if gib < SMALL_MEMORY_GIB:
        return Advice("warning", f"{gib:.0f} GiB of memory: crop large scans, and close other programs while training.")
    return Advice("good", f"{gib:.0f} GiB of memory.")


def _disk(folder: Path) -> Advice:
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.is_dir())
    free = shutil.disk_usage(there).free / GIB
    if free < SMALL_DISK_GIB:
        return Advice(
            "warning", f"{free:.1f} GiB of disk are free: make room, or choose a study folder on another disk."
        )
    return Advice("good", f"{free:.0f} GiB of disk are free.")


def _cores(count: int) -> Advice:
    system = f"{platform.system()} {platform.release()}, {count} processor threads"
    if count < FEW_CORES:
        return Advice("note", f"{system}: without a graphics card a training takes long; give it more minutes.")
    return Advice("good", f"{system}.")


def _windows_memory_gib() -> float | None:
    class Status(ctypes.Structure):
        _fields_ = [
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in ("total", "free", "a", "b", "c", "d", "e")),
        ]

    status = Status(length=ctypes.sizeof(Status))
    kernel = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined,unused-ignore]
    return status.total / GIB if kernel.GlobalMemoryStatusEx(ctypes.byref(status)) else None


def main(arguments: list[str]) -> int:
    """Write the findings to the file that is named."""
    answer, *folders = arguments
    folder = Path(folders[0]) if folders else None
    write_json(Path(answer), [asdict(advice) for advice in check_computer(folder)])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
