"""The program whose processes are launched: which code is its own, and what of it travels."""

import sys
import time

# Imported before the program begins: what it gives to `sys` later is its own, and a file that was written since may be
# another one than that which was imported.
BEGUN = time.time()
IN_SYS_AT_FIRST = dict(vars(sys))
