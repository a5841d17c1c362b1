"""The Trainer and all that runs: loops, optimisation, devices, strategies, precision, checkpoint IO, profilers."""

from lt_loops.strategies import SingleDeviceStrategy as SingleDeviceStrategy
from lt_loops.strategies import Strategy as Strategy
from lt_loops.trainer import Trainer as Trainer

__version__ = "0.1.0"

__all__ = ["SingleDeviceStrategy", "Strategy", "Trainer"]
