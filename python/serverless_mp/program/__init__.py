"""The program whose processes are launched: which code is its own, and what of it travels."""
