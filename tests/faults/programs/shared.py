"""Locks that are in the store, as those that a process was given."""


def shared(*locks):
    """The same locks; one if there is one."""
    for lock in locks:
        lock._semlock.share()
    return locks if len(locks) > 1 else locks[0]
