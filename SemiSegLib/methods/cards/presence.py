"""The card of a run that trains a presence network and nothing else. It is no method: it segments nothing."""

from __future__ import annotations

from SemiSegLib.methods.catalogue import Card

PRESENCE = Card(
    name="presence",
    title="Presence network",
    summary="Tells which structures an image holds; for methods that need to know it of structures nobody drew.",
    family="partial labels",
    paper="Zhao et al., Exploiting latent classes for medical image segmentation from partially labeled datasets",
    needs=("full", "coarse", "partial"),
    uses=("full", "coarse", "partial"),
    composition={"full": 1.0, "coarse": 1.0, "partial": 1.0},
    stages=("presence",),
)
