"""Processes on this machine: forked by a parent that has our modules loaded."""
