"""What a forked process gets of its program where it is a worker that was not forked from it. See README.md beside this."""
