"""Stands for the managed runtime's own: the module search path as AWS documents it, then AWS' client."""

import os
import sys

version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
for layer in ("/opt/python", f"/opt/python/lib/{version}/site-packages"):
    if os.path.isdir(layer):
        sys.path.insert(0, layer)
sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])

from awslambdaric.__main__ import main  # noqa: E402 - it is in the path just made

main(["bootstrap", os.environ["_HANDLER"]])
