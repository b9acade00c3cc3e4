"""Loss functions: pure, each with its equation and its empty cases."""
