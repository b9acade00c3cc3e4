"""Model files for panel tests: what a trained one says of itself, and one weight; nothing in them needs torch."""

import json

from SemiSegLib.config import to_json
from SemiSegLib.labels.scheme import LabelScheme, Structure

SCHEME = LabelScheme(
    name="phantom",
    structures=(
        Structure(name="organ", color=(0.1, 0.4, 0.9)),
        Structure(name="head", parent="organ"),
        Structure(name="tail", parent="organ"),
        Structure(name="vessel", color=(0.9, 0.1, 0.1)),
    ),
)
PROVENANCE = {
    "title": "organ & vessel",
    "created": "2026-11-20 10:00:00",
    "training_cases": {"full": 4, "coarse": 8},
    "validation_dice": 0.876,
    "structure_dice": {"head": 0.85, "tail": 0.84},
}


def a_model_file(path, *, channels=("image",), normalization="zscore", method="marginal", number=1, scheme=SCHEME):
    """Write a model file and return its path."""
    plan = {
        "channels": [{"role": role, "normalization": normalization} for role in channels],
        "dimensions": 3,
        "spacing_mm": [1.0, 1.0, 1.0],
        "patch": [32, 32, 32],
        "network": {"backbone": "plan_unet"},
    }
    description = {
        "format": number,
        "method": method,
        "options": {},
        "scheme": to_json(scheme),
        "plan": plan,
        "provenance": PROVENANCE,
    }
    header = {
        "__metadata__": {"semiseg-model": json.dumps(description)},
        "weight": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
    }
    text = json.dumps(header).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(len(text).to_bytes(8, "little") + text + bytes(4))
    return path
