"""Parts for tests: small modules and data, recorders, a simple trainer, and the kits that prove a part right."""

from lt_core.testing.boring import BoringModel as BoringModel
from lt_core.testing.boring import DemoModel as DemoModel
from lt_core.testing.boring import ManualOptimBoringModel as ManualOptimBoringModel
from lt_core.testing.boring import RandomDataset as RandomDataset
from lt_core.testing.boring import RandomDictDataset as RandomDictDataset
from lt_core.testing.boring import RandomIterableDataset as RandomIterableDataset
from lt_core.testing.boring import RandomIterableDatasetWithLen as RandomIterableDatasetWithLen
from lt_core.testing.mini_trainer import MiniTrainer as MiniTrainer

__all__ = [
    "BoringModel",
    "DemoModel",
    "ManualOptimBoringModel",
    "MiniTrainer",
    "RandomDataset",
    "RandomDictDataset",
    "RandomIterableDataset",
    "RandomIterableDatasetWithLen",
]
