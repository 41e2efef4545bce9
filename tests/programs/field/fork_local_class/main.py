import multiprocessing as mp

import modown


def work():
    print("count", modown.count(), flush=True)


if __name__ == "__main__":
    ctx = mp.get_context("fork")
    modown.count()
    p = ctx.Process(target=work)
    p.start()
    p.join()
    print("exit code", p.exitcode)
