"""CPython's `multiprocessing.spawn` itself, under our name: nothing in it differs."""

import sys
from multiprocessing import spawn

sys.modules[__name__] = spawn
