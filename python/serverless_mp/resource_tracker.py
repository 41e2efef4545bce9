"""CPython's `multiprocessing.resource_tracker` itself, under our name, unchanged."""

import sys
from multiprocessing import resource_tracker

sys.modules[__name__] = resource_tracker
