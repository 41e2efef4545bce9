"""The code of a worker: the zygote that it is forked from, and the job that it runs."""
