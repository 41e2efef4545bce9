"""Adapters for other names, libraries and frameworks, so that they use this package behind the name `multiprocessing`."""
