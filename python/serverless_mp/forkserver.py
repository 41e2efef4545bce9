"""CPython's `multiprocessing.forkserver` itself, under our name: processes of ours are launched by `local.popen`."""

import sys
from multiprocessing import forkserver

sys.modules[__name__] = forkserver
