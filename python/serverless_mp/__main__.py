"""`python -m serverless_mp`: the command line."""

import sys

from .cli import main

sys.argv[0] = "serverless-mp"
main()
