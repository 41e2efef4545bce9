"""What runs in a worker: the zygote that it is forked from, and the one process that it becomes."""
