"""Backbones and heads: from an image to named outputs."""
