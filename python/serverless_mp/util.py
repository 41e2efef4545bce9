"""CPython's `multiprocessing.util` itself, under our name, unchanged."""

import sys
from multiprocessing import util

sys.modules[__name__] = util
