"""Checkpointing, early stopping, progress bars, summaries and monitors for lt.

Nothing here imports rich or tqdm before a bar or table is made.
"""

from lt_callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lt_callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from lt_callbacks.lambda_function import LambdaCallback
from lt_callbacks.lr_monitor import LearningRateMonitor
from lt_callbacks.model_checkpoint import ModelCheckpoint
from lt_callbacks.model_summary import ModelSummary
from lt_callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from lt_callbacks.progress import ProgressBar, RichProgressBar, RichProgressBarTheme, TQDMProgressBar
from lt_callbacks.rich_model_summary import RichModelSummary
from lt_callbacks.timer import Timer
from lt_core.callback import Callback, Checkpoint

__all__ = [
    "Callback",
    "Checkpoint",
    "EarlyStopping",
    "EarlyStoppingReason",
    "GradientAccumulationScheduler",
    "LambdaCallback",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "RichProgressBarTheme",
    "TQDMProgressBar",
    "Timer",
]
