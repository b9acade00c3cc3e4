"""Pieces that several methods share: the network and how labels teach it, teachers, ramps, random passes."""
