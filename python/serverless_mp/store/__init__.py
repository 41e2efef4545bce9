"""The store of a session: which one it is, its server if it is our own, and what keeps objects in it alive."""
