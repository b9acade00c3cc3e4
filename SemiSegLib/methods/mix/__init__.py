"""HierarchicalMix: lessons without subclass labels, from mixed-in structures and pseudo-labels (paper 000)."""
