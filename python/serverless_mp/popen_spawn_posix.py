"""CPython's `multiprocessing.popen_spawn_posix` itself, under our name. Our processes are launched by `local.popen`."""

import sys
from multiprocessing import popen_spawn_posix

sys.modules[__name__] = popen_spawn_posix
