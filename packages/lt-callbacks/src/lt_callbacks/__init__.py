"""Checkpointing, early stopping, progress bars, summaries and monitors for lt.

Nothing here imports rich, tqdm, matplotlib or psutil before something is drawn or measured.
"""

from lt_callbacks.device_stats_monitor import DeviceStatsMonitor
from lt_callbacks.early_stopping import EarlyStopping, EarlyStoppingReason
from lt_callbacks.finetuning import BackboneFinetuning, BaseFinetuning
from lt_callbacks.gradient_accumulation_scheduler import GradientAccumulationScheduler
from lt_callbacks.history_plot import HistoryPlot
from lt_callbacks.lambda_function import LambdaCallback
from lt_callbacks.lr_monitor import LearningRateMonitor
from lt_callbacks.model_checkpoint import ModelCheckpoint
from lt_callbacks.model_summary import ModelSummary
from lt_callbacks.on_exception_checkpoint import OnExceptionCheckpoint
from lt_callbacks.prediction_writer import BasePredictionWriter
from lt_callbacks.progress import ProgressBar, RichProgressBar, RichProgressBarTheme, TQDMProgressBar
from lt_callbacks.pruning import ModelPruning
from lt_callbacks.rich_model_summary import RichModelSummary
from lt_callbacks.spike import SpikeDetection, TrainingSpikeException
from lt_callbacks.stochastic_weight_avg import StochasticWeightAveraging
from lt_callbacks.throughput import Throughput, measure_flops
from lt_callbacks.throughput_monitor import ThroughputMonitor
from lt_callbacks.timer import Timer
from lt_callbacks.weight_averaging import EMAWeightAveraging, WeightAveraging
from lt_core.callback import Callback, Checkpoint

__all__ = [
    "BackboneFinetuning",
    "BaseFinetuning",
    "BasePredictionWriter",
    "Callback",
    "Checkpoint",
    "DeviceStatsMonitor",
    "EMAWeightAveraging",
    "EarlyStopping",
    "EarlyStoppingReason",
    "GradientAccumulationScheduler",
    "HistoryPlot",
    "LambdaCallback",
    "LearningRateMonitor",
    "ModelCheckpoint",
    "ModelPruning",
    "ModelSummary",
    "OnExceptionCheckpoint",
    "ProgressBar",
    "RichModelSummary",
    "RichProgressBar",
    "RichProgressBarTheme",
    "SpikeDetection",
    "StochasticWeightAveraging",
    "TQDMProgressBar",
    "Throughput",
    "ThroughputMonitor",
    "Timer",
    "TrainingSpikeException",
    "WeightAveraging",
    "measure_flops",
]
