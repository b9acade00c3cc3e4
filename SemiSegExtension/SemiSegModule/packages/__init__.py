"""Packages: what would change, the installation beside Slicer, and the check of this computer."""
