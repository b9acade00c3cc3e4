"""Methods by which a running mean of the network teaches it."""
