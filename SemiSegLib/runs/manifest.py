"""What a run was made with: versions, hardware, seed, data, settings. This is ``environment.json``."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from SemiSegLib.config import read_json, to_json, write_json

PACKAGES = ("torch", "monai", "numpy", "scipy", "SimpleITK", "safetensors", "edt", "einops")


def read_manifest(path: Path) -> dict[str, Any]:
    """Return what an earlier session of the run wrote, or {}."""
    return dict(read_json(path)) if path.exists() else {}


def add_to_manifest(path: Path, **entries: Any) -> None:
    """Add entries to the file, replacing those of the same name."""
    write_json(path, {**read_manifest(path), **to_json(entries)})


def describe_machine() -> dict[str, Any]:
    """Return versions and hardware; no names of people or computers, no paths."""
    return {
        "python": platform.python_version(),
        "packages": _versions(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _versions() -> Mapping[str, str | None]:
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if sys.platform == "linux" and information.exists():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()
