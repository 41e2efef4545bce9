SETTINGS = {"n": 0}
LEVEL = 0


def job(x):
    return x + SETTINGS["n"], LEVEL
