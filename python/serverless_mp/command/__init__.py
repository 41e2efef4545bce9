"""The command `serverless-mp`: programs that it runs, and the report of a run."""
