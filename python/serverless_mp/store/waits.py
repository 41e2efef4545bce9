"""The functions in which a thread only waits.

While all other threads wait, the mappings of shared memory can change: none of these functions writes to memory of the program
without the interpreter's lock.
"""

from __future__ import annotations

import os
from pathlib import Path

_LIBRARY, _OURS = os.path.dirname(os.__file__), str(Path(__file__).parent.parent)

# The file and the name of each.
WAITS = [
    (os.path.join(_LIBRARY, "threading.py"), "wait"),
    (os.path.join(_LIBRARY, "threading.py"), "join"),
    (os.path.join(_LIBRARY, "threading.py"), "_wait_for_tstate_lock"),
    (os.path.join(_LIBRARY, "selectors.py"), "select"),
    (os.path.join(_LIBRARY, "multiprocessing", "pool.py"), "_handle_tasks"),
    (os.path.join(_OURS, "connection.py"), "recv"),
    (os.path.join(_OURS, "connection.py"), "_recv_bytes"),
    (os.path.join(_OURS, "connection.py"), "accept"),
    (os.path.join(_OURS, "pool.py"), "get"),
    (os.path.join(_OURS, "queues.py"), "get"),
]

# A thread of these functions that waits has nothing to do, and reads no memory of the program until the program gives it
# something.
IDLE = [(os.path.join(_OURS, "queues.py"), "_feed")]
