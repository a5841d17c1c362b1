"""What every part of lt stands on: LightningModule, Callback, protocols, hooks, logging sink, checkpoint files.

What only trainers need is loaded when it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from lt_core.callback import Callback as Callback
from lt_core.callback import Checkpoint as Checkpoint
from lt_core.data_hooks import DataHooks as DataHooks
from lt_core.errors import CheckpointError as CheckpointError
from lt_core.errors import LtError as LtError
from lt_core.errors import MisconfigurationException as MisconfigurationException
from lt_core.errors import MissingPackageError as MissingPackageError
from lt_core.errors import SIGTERMException as SIGTERMException
from lt_core.hooks.check import not_a_hook as not_a_hook
from lt_core.hparams import AttributeDict as AttributeDict
from lt_core.hparams import HyperparametersMixin as HyperparametersMixin
from lt_core.logger import DummyLogger as DummyLogger
from lt_core.logger import Logger as Logger
from lt_core.module import LightningModule as LightningModule
from lt_core.optimizer import LightningOptimizer as LightningOptimizer
from lt_core.rank_zero import rank_zero_only as rank_zero_only
from lt_core.seed import isolate_rng as isolate_rng
from lt_core.seed import seed_everything as seed_everything
from lt_core.state import RunningStage as RunningStage
from lt_core.state import TrainerFn as TrainerFn
from lt_core.state import TrainerState as TrainerState
from lt_core.transfer import move_data_to_device as move_data_to_device

if TYPE_CHECKING:
    from lt_core.combined_loader import CombinedLoader as CombinedLoader
    from lt_core.log.sink import LogSink as LogSink
    from lt_core.loop_trainer import LoopTrainer as LoopTrainer
    from lt_core.protocols import DataModuleProtocol as DataModuleProtocol
    from lt_core.protocols import LoggerProtocol as LoggerProtocol
    from lt_core.protocols import StrategyProtocol as StrategyProtocol
    from lt_core.protocols import TrainerProtocol as TrainerProtocol
    from lt_core.trainer_base import TrainerBase as TrainerBase

__version__ = "0.1.0"

__all__ = [
    "AttributeDict",
    "Callback",
    "Checkpoint",
    "CheckpointError",
    "CombinedLoader",
    "DataHooks",
    "DataModuleProtocol",
    "DummyLogger",
    "HyperparametersMixin",
    "LightningModule",
    "LightningOptimizer",
    "LogSink",
    "Logger",
    "LoggerProtocol",
    "LoopTrainer",
    "LtError",
    "MisconfigurationException",
    "MissingPackageError",
    "RunningStage",
    "SIGTERMException",
    "StrategyProtocol",
    "TrainerBase",
    "TrainerFn",
    "TrainerProtocol",
    "TrainerState",
    "isolate_rng",
    "move_data_to_device",
    "not_a_hook",
    "rank_zero_only",
    "seed_everything",
]

_HOMES = {
    "CombinedLoader": "lt_core.combined_loader",
    "DataModuleProtocol": "lt_core.protocols",
    "LogSink": "lt_core.log.sink",
    "LoggerProtocol": "lt_core.protocols",
    "LoopTrainer": "lt_core.loop_trainer",
    "StrategyProtocol": "lt_core.protocols",
    "TrainerBase": "lt_core.trainer_base",
    "TrainerProtocol": "lt_core.protocols",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
