"""Replaces the managed runtime's own bootstrap: sets the module search path as AWS documents it, and runs AWS' client."""

import os
import sys

version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
for layer in ("/opt/python", f"/opt/python/lib/{version}/site-packages"):
    if os.path.isdir(layer):
        sys.path.insert(0, layer)
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

from awslambdaric.__main__ import main  # noqa: E402 - found on the path that was just set

main(["bootstrap", os.environ["_HANDLER"]])
