"""The only place that knows both worlds: from nodes of the scene to files, and from files to new nodes."""
