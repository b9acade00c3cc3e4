"""From the names of structures to a vector each, of a text encoder or of a file."""
