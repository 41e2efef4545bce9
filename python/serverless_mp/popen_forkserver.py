"""CPython's `multiprocessing.popen_forkserver` itself, under our name. Our processes are launched by `local.popen`."""

import sys
from multiprocessing import popen_forkserver

sys.modules[__name__] = popen_forkserver
