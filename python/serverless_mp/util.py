"""CPython's `multiprocessing.util` itself, under our name: nothing in it differs."""

import sys
from multiprocessing import util

sys.modules[__name__] = util
