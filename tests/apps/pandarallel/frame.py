"""The operations of pandarallel's README, with and without its progress bar."""

import math
import sys

import numpy as np
import pandas as pd
from pandarallel import pandarallel

SCALE = 3


def root(row):
    return math.sin(row.a**2) + math.sin(row.b**2) * SCALE


def of_group(group):
    return (group.a * group.b).sum()


pandarallel.initialize(nb_workers=4, progress_bar="bar" in sys.argv, verbose=1)
random = np.random.default_rng(3)
frame = pd.DataFrame({"a": random.integers(1, 8, 4000), "b": random.random(4000)})

print("apply", frame.parallel_apply(root, axis=1).sum())
print("series", frame.b.parallel_apply(lambda value: math.cos(value)).sum())
print("map", frame.a.parallel_map(lambda value: value * 2).sum())
print("groupby", frame.groupby("a").parallel_apply(of_group).to_dict())
print("rolling", frame.groupby("a").b.rolling(4).parallel_apply(lambda values: values.sum(), raw=False).sum())
