def _make():
    class Counter:
        def __init__(self):
            self.calls = 0

        def __call__(self):
            self.calls += 1
            return self.calls

    return Counter()


count = _make()
