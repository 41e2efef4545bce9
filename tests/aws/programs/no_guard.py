"""A script as written for Linux: no guard, a changed global, a lambda as a target."""

from multiprocessing import Pool, Process, SimpleQueue

factor = 3
results = SimpleQueue()


def scaled(x):
    return x * factor


def tell():
    results.put(("nested", factor))


factor = 4
with Pool(2) as pool:
    print(pool.map(scaled, range(5)))
process = Process(target=lambda: tell())
process.start()
print(results.get())
process.join()
print(process.exitcode)
