"""CPython's `multiprocessing.dummy` itself, under our name, unchanged."""

import sys
from multiprocessing import dummy

sys.modules[__name__] = dummy
