"""Methods that learn subclasses from few fine and many coarse labels (paper 000), and plain supervised training."""
