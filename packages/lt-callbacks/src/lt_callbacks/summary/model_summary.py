"""Makes the table of a module's layers: names, types, parameters, modes, and with an example input sizes and FLOPs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from lt_callbacks.summary.counts import ParameterCounts, count_parameters, human_readable
from lt_callbacks.summary.layer_summary import LayerSummary
from lt_callbacks.summary.module_tree import ModuleTree
from lt_callbacks.summary.table import format_table
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationValueError
from lt_core.seed import isolate_rng
from lt_core.transfer import move_data_to_device

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["ModelSummary", "check_max_depth", "summarize"]

_LEFTOVER = "other params"
_NOT_APPLICABLE = "n/a"


class ModelSummary:
    """The layers of a module, to be printed.

    With an ``example_input_array`` on the module, one forward pass (in eval mode, without gradients, with the random
    state put back) adds the sizes of inputs and outputs and the floating point operations of each layer.

    Args:
        model: The module.
        max_depth: How many levels of nested layers to show; -1 for all, 0 for none.

    Raises:
        ValueError: ``max_depth`` is below -1.

    Example:
        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.net = nn.Sequential(nn.Linear(256, 512), nn.BatchNorm1d(512))
        ...         self.example_input_array = torch.zeros(10, 256)
        ...     def forward(self, x):
        ...         return self.net(x)
        >>> ModelSummary(Net())  # doctest: +NORMALIZE_WHITESPACE
          | Name | Type       | Params | Mode  | FLOPs | In sizes  | Out sizes
        ----------------------------------------------------------------------------
        0 | net  | Sequential | 132 K  | train | 2.6 M | [10, 256] | [10, 512]
        ----------------------------------------------------------------------------
        132 K     Trainable params
        0         Non-trainable params
        132 K     Total params
        0.530     Total estimated model params size (MB)
        3         Modules in train mode
        0         Modules in eval mode
        2.6 M     Total Flops
    """

    def __init__(self, model: nn.Module, max_depth: int = 1) -> None:
        check_max_depth(max_depth)
        self._model = model
        self._max_depth = max_depth
        self._flops: dict[str, dict[Any, int]] = {}
        self._counts: ParameterCounts
        self._tree: ModuleTree
        self._example: Any = getattr(model, "example_input_array", None)
        self._layer_summary = self.summarize()

    @property
    def named_modules(self) -> list[tuple[str, nn.Module]]:
        """The layers that are shown, with their names."""
        return [(name, self._tree.modules[position]) for name, position in self._tree.shown]

    @property
    def layer_names(self) -> list[str]:
        """The names of the layers."""
        return list(self._layer_summary)

    @property
    def layer_types(self) -> list[str]:
        """The class names of the layers."""
        return [layer.layer_type for layer in self._layer_summary.values()]

    @property
    def in_sizes(self) -> list[str | list[Any]]:
        """The shapes of the layers' inputs."""
        return [layer.in_size for layer in self._layer_summary.values()]

    @property
    def out_sizes(self) -> list[str | list[Any]]:
        """The shapes of the layers' outputs."""
        return [layer.out_size for layer in self._layer_summary.values()]

    @property
    def param_nums(self) -> list[int]:
        """The numbers of parameters of the layers, nested layers included."""
        return [layer.num_parameters for layer in self._layer_summary.values()]

    @property
    def training_modes(self) -> list[bool]:
        """Whether the layers are in training mode."""
        return [layer.training for layer in self._layer_summary.values()]

    @property
    def total_training_modes(self) -> dict[str, int]:
        """How many modules, without the outermost, are in training and in evaluation mode."""
        modes = [module.training for module in self._tree.modules[1:]]
        return {"train": modes.count(True), "eval": modes.count(False)}

    @property
    def total_parameters(self) -> int:
        """The number of parameters, each counted once."""
        return self._counts.total

    @property
    def trainable_parameters(self) -> int:
        """The number of parameters that require gradients."""
        return self._counts.trainable

    @property
    def total_layer_params(self) -> int:
        """The number of parameters in layers: those that are no direct parameters of the module."""
        return self._counts.total - self._counts.outside_layers

    @property
    def model_size(self) -> float:
        """The memory of all parameters in megabytes, each in its own precision."""
        return self._counts.size_in_bytes * 1e-6

    @property
    def total_flops(self) -> int:
        """The floating point operations of one forward pass; 0 without an example input."""
        return sum(self._flops.get("Global", {}).values())

    @property
    def flop_counts(self) -> dict[str, dict[Any, int]]:
        """The floating point operations of each layer, by operator."""
        root = type(self._model).__name__
        return {name: self._flops.get(f"{root}.{name}", {}) for name in self.layer_names}

    def summarize(self) -> dict[str, LayerSummary]:
        """Look at the layers, and run the example input through them if there is one."""
        self._tree = ModuleTree(self._model, self._max_depth)
        shown = self.named_modules
        forward = self._example is not None
        layers = {name: LayerSummary(module, 0, observe=forward) for name, module in shown}
        if forward:
            try:
                self._forward_example_input()
            finally:
                for layer in layers.values():
                    layer.detach_hook()
        # Afterwards, because layers without shape get one in their first forward pass.
        self._counts = count_parameters(self._model, self._tree)
        for name, module in shown:
            layers[name].set_num_parameters(self._counts.by_module[module])
        return layers

    def columns(self) -> list[tuple[str, list[str]]]:
        """Return the table by columns: a heading and one cell for each row."""
        columns = [
            (" ", [str(index) for index in range(len(self._layer_summary))]),
            ("Name", self.layer_names),
            ("Type", self.layer_types),
            ("Params", [human_readable(number) for number in self.param_nums]),
            ("Mode", ["train" if training else "eval" for training in self.training_modes]),
        ]
        if self._example is not None:
            columns.append(("FLOPs", [human_readable(sum(ops.values())) for ops in self.flop_counts.values()]))
            columns.append(("In sizes", [str(size) for size in self.in_sizes]))
            columns.append(("Out sizes", [str(size) for size in self.out_sizes]))
        leftover = self._counts.outside_layers
        if leftover > 0 and self._max_depth != 0:
            row = {" ": " ", "Name": _LEFTOVER, "Params": human_readable(leftover)}
            for heading, cells in columns:
                cells.append(row.get(heading, _NOT_APPLICABLE))
        return columns

    # The name under which other packages know the method above.
    _get_summary_data = columns

    def __str__(self) -> str:
        return format_table(
            self.total_parameters,
            self.trainable_parameters,
            self.model_size,
            self.total_training_modes,
            self.total_flops,
            *self.columns(),
        )

    def __repr__(self) -> str:
        return str(self)

    def _forward_example_input(self) -> None:
        from torch.utils.flop_counter import FlopCounterMode

        model, example = self._model, self._on_device(self._example)
        modes = [(module, module.training) for module in self._tree.modules]
        counter = FlopCounterMode(display=False)
        model.eval()
        try:
            with torch.no_grad(), isolate_rng(), counter:
                if isinstance(example, (list, tuple)):
                    model(*example)
                elif isinstance(example, dict):
                    model(**example)
                else:
                    model(example)
        finally:
            for module, training in modes:
                module.training = training
        self._flops = {name: dict(ops) for name, ops in counter.get_flop_counts().items()}

    def _on_device(self, example: Any) -> Any:
        """Bring the example where the parameters are, through the module's own hooks if it has them."""
        model = self._model
        devices = [each.device for each in self._tensors()]
        # On the meta device alone the pass gives sizes and operations without computing anything.
        real = next((device for device in devices if device.type != "meta"), None)
        device = real or (devices[0] if devices else torch.device("cpu"))
        if not isinstance(model, DataHooks):
            return move_data_to_device(example, device)
        example = model.on_before_batch_transfer(example, 0)
        example = model.transfer_batch_to_device(example, device, 0)
        return model.on_after_batch_transfer(example, 0)

    def _tensors(self) -> Iterator[torch.Tensor]:
        yield from self._model.parameters()
        yield from self._model.buffers()


def check_max_depth(max_depth: int) -> None:
    """Raise if a depth is none.

    Raises:
        MisconfigurationValueError: It is no whole number from -1.
    """
    if not isinstance(max_depth, int) or max_depth < -1:
        raise MisconfigurationValueError(
            f"The model summary got max_depth={max_depth!r}; expected -1 for all levels, 0 for none, or how many levels"
            " to show. Write for example `max_depth=1`."
        )


def summarize(lightning_module: nn.Module, max_depth: int = 1) -> ModelSummary:
    """Summarise a module.

    Args:
        lightning_module: The module.
        max_depth: How many levels of nested layers to show; -1 for all, 0 for none.

    Example:
        >>> summarize(nn.Sequential(nn.Linear(2, 3)), max_depth=-1).total_parameters
        9
    """
    return ModelSummary(lightning_module, max_depth)
