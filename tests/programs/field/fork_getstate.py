import multiprocessing as mp


class Env:
    def __init__(self):
        self.domains = {"py": 1}
        self.cache = {}

    def __getstate__(self):
        d = self.__dict__.copy()
        d["domains"] = None
        return d


def work(env, q):
    q.put(env.domains)


if __name__ == "__main__":
    q = mp.SimpleQueue()
    p = mp.get_context("fork").Process(target=work, args=(Env(), q))
    p.start()
    p.join()
    print(q.get())
