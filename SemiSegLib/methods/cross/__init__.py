"""Two networks that teach each other by pseudo-labels (paper 001)."""
