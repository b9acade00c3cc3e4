"""Methods by which a second network judges predictions."""
