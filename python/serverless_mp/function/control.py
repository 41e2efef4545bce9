"""The messages, of one byte each, between a worker in a function and its supervisor."""

from __future__ import annotations

# From the worker: send the output before the exit record; the exit record is written; another worker had the job.
FLUSH, EXITED, NOT_NEEDED = b"f", b"x", b"t"
# From the supervisor: all output is sent.
FLUSHED = b"k"
