"""CPython's `multiprocessing.spawn` itself, under our name, unchanged."""

import sys
from multiprocessing import spawn

sys.modules[__name__] = spawn
