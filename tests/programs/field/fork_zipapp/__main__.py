import multiprocessing as mp

import conf

if __name__ == "__main__":
    conf.SETTINGS["n"] = 42
    conf.LEVEL = 7
    with mp.get_context("fork").Pool(1) as p:
        print(p.map(conf.job, [1, 2]))
