"""The program whose processes are launched: which code is its own, and which parts of it are transferred."""

import sys
import time

# Recorded before the program begins: names that it adds to `sys` later are its own, and a file that was written since may
# differ from the one that was imported.
BEGUN = time.time()
IN_SYS_AT_FIRST = dict(vars(sys))
