"""What this computer offers: packages, devices tried by a real 3-D convolution, disk and memory, and one advice.

``python -m SemiSegLib.doctor`` prints it as JSON, for a panel that has no torch itself.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

import SemiSegLib
from SemiSegLib.config import to_json
from SemiSegLib.methods.cards import CARDS
from SemiSegLib.planning.memory import is_out_of_memory
from SemiSegLib.prediction.device import try_device

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "safetensors", "edt", "typer", "rich", "matplotlib")
FULL = "another program has all of its memory"


@dataclass(frozen=True)
class DeviceTrial:
    """One device and how a convolution and its gradient ran there.

    Attributes:
        device: "cpu", "cuda:0" or "mps".
        title: what the device is.
        memory_gib: memory of the device, or None where it is the computer's.
        milliseconds: forward and backward pass of the trial, or None if it failed.
        failure: what went wrong, or "".
    """

    device: str
    title: str
    memory_gib: float | None
    milliseconds: float | None
    failure: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """What was found.

    Attributes:
        system: operating system, Python and version of SemiSeg.
        packages: package to version, or None where it is not installed.
        devices: one trial per device.
        free_disk_gib: in the current folder.
        methods: registered methods.
        advice: one sentence.
    """

    system: str
    packages: dict[str, str | None]
    devices: tuple[DeviceTrial, ...]
    free_disk_gib: float
    methods: tuple[str, ...]
    advice: str


def diagnose(folder: Path | None = None) -> Diagnosis:
    """Try every device and return what was found, in under 20 seconds."""
    devices = tuple(_try_device(name, title, memory) for name, title, memory in _devices())
    return Diagnosis(
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}, "
        f"SemiSeg {SemiSegLib.__version__}",
        packages={name: _version(name) for name in PACKAGES},
        devices=devices,
        free_disk_gib=shutil.disk_usage(folder or Path.cwd()).free / 2**30,
        methods=tuple(card.name for card in CARDS),
        advice=_advice(devices),
    )


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[tuple[str, str, float | None]]:
    found: list[tuple[str, str, float | None]] = []
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(index)
            capability = f"{properties.major}.{properties.minor}"
            title = f"{properties.name}, compute capability {capability}, CUDA {torch.version.cuda}"
            found.append((f"cuda:{index}", title, properties.total_memory / 2**30))
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple GPU", None))
    found.append(("cpu", f"{platform.processor() or platform.machine()}, {torch.get_num_threads()} threads", None))
    return found


def _try_device(name: str, title: str, memory_gib: float | None) -> DeviceTrial:
    try:
        return DeviceTrial(name, title, memory_gib, try_device(name))
    except (RuntimeError, NotImplementedError) as error:
        failure = FULL if is_out_of_memory(error) else str(error).splitlines()[0]
        return DeviceTrial(name, title, memory_gib, None, failure)


def _advice(devices: tuple[DeviceTrial, ...]) -> str:
    failed = [d for d in devices if d.failure not in ("", FULL)]
    # In the order in which "auto" takes the first that works, see ``pick_device``; one that is full counts as working.
    working = [d for d in devices if d not in failed and d.device != "cpu"]
    if failed:
        return (
            f"{failed[0].device} is there but does not work ({failed[0].failure}): install the PyTorch build for this "
            f"device, or update its driver. Training runs on {working[0].device if working else 'the CPU'} meanwhile."
        )
    if not working:
        return "No GPU that PyTorch can use was found: training runs on the CPU, which suits small scans."
    if working[0].failure == FULL:
        return f"The memory of {working[0].device} is full: close other programs that use it before a training."
    small = working[0].memory_gib is not None and working[0].memory_gib < 6
    return f"Training will use {working[0].device}" + (
        ", with small patches because its memory is small." if small else "."
    )


def main() -> int:
    """Print what was found as one line of JSON."""
    sys.stdout.write(json.dumps(to_json(diagnose()), ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
