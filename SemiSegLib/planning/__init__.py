"""From a dataset to a plan: spacing, patch, batch, normalization and network shape."""
