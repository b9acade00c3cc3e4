"""The run folder: how the panel, the console, the command line and the worker meet; standard library only."""
