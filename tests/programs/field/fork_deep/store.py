"""A module of the program with containers that are filled after its import."""

table = {}
rows = []
names = {"table": table}
