"""CPython's `multiprocessing.popen_fork` itself, under our name. Our processes are launched by `local.popen`."""

import sys
from multiprocessing import popen_fork

sys.modules[__name__] = popen_fork
