"""Locks by their bound methods, and with attributes of the program: the same lock, with one owner and one count."""

import multiprocessing as mp

mp.set_start_method("fork")


class Counter:
    def __init__(self):
        self.value = mp.Value("i", 0, lock=False)
        self.lock = mp.RLock()
        self.lock.purpose = "to count"
        self.acquire, self.release = self.lock.acquire, self.lock.release

    def add(self):
        self.acquire()
        try:
            with self.lock:
                self.value.value += 1
        finally:
            self.release()


counter, total, condition = Counter(), mp.Value("i"), mp.Condition()
take, take_condition = total.acquire, condition.acquire


def work():
    for _ in range(10):
        counter.add()
    take()
    total.value += 1
    total.release()
    take_condition()
    condition.notify()
    condition.release()
    assert counter.lock.purpose == "to count"


if __name__ == "__main__":
    processes = [mp.Process(target=work, daemon=True) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(30)
    print([process.exitcode for process in processes], counter.value.value, total.value)
