"""How a model's structures are shown: by the tree, in shades of their whole's color, without the absent ones."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from SemiSegLib.labels.scheme import name_key
from SemiSegModule.bridge.scene_case import SUPERCLASS_TAG
from SemiSegModule.bridge.segmentation_file import NO_COLOR, FileSegment

STATE_TAG, SCORE_TAG = "SemiSeg.State", "SemiSeg.Score"
# What is known of a structure in a scan, see ``SemiSegLib.prediction.findings``.
ANNOTATED, LATENT, ABSENT, AMBIGUOUS = "annotated", "latent", "absent", "ambiguous"
# Neighbors in a list of hues that each go on by this share of the circle are never alike.
_GOLDEN = 0.381966
# Lightness of the first and last of several parts of one whole.
_DARK, _LIGHT = 0.38, 0.72
_SATURATION = 0.75


def arranged(
    segments: Sequence[FileSegment], wholes: Mapping[str, tuple[float, float, float]] | None = None
) -> tuple[FileSegment, ...]:
    """Return the segments that are there, parts of one whole side by side, each with a color.

    Args:
        segments: of a result, with their tags.
        wholes: name of a superclass to its color, as far as the model's scheme gives one.
    """
    groups: dict[str, list[FileSegment]] = {}
    for segment in segments:
        groups.setdefault(wholeOf(segment), []).append(segment)
    shown = []
    for number, (whole, members) in enumerate(groups.items()):
        hue = _hue((wholes or {}).get(whole), [segment.color for segment in members], number)
        for place, segment in enumerate(members):
            color = _shade(hue, place, len(members)) if _isPlain(segment.color) else segment.color
            if segment.tags.get(STATE_TAG) != ABSENT:
                shown.append(replace(segment, color=color))
    return tuple(shown)


def wholeOf(segment: FileSegment) -> str:
    """Return the name of the superclass that a segment is part of; its own if it is one itself."""
    return segment.tags.get(SUPERCLASS_TAG) or segment.name


def schemeColors(names: Sequence[tuple[str, str, tuple[float, float, float]]]) -> dict[str, tuple[float, float, float]]:
    """Return structure name to the color it is shown in.

    Args:
        names: of each structure its name, that of its superclass, and its color.
    """
    segments = [
        FileSegment(id=name, name=name, layer=0, value=1, color=color, tags={SUPERCLASS_TAG: whole})
        for name, whole, color in names
    ]
    wholes = {name: color for name, whole, color in names if name_key(name) == name_key(whole)}
    return {segment.name: segment.color for segment in arranged(segments, wholes)}


def _hue(own: tuple[float, float, float] | None, parts: Sequence[tuple[float, float, float]], number: int) -> float:
    """Return the hue of a whole: of its own color, else of the first of its parts that has one, else one of a row."""
    for color in (own, *parts):
        if color is not None and not _isPlain(color):
            hue, _lightness, saturation = colorsys.rgb_to_hls(*color)
            if saturation > 0:
                return hue
    return (0.02 + number * _GOLDEN) % 1.0


def _shade(hue: float, place: int, count: int) -> tuple[float, float, float]:
    lightness = (_DARK + _LIGHT) / 2 if count == 1 else _DARK + (_LIGHT - _DARK) * place / (count - 1)
    return colorsys.hls_to_rgb(hue, lightness, _SATURATION)


def _isPlain(color: tuple[float, float, float]) -> bool:
    return max(abs(part - plain) for part, plain in zip(color, NO_COLOR, strict=True)) < 1e-3
