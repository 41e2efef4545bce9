"""CPython's `multiprocessing.forkserver` itself, under our name. Our processes are launched by `local.popen`."""

import sys
from multiprocessing import forkserver

sys.modules[__name__] = forkserver
