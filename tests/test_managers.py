"""Managers."""

import multiprocessing

import pytest


def use(d, l, ns, lock, queue):
    d["from the worker"] = [1, 2]
    with lock:
        l.append("worker")
    ns.x += 1
    queue.put("done")


def test_proxies(mp):
    with mp.Manager() as manager:
        d, l, ns = manager.dict(a=1), manager.list([1]), manager.Namespace(x=1)
        lock, queue = manager.Lock(), manager.Queue()
        process = mp.Process(target=use, args=(d, l, ns, lock, queue))
        process.start()
        assert queue.get(timeout=30) == "done"
        process.join()
        assert dict(d) == {"a": 1, "from the worker": [1, 2]}
        assert list(l) == [1, "worker"]
        assert ns.x == 2
        event, value, array = manager.Event(), manager.Value("i", 3), manager.Array("i", [1, 2])
        event.set()
        assert event.is_set() and value.value == 3 and array[1] == 2
        pool = manager.Pool(2)
        assert pool.map(abs, [-1, -2]) == [1, 2]
        with pytest.raises(KeyError):
            d["absent"]


class Counter:
    def __init__(self, start):
        self.count = start

    def add(self, n):
        self.count += n
        return self.count


def test_own_types(smp):
    from serverless_mp.managers import BaseManager

    class CounterManager(BaseManager):
        pass

    CounterManager.register("Counter", Counter)
    manager = CounterManager(ctx=smp)
    server = manager.get_server()
    assert server.address.startswith("serverless-mp:")
    server.listener.close()


def test_the_key_is_checked(smp):
    from serverless_mp.managers import BaseManager

    with smp.Manager() as manager:
        other = BaseManager(address=manager.address, authkey=b"another")
        with pytest.raises(multiprocessing.AuthenticationError):
            other.connect()
