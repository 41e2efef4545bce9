"""The messages between a worker in a function and its supervisor, over a socket: single bytes."""

from __future__ import annotations

# The worker: its output is to be sent before its exit record; the record is written; another worker had its job.
FLUSH, EXITED, NOT_NEEDED = b"f", b"x", b"t"
# The supervisor: all output is sent.
FLUSHED = b"k"
