#!/bin/sh
# For AWS_LAMBDA_EXEC_WRAPPER=/opt/serverless-mp: Lambda hands over the command of its runtime, which then runs with our
# multiprocessing: `python bootstrap.py` becomes `python -m serverless_mp.cli run bootstrap.py`.
here=$(dirname "$0")
export PYTHONPATH="$here/python:$here${PYTHONPATH:+:$PYTHONPATH}"
interpreter=$1
shift
exec "$interpreter" -m serverless_mp.cli run "$@"
