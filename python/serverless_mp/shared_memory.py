"""CPython's `multiprocessing.shared_memory` itself, under our name: nothing in it differs."""

import sys
from multiprocessing import shared_memory

sys.modules[__name__] = shared_memory
