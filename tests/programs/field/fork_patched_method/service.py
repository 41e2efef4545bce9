import json
import time

CONFIG = {"url": "http://real"}


def fetch(n):
    return f"real {n}"


def fetch_all():
    return [str(fetch(i)) for i in range(2)]


class Client:
    def get(self, k):
        return "real " + k


def report(q):
    q.put(
        (
            fetch(1) if not callable(getattr(fetch, "assert_called", None)) else str(fetch(1)),
            CONFIG["url"],
            Client().get("y"),
            time.time() == 5.0,
            json.dumps({}),
        )
    )
