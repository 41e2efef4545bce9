"""CPython's `multiprocessing.dummy` itself, under our name: nothing in it differs."""

import sys
from multiprocessing import dummy

sys.modules[__name__] = dummy
