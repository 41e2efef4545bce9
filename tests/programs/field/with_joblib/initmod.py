state = None


def init(x):
    global state
    state = x


def get(i):
    return state
