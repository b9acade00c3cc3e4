"""Methods for cases of which each shows some structures: one-vs-all heads, and latent classes (paper 002)."""
