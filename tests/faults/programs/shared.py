"""Puts locks into the store, like locks that were given to another process."""


def shared(*locks):
    """Shares the locks; returns them, or the single one."""
    for lock in locks:
        lock._semlock.share()
    return locks if len(locks) > 1 else locks[0]
