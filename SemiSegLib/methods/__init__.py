"""The methods: what each learns from a batch and how it predicts."""
