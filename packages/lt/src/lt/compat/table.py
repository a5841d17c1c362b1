"""Which module of lt each module of Lightning stands for, in one table; the rest of this room follows it.

A path that is the same in lt needs no row: `lightning.pytorch.callbacks.timer` finds `lt.callbacks.timer` by itself, so
that a module which is added to lt is there under its old names the same day. Rows are for paths that moved or went
away. They are keyed by the path's present name: `pytorch_lightning` counts as `lightning.pytorch`.
"""

from __future__ import annotations

from importlib.machinery import PathFinder
from typing import NamedTuple

import lt

__all__ = ["API_VERSION", "ROOTS", "TABLE", "Row", "canonical", "row_of"]

# The release of Lightning whose API lt offers. Checkpoints carry the same number; a test holds the two together.
API_VERSION = "2.6.6"

# What a program may import, and the name that the table knows it by.
ROOTS = {
    "lightning": "lightning",
    "lightning_fabric": "lightning.fabric",
    "pytorch_lightning": "lightning.pytorch",
}

_MODERN = "lightning.pytorch"
# Modules of lt that Lightning never had: found under lt's own name only.
_OURS = frozenset({"__main__", "compat", "data"})


class Row(NamedTuple):
    """What one module of Lightning stands for.

    Attributes:
        sources: The modules whose names it has, the first that has a name wins.
        names: Names that are called otherwise now, or live elsewhere: old name to ``"module:name"``.
    """

    sources: tuple[str, ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012 - a NamedTuple's default, which nobody changes


_VERSION = "lt.compat.table:API_VERSION"
_TYPES = "lt.compat.type_names"
_HELPERS = "lt.compat.helpers"

_OLD_STRATEGIES = {
    "DDPPlugin": "lt.strategies:DDPStrategy",
    "ParallelPlugin": "lt.strategies:ParallelStrategy",
    "SingleDevicePlugin": "lt.strategies:SingleDeviceStrategy",
    "TrainingTypePlugin": "lt.strategies:Strategy",
}
_OLD_PRECISIONS = {
    "DoublePrecisionPlugin": "lt.plugins:DoublePrecision",
    "HalfPrecisionPlugin": "lt.plugins:HalfPrecision",
    "MixedPrecisionPlugin": "lt.plugins:MixedPrecision",
    "NativeMixedPrecisionPlugin": "lt.plugins:MixedPrecision",
    "PrecisionPlugin": "lt.plugins:Precision",
}
_OLD_LOGGERS = {"LightningLoggerBase": "lt.loggers:Logger"}
_OLD_PROFILERS = {"AbstractProfiler": "lt.profilers:Profiler", "BaseProfiler": "lt.profilers:Profiler"}
_RANK_ZERO = {
    name: f"lt.utilities.rank_zero:{name}"
    for name in ("rank_zero_debug", "rank_zero_deprecation", "rank_zero_info", "rank_zero_only", "rank_zero_warn")
}
_EXCEPTIONS = {"MisconfigurationException": "lt.utilities.exceptions:MisconfigurationException"}
_METRICS = {
    "F1": "torchmetrics:F1Score",
    "FBeta": "torchmetrics:FBetaScore",
    "Fbeta": "torchmetrics:FBetaScore",
    "IoU": "torchmetrics:JaccardIndex",
    "MeanSquaredLogError": "torchmetrics:MeanSquaredLogError",
    "PSNR": "torchmetrics.image:PeakSignalNoiseRatio",
    "SSIM": "torchmetrics.image:StructuralSimilarityIndexMeasure",
}
_METRIC_FUNCTIONS = {
    "f1": "torchmetrics.functional:f1_score",
    "f1_score": "torchmetrics.functional:f1_score",
    "fbeta": "torchmetrics.functional:fbeta_score",
    "iou": "torchmetrics.functional:jaccard_index",
    "mae": "torchmetrics.functional:mean_absolute_error",
    "mse": "torchmetrics.functional:mean_squared_error",
    "psnr": "torchmetrics.functional.image:peak_signal_noise_ratio",
    "r2score": "torchmetrics.functional:r2_score",
    "ssim": "torchmetrics.functional.image:structural_similarity_index_measure",
}

_TOPS = {
    "lightning": Row(("lt",), {"__version__": _VERSION}),
    "lightning.__about__": Row((), {"__version__": _VERSION}),
    "lightning.__version__": Row((), {"version": _VERSION}),
    "lightning.pytorch": Row(("lt",), {"__version__": _VERSION, "CombinedLoader": "lt.utilities:CombinedLoader"}),
    "lightning.pytorch.__about__": Row((), {"__version__": _VERSION}),
    "lightning.pytorch.__version__": Row((), {"version": _VERSION}),
}

# Moved within what is `lightning.pytorch` today; the oldest forms are those of 0.5 to 0.7.
_PYTORCH = {
    "accelerators.gpu": Row(("lt.accelerators.cuda",), {"GPUAccelerator": "lt.accelerators:CUDAAccelerator"}),
    "accelerators": Row(("lt.accelerators",), {"GPUAccelerator": "lt.accelerators:CUDAAccelerator"}),
    "callbacks": Row(("lt.callbacks",), {"ProgressBarBase": "lt.callbacks:ProgressBar"}),
    "callbacks.base": Row(("lt.callbacks.callback",)),
    "callbacks.progress": Row(
        ("lt.callbacks.progress",),
        {"ProgressBarBase": "lt.callbacks:ProgressBar", "tqdm": "tqdm.auto:tqdm"},
    ),
    "callbacks.progress.base": Row(
        ("lt.callbacks.progress.progress_bar",), {"ProgressBarBase": "lt.callbacks:ProgressBar"}
    ),
    "callbacks.pt_callbacks": Row(("lt.callbacks",)),
    "callbacks.swa": Row(("lt.callbacks.stochastic_weight_avg",)),
    "cluster_environments": Row(("lt.plugins.environments",)),
    "core.lightning": Row(("lt.core.module",)),
    "core.memory": Row(("lt.utilities.model_summary",)),
    "core.root_module": Row(("lt.core.module",)),
    "core.saving": Row(("lt.core.saving",), {"get_filesystem": f"{_HELPERS}:get_filesystem"}),
    "logging": Row(("lt.loggers",), {**_OLD_LOGGERS, "rank_zero_only": "lt.utilities:rank_zero_only"}),
    "loggers": Row(("lt.loggers",), _OLD_LOGGERS),
    "loggers.base": Row(("lt.loggers.logger", "lt.loggers.collection"), {**_OLD_LOGGERS, **_RANK_ZERO}),
    "metrics": Row(("torchmetrics",), _METRICS),
    "metrics.classification": Row(("torchmetrics.classification", "torchmetrics"), _METRICS),
    "metrics.functional": Row(("torchmetrics.functional",), _METRIC_FUNCTIONS),
    "metrics.metric": Row(("torchmetrics.metric", "torchmetrics")),
    "metrics.regression": Row(("torchmetrics.regression", "torchmetrics"), _METRICS),
    "plugins": Row(("lt.plugins",), {**_OLD_STRATEGIES, **_OLD_PRECISIONS}),
    "plugins.ddp_plugin": Row((), _OLD_STRATEGIES),
    "plugins.native_amp": Row((), {"NativeAMPPlugin": "lt.plugins:MixedPrecision"}),
    "plugins.precision": Row(("lt.plugins.precision",), _OLD_PRECISIONS),
    "plugins.precision.native_amp": Row(("lt.plugins.precision.amp",), _OLD_PRECISIONS),
    "plugins.precision.precision_plugin": Row(("lt.plugins.precision.precision",), _OLD_PRECISIONS),
    "plugins.training_type": Row((), _OLD_STRATEGIES),
    "plugins.training_type.ddp": Row((), _OLD_STRATEGIES),
    "plugins.training_type.parallel": Row((), _OLD_STRATEGIES),
    "plugins.training_type.single_device": Row((), _OLD_STRATEGIES),
    "plugins.training_type.training_type_plugin": Row((), _OLD_STRATEGIES),
    "profiler": Row(("lt.profilers",), _OLD_PROFILERS),
    "profiler.advanced": Row(("lt.profilers.advanced",)),
    "profiler.base": Row(("lt.profilers.base", "lt.profilers.profiler"), _OLD_PROFILERS),
    "profiler.profilers": Row(("lt.profilers",), _OLD_PROFILERS),
    "profiler.pytorch": Row(("lt.profilers.pytorch",)),
    "profiler.simple": Row(("lt.profilers.simple",)),
    "root_module": Row(("lt.core",)),
    "root_module.root_module": Row(("lt.core.module",)),
    "testing": Row(("lt.demos.boring_classes",)),
    "trainer": Row(("lt.trainer",), {"seed_everything": "lt:seed_everything"}),
    "trainer.seed": Row(("lt.utilities.seed",)),
    "trainer.supporters": Row(("lt.utilities.combined_loader",)),
    "utilities": Row(("lt.utilities",), {**_EXCEPTIONS, **_RANK_ZERO}),
    "utilities.apply_func": Row((), {"move_data_to_device": "lt.utilities:move_data_to_device"}),
    "utilities.cloud_io": Row(
        (),
        {
            "get_filesystem": f"{_HELPERS}:get_filesystem",
            "load": "lt_core.checkpoint_file:load_checkpoint_file",
        },
    ),
    "utilities.debugging": Row((), _EXCEPTIONS),
    "utilities.distributed": Row(("lt.utilities.rank_zero",), {"ReduceOp": "torch.distributed:ReduceOp"}),
    "utilities.model_utils": Row(("lt.utilities.model_helpers",)),
    "utilities.types": Row(
        ("lt.utilities.types",),
        {name: f"{_TYPES}:{name}" for name in ("EPOCH_OUTPUT", "_EVALUATE_OUTPUT", "_PATH", "_PREDICT_OUTPUT")},
    ),
    "utilities.warnings": Row(
        ("lt.utilities.warnings", "lt.utilities.rank_zero"),
    ),
}

# Fabric is no part of lt, yet its helpers are imported beside `lightning.pytorch`.
_FABRIC = {
    "": Row((), {"__version__": _VERSION, "seed_everything": "lt:seed_everything"}),
    "__about__": Row((), {"__version__": _VERSION}),
    "__version__": Row((), {"version": _VERSION}),
    "accelerators": Row(("lt.accelerators",)),
    "plugins": Row(("lt.plugins",)),
    "plugins.environments": Row(("lt.plugins.environments",)),
    "plugins.io": Row(("lt.plugins.io",)),
    "plugins.io.checkpoint_io": Row(("lt.plugins.io.checkpoint_plugin",)),
    "plugins.io.torch_io": Row(("lt.plugins.io.torch_plugin",)),
    "utilities": Row(("lt.utilities",)),
    "utilities.apply_func": Row((), {"move_data_to_device": "lt.utilities:move_data_to_device"}),
    "utilities.cloud_io": Row((), {"get_filesystem": f"{_HELPERS}:get_filesystem"}),
    "utilities.data": Row((), {"AttributeDict": "lt.utilities:AttributeDict"}),
    "utilities.distributed": Row((), {"ReduceOp": "torch.distributed:ReduceOp"}),
    "utilities.exceptions": Row(("lt.utilities.exceptions",)),
    "utilities.rank_zero": Row(("lt.utilities.rank_zero",)),
    "utilities.seed": Row(("lt.utilities.seed",)),
    "utilities.throughput": Row(("lt.callbacks.throughput_monitor",)),
    "utilities.types": Row(
        (),
        {name: f"{_TYPES}:{name}" for name in ("Optimizable", "_DEVICE", "_MAP_LOCATION_TYPE", "_PATH")},
    ),
    "utilities.warnings": Row(("lt.utilities.warnings",)),
}

TABLE: dict[str, Row] = {
    **_TOPS,
    **{f"lightning.pytorch.{path}": row for path, row in _PYTORCH.items()},
    **{f"lightning.fabric.{path}".rstrip("."): row for path, row in _FABRIC.items()},
}


def canonical(name: str) -> str:
    """Return the name that the table knows a module by.

    Args:
        name: A dotted name that begins with one of `ROOTS`.

    Example:
        >>> canonical("pytorch_lightning.core.lightning")
        'lightning.pytorch.core.lightning'
    """
    root, dot, rest = name.partition(".")
    return f"{ROOTS[root]}{dot}{rest}"


def row_of(name: str) -> Row | None:
    """Return what a module of Lightning stands for, or None where lt has nothing for it.

    Args:
        name: The module's full name, under any of the `ROOTS`.

    Example:
        >>> row_of("pytorch_lightning.callbacks.base")
        Row(sources=('lt.callbacks.callback',), names={})
        >>> row_of("pytorch_lightning.callbacks.timer").sources
        ('lt.callbacks.timer',)
        >>> row_of("pytorch_lightning.no_such_module") is None
        True
    """
    known = canonical(name)
    if known in TABLE:
        return TABLE[known]
    if not known.startswith(f"{_MODERN}."):
        return None
    same = known.removeprefix(f"{_MODERN}.")
    return Row((f"lt.{same}",)) if _is_in_lt(same.split(".")) else None


def _is_in_lt(parts: list[str]) -> bool:
    """Return whether lt has the module, from its files: asking `importlib.util.find_spec` would load torch."""
    if parts[0] in _OURS:
        return False
    name, places = "lt", list(lt.__path__)
    for part in parts:
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return False
        places = list(spec.submodule_search_locations or [])
    return True
