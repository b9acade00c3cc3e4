"""The scene that bridge tests fill; the host empties it before each test."""

import pytest


@pytest.fixture
def scene(host):
    """What `slicer.mrmlScene` is, empty."""
    return host.app.mrmlScene()
