"""What other names, libraries and frameworks need to find ours behind the name `multiprocessing`."""
