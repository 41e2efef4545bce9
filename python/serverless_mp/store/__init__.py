"""The store of a session: the choice of the store, a private server, and the references that keep objects alive."""
