"""What lt lacks of Lightning: where it was, and what to write instead; and the sentence that says so.

An entry is keyed by the path's present name where the path matters, and by its last name alone where it does not.
"""

from __future__ import annotations

from typing import NamedTuple

from lt.compat.table import API_VERSION, canonical

__all__ = ["MISSING", "Missing", "explain", "missing_entry"]


class Missing(NamedTuple):
    """Something that lt lacks.

    Attributes:
        existed: The releases of Lightning that had it, as in ``"1.5 to 1.9"`` or ``"in 2.6"``.
        instead: What to write instead, as a clause that follows "instead: ".
    """

    existed: str
    instead: str


_NOW = f"in {API_VERSION}"
_RESULT = Missing("0.9 to 1.3", "log with `self.log` and return the loss")
_REGISTRY = Missing("1.5 to 1.8", "drop the decorator: import the class where it is used")
_FABRIC = Missing("2.0 on", "write a `LightningModule` and train it with `lt.Trainer`")
_LITE = Missing("1.5 to 1.9", "write a `LightningModule` and train it with `lt.Trainer`")
_CLI = Missing("1.3 on", "build the module and `lt.Trainer(...)` from `argparse` or `jsonargparse` yourself")
_TUNER = Missing("0.10 on", "try the values in a loop of your own, with a new `lt.Trainer` for each")
_SHARDED = Missing("1.1 to 1.9", 'pass `strategy="ddp"`')
_FSDP = Missing("1.4 on", 'pass `strategy="ddp"`')
_DEEPSPEED = Missing("1.2 on", 'pass `strategy="ddp"`')
_INSIDE = "use public names: this one is private and may change in any release"
_TYING = Missing("2.0 on", "compare `parameter.data_ptr()` of `module.named_parameters(remove_duplicate=False)`")
_GATHER = Missing("0.9 on", "call `self.all_gather(tensor)` in the module")
_COLLECT = Missing("0.9 on", "use `lightning_utilities.core.apply_func.apply_to_collection`")
_MEMORY = Missing("0.10 on", "use `gc.collect()` and `torch.cuda.empty_cache()`")
_DECORATOR = Missing("0.5 to 0.8", "drop the decorator: `train_dataloader` and its kin are plain methods")

MISSING: dict[str, Missing] = {
    # modules
    "lightning.app": Missing("2.0 to 2.4", "run the script itself"),
    "lightning.data": Missing("2.0 on", "import `litdata`, where it lives now"),
    "lightning.pytorch.bolts": Missing("0.7 to 1.0", "import `pl_bolts`, a package of its own"),
    "lightning.pytorch.callbacks.gpu_stats_monitor": Missing("1.0 to 1.8", "use `DeviceStatsMonitor`"),
    "lightning.pytorch.callbacks.gpu_usage_logger": Missing("0.9 to 0.10", "use `DeviceStatsMonitor`"),
    "lightning.pytorch.callbacks.lr_logger": Missing("0.8 to 0.10", "use `LearningRateMonitor`"),
    "lightning.pytorch.callbacks.quantization": Missing("1.3 to 1.9", "use `torch.ao.quantization`"),
    "lightning.pytorch.callbacks.xla_stats_monitor": Missing("1.5 to 1.8", "use `DeviceStatsMonitor`"),
    "lightning.pytorch.cli": _CLI,
    "lightning.pytorch.core.decorators": _DECORATOR,
    "lightning.pytorch.core.grads": Missing("0.5 to 1.4", "read `parameter.grad.norm()` in `on_before_optimizer_step`"),
    "lightning.pytorch.core.step_result": _RESULT,
    "lightning.pytorch.lite": _LITE,
    "lightning.pytorch.loggers.test_tube": Missing("0.7 to 1.6", "use `CSVLogger`"),
    "lightning.pytorch.loggers.trains": Missing("0.7 to 0.9", "use `TensorBoardLogger`, which ClearML reads"),
    "lightning.pytorch.loops": Missing("1.5 on", _INSIDE),
    "lightning.pytorch.overrides.base": Missing("1.1 to 1.9", "use the module itself: nothing is wrapped around it"),
    "lightning.pytorch.overrides.data_parallel": Missing("0.5 to 1.9", 'pass `strategy="ddp"`'),
    "lightning.pytorch.overrides.fairscale": _SHARDED,
    "lightning.pytorch.plugins.sharded_plugin": _SHARDED,
    "lightning.pytorch.pt_overrides": Missing("0.5 to 0.7", 'pass `strategy="ddp"`'),
    "lightning.pytorch.serve": Missing("1.5 on", "call the module: `module.eval()`, then `module(batch)`"),
    "lightning.pytorch.strategies.deepspeed": _DEEPSPEED,
    "lightning.pytorch.strategies.fsdp": _FSDP,
    "lightning.pytorch.strategies.sharded": _SHARDED,
    "lightning.pytorch.trainer.connectors": Missing("0.10 on", _INSIDE),
    "lightning.pytorch.trainer.data_loading": Missing("0.5 to 1.7", _INSIDE),
    "lightning.pytorch.trainer.distrib_data_parallel": Missing("0.5 to 0.10", _INSIDE),
    "lightning.pytorch.trainer.lr_finder": Missing("0.7 to 0.9", _TUNER.instead),
    "lightning.pytorch.trainer.optimizers": Missing("0.7 to 1.7", _INSIDE),
    "lightning.pytorch.trainer.training_io": Missing("0.5 to 0.10", _INSIDE),
    "lightning.pytorch.trainer.training_loop": Missing("0.5 to 1.4", _INSIDE),
    "lightning.pytorch.tuner": _TUNER,
    "lightning.pytorch.utilities.arg_parse": Missing("0.5 to 0.7", "add the arguments to the parser one by one"),
    "lightning.pytorch.utilities.argparse": Missing("1.5 on", "add the arguments to the parser one by one"),
    "lightning.pytorch.utilities.argparse_utils": Missing("0.8 to 1.4", "add the arguments to the parser one by one"),
    "lightning.pytorch.utilities.cli": _CLI,
    "lightning.pytorch.utilities.data": Missing("1.0 on", "ask the loader: `len(loader)`, `loader.batch_size`"),
    "lightning.pytorch.utilities.device_parser": Missing("0.9 to 1.9", "pass `devices=` to the trainer as it is"),
    "lightning.pytorch.utilities.enums": Missing("1.2 on", "write the strings"),
    "lightning.pytorch.utilities.finite_checks": Missing("1.2 to 1.9", "use `torch.isfinite`"),
    "lightning.pytorch.utilities.grads": Missing(
        "1.3 on", "read `parameter.grad.norm()` in `on_before_optimizer_step`"
    ),
    "lightning.pytorch.utilities.imports": Missing("1.2 on", "use `importlib.util.find_spec`"),
    "lightning.pytorch.utilities.memory": _MEMORY,
    "lightning.pytorch.utilities.meta": Missing("1.5 to 1.7", 'use `with torch.device("meta"):`'),
    "lightning.pytorch.utilities.metrics": Missing("1.2 to 1.9", "call `.item()` on the tensors"),
    "lightning.pytorch.utilities.upgrade_checkpoint": Missing("1.0 on", "load the checkpoint and save it again"),
    "lightning.pytorch.utilities.xla_device": Missing("1.2 to 1.9", "use `torch_xla` directly"),
    "lightning.pytorch.utilities.xla_device_utils": Missing("0.10 to 1.1", "use `torch_xla` directly"),
    "lightning.fabric.strategies": _FABRIC,
    "lightning.fabric.utilities.enums": Missing("1.8 on", "derive from `enum.Enum`"),
    "lightning.store": Missing("2.1 to 2.4", "copy the files to the store yourself"),
    # names, wherever they were
    "AcceleratorRegistry": Missing("1.7 on", "register the accelerator by an entry point, see docs/extending.md"),
    "AMPType": Missing("1.0 to 1.9", "write the strings"),
    "AllGatherGrad": _GATHER,
    "CALLBACK_REGISTRY": _REGISTRY,
    "CHECKPOINT_HYPER_PARAMS_KEY": Missing("1.0 on", 'write "hyper_parameters"'),
    "ApexMixedPrecisionPlugin": Missing("1.2 to 1.9", 'pass `precision="16-mixed"`'),
    "BatchSizeFinder": _TUNER,
    "DATAMODULE_REGISTRY": _REGISTRY,
    "DDPFullyShardedPlugin": _SHARDED,
    "DDPFullyShardedStrategy": Missing("1.6 to 1.9", 'pass `strategy="ddp"`'),
    "DDPShardedPlugin": _SHARDED,
    "DDPShardedStrategy": _SHARDED,
    "DDPSpawnPlugin": Missing("1.2 to 1.7", 'pass `strategy="ddp_spawn"`'),
    "DDPSpawnStrategy": Missing("1.6 to 1.9", 'pass `strategy="ddp_spawn"`'),
    "DDP2Plugin": Missing("1.2 to 1.7", 'pass `strategy="ddp"`'),
    "DataParallelPlugin": Missing("1.2 to 1.7", 'pass `strategy="ddp"`'),
    "DataParallelStrategy": Missing("1.6 to 1.9", 'pass `strategy="ddp"`'),
    "DeepSpeedPlugin": _DEEPSPEED,
    "DeepSpeedStrategy": _DEEPSPEED,
    "DeviceType": Missing("1.1 to 1.7", "write the strings"),
    "DistributedType": Missing("1.1 to 1.7", "write the strings"),
    "EvalResult": _RESULT,
    "FSDPStrategy": _FSDP,
    "Fabric": _FABRIC,
    "GPUStatsMonitor": Missing("1.0 to 1.8", "use `DeviceStatsMonitor`"),
    "GradClipAlgorithmType": Missing("1.2 on", 'write the strings "norm" and "value"'),
    "LRSchedulerCallback": _TUNER,
    "LR_SCHEDULER_REGISTRY": _REGISTRY,
    "LearningRateFinder": _TUNER,
    "LearningRateLogger": Missing("0.8 to 0.10", "use `LearningRateMonitor`"),
    "LightningCLI": _CLI,
    "LightningEnum": Missing("1.2 on", "derive from `enum.Enum`"),
    "LightningLite": _LITE,
    "MODEL_REGISTRY": _REGISTRY,
    "ModelIO": Missing("0.7 to 1.9", "derive from `LightningModule`"),
    "OPTIMIZER_REGISTRY": _REGISTRY,
    "ProgressBarBase": Missing("0.8 to 1.9", "use `ProgressBar`"),
    "QuantizationAwareTraining": Missing("1.3 to 1.9", "use `torch.ao.quantization`"),
    "Result": _RESULT,
    "TestTubeLogger": Missing("0.5 to 1.6", "use `CSVLogger`"),
    "TrainResult": _RESULT,
    "TrainsLogger": Missing("0.7 to 0.9", "use `TensorBoardLogger`, which ClearML reads"),
    "XLAStatsMonitor": Missing("1.5 to 1.8", "use `DeviceStatsMonitor`"),
    "Tuner": _TUNER,
    "_MockOptimizer": Missing(_NOW, "pass a real optimizer: " + _INSIDE),
    "_TPU_AVAILABLE": Missing("1.2 to 1.8", 'use `importlib.util.find_spec("torch_xla")`'),
    "_logger": Missing("0.7 on", 'use `logging.getLogger("lt")`'),
    "apply_to_collection": _COLLECT,
    "atomic_save": Missing("0.9 to 1.9", "use `trainer.save_checkpoint`, which writes atomically"),
    "auto_move_data": Missing("0.8 to 1.4", "move the batch: `lt.utilities.move_data_to_device(batch, self.device)`"),
    "collect_init_args": Missing("0.7 on", "call `self.save_hyperparameters()`"),
    "LightningTestModel": Missing("0.5 to 0.7", "use `BoringModel` of `lt.demos.boring_classes`"),
    "data_loader": _DECORATOR,
    "find_shared_parameters": _TYING,
    "flatten_dict": Missing("0.10 to 1.9", "flatten the mapping yourself"),
    "gather_all_tensors": _GATHER,
    "get_init_args": Missing("0.7 on", "call `self.save_hyperparameters()` and read `self.hparams`"),
    "grad_norm": Missing("1.3 on", "read `parameter.grad.norm()` in `on_before_optimizer_step`"),
    "instantiate_class": _CLI,
    "is_picklable": Missing("0.10 on", "try `pickle.dumps(value)`"),
    "measure_flops": Missing("2.1 on", "import it from `lt.callbacks`"),
    "save_hyperparameters": Missing("1.0 on", "call `self.save_hyperparameters()`"),
    "set_shared_parameters": _TYING,
    "str_to_bool": Missing("1.5 to 1.9", "parse the text yourself"),
    "str_to_bool_or_str": Missing("1.5 to 1.9", "parse the text yourself"),
    "sync_ddp": _GATHER,
    "sync_ddp_if_available": _GATHER,
    "tng_dataloader": _DECORATOR,
}


def missing_entry(name: str) -> Missing | None:
    """Return what is known of a name that lt lacks, or None.

    Args:
        name: The full name of a module, or of a name in one, under any root.

    Example:
        >>> missing_entry("pytorch_lightning.callbacks.GPUStatsMonitor").existed
        '1.0 to 1.8'
        >>> missing_entry("pytorch_lightning.callbacks.NoSuchThing") is None
        True
    """
    path = canonical(name)
    last = path.rpartition(".")[2]
    while path:
        if path in MISSING:
            return MISSING[path]
        path = path.rpartition(".")[0]
    return MISSING.get(last)


def explain(name: str, offered: list[str]) -> str:
    """Return the sentence that says that lt lacks a name of Lightning, since when, and what to write instead.

    Args:
        name: The full name of what was asked for.
        offered: The names that are there instead, to look for a near one; empty to name none.
    """
    import difflib

    import lt

    parent, _, last = name.rpartition(".")
    entry = missing_entry(name)
    if entry is not None:
        history, instead = f"(Lightning had it: {entry.existed})", entry.instead
    else:
        near = difflib.get_close_matches(last, offered, n=3, cutoff=0.7)
        history = "(whether a release of Lightning had it is not recorded here)"
        instead = f"did you mean {', '.join(near)}?" if near else "what lt offers is listed by `dir()` of the module"
    return (
        f"{name!r} is not there: {parent!r} stands for lt {lt.__version__} in this program, and lt has no {last!r} "
        f"{history}. Expected what lt offers. Instead: {instead}"
    )
