K = 1


def getk():
    return K
