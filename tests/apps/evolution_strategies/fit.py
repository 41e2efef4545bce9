"""Fits the weights of a network by evolution: the loop of evostra's README, with an objective in `__main__`."""

import numpy as np
from evostra import EvolutionStrategy
from evostra.models import FeedForwardNetwork

# The script has no guard: it is written for Linux, where processes fork.
np.random.seed(7)  # evostra uses NumPy's global generator
inputs = np.array([1.0, 2.0, 3.0, 4.0])
wanted = np.array([0.1, -0.4, 0.6, 0.2])
model = FeedForwardNetwork(layer_sizes=[4, 8, 4])


def reward(weights):
    model.set_weights(weights)
    return -np.sum(np.square(wanted - model.predict(inputs)))


strategy = EvolutionStrategy(model.get_weights(), reward, population_size=40, sigma=0.1, learning_rate=0.01, num_threads=4)
strategy.run(60, print_step=20)
print("final reward", repr(float(reward(strategy.get_weights()))))
