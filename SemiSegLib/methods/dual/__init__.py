"""Methods that predict classes and signed distances and make them agree (paper 003)."""
