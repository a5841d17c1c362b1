"""Parts for tests: small modules and data, recorders, a simple trainer, and the kits that prove a part right."""

from lt_core.testing.boring import BoringModel as BoringModel
from lt_core.testing.boring import DemoModel as DemoModel
from lt_core.testing.boring import ManualOptimBoringModel as ManualOptimBoringModel
from lt_core.testing.boring import RandomDataset as RandomDataset
from lt_core.testing.boring import RandomDictDataset as RandomDictDataset
from lt_core.testing.boring import RandomIterableDataset as RandomIterableDataset
from lt_core.testing.boring import RandomIterableDatasetWithLen as RandomIterableDatasetWithLen
from lt_core.testing.check import Check as Check
from lt_core.testing.check import ConformanceError as ConformanceError
from lt_core.testing.check import run_checks as run_checks
from lt_core.testing.kit_parts import CountingCallback as CountingCallback
from lt_core.testing.kit_parts import KitModule as KitModule
from lt_core.testing.kit_parts import MakeTrainer as MakeTrainer
from lt_core.testing.kit_parts import StopAt as StopAt
from lt_core.testing.kit_parts import kit_loader as kit_loader
from lt_core.testing.mini_trainer import MiniTrainer as MiniTrainer
from lt_core.testing.part_kit_callbacks import MakeCallback as MakeCallback
from lt_core.testing.part_kit_callbacks import callback_checks as callback_checks
from lt_core.testing.part_kit_callbacks import check_callback as check_callback
from lt_core.testing.part_kit_loggers import MakeLogger as MakeLogger
from lt_core.testing.part_kit_loggers import check_logger as check_logger
from lt_core.testing.part_kit_loggers import logger_checks as logger_checks
from lt_core.testing.ranks import RankError as RankError
from lt_core.testing.ranks import run_ranks as run_ranks
from lt_core.testing.recording import Call as Call
from lt_core.testing.recording import RecordingCallback as RecordingCallback
from lt_core.testing.recording import RecordingLogger as RecordingLogger
from lt_core.testing.recording import RecordingModule as RecordingModule
from lt_core.testing.trainer_kit import check_trainer as check_trainer
from lt_core.testing.trainer_kit import trainer_checks as trainer_checks

__all__ = [
    "BoringModel",
    "Call",
    "Check",
    "ConformanceError",
    "CountingCallback",
    "DemoModel",
    "KitModule",
    "MakeCallback",
    "MakeLogger",
    "MakeTrainer",
    "ManualOptimBoringModel",
    "MiniTrainer",
    "RandomDataset",
    "RandomDictDataset",
    "RandomIterableDataset",
    "RandomIterableDatasetWithLen",
    "RankError",
    "RecordingCallback",
    "RecordingLogger",
    "RecordingModule",
    "StopAt",
    "callback_checks",
    "check_callback",
    "check_logger",
    "check_trainer",
    "kit_loader",
    "logger_checks",
    "run_checks",
    "run_ranks",
    "trainer_checks",
]
