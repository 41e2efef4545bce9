#!/bin/sh
# The custom runtime: AWS' own runtime client with our handler. A wrapper is honoured as in the managed runtimes.
export PYTHONPATH="$LAMBDA_TASK_ROOT${PYTHONPATH:+:$PYTHONPATH}"
handler=${_HANDLER:-serverless_mp_index.handler}
exec $AWS_LAMBDA_EXEC_WRAPPER @INTERPRETER@ -m awslambdaric "$handler"
