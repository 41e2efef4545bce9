"""Adapters for other names, libraries and frameworks, so that they find ours behind the name `multiprocessing`."""
