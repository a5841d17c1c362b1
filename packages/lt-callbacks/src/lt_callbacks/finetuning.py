"""Trains a part of the module first, and the rest later: freezing, unfreezing, and the optimizer's parameter groups.

A new head gives large and meaningless gradients at first, which would spoil what a pretrained backbone knows. So the
backbone is frozen until the head has settled, and then trained with a smaller learning rate (Howard and Ruder,
"Universal Language Model Fine-tuning for Text Classification", arXiv:1801.06146).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from lt_callbacks.trainable import Trainability, group_names, groups_of_names
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_info, rank_zero_warn

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["BackboneFinetuning", "BaseFinetuning", "multiplicative"]

Modules: TypeAlias = nn.Module | Iterable[Any]
"""A module, or modules nested in iterables."""


def multiplicative(epoch: int) -> float:
    """Return 2: the learning rate of a backbone doubles each epoch by default.

    Args:
        epoch: Counted from 0.

    Example:
        >>> multiplicative(3)
        2.0
    """
    return 2.0


class BaseFinetuning(Callback):
    """Base class of callbacks that freeze parts of a module and unfreeze them later.

    Override `freeze_before_training`, called before ``configure_optimizers``, and `finetune_function`, called at the
    start of each training epoch. Give the optimizer only parameters that are trained: ``Adam(filter(lambda p:
    p.requires_grad, self.parameters()))``. What is trainable, and the parameter groups that were added, go into
    checkpoints: a resumed run goes on with the same.

    Example:
        >>> class UnfreezeFeatures(BaseFinetuning):
        ...     def freeze_before_training(self, pl_module):
        ...         self.freeze(pl_module.features)
        ...     def finetune_function(self, pl_module, epoch, optimizer):
        ...         if epoch == 10:
        ...             self.unfreeze_and_add_param_group(pl_module.features, optimizer)
        >>> UnfreezeFeatures().state_dict()
        {'internal_optimizer_metadata': {}}
    """

    def __init__(self) -> None:
        super().__init__()
        self._internal_optimizer_metadata: dict[int, list[dict[str, Any]]] = {}
        self._trainable: Trainability | None = None
        self._restarting = False

    # -- to be overridden

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze what is not trained from the start, with `freeze`.

        Args:
            pl_module: Before its optimizers exist.
        """
        raise _MissingMethodError("freeze_before_training(self, pl_module)", self)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Unfreeze what is trained from now on, with `unfreeze_and_add_param_group`.

        Args:
            pl_module: The module.
            epoch: The epoch that begins, counted from 0.
            optimizer: One of its optimizers; called for each.
        """
        raise _MissingMethodError("finetune_function(self, pl_module, epoch, optimizer)", self)

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Freeze before a fit; other runs train nothing."""
        if stage != "fit":
            return
        self._internal_optimizer_metadata, self._trainable, self._restarting = {}, None, False
        self.freeze_before_training(pl_module)

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give a resumed run the parameter groups that it had, before the optimizers get their states."""
        if not self._restarting:
            return
        self._restarting = False
        parameters = dict(pl_module.named_parameters())
        for index, optimizer in enumerate(trainer.optimizers):
            names = self._internal_optimizer_metadata.get(index)
            if names is None:
                continue
            added = groups_of_names(names, parameters)[len(optimizer.param_groups) :]
            optimizer.param_groups = groups_of_names(names, parameters)
            if self._trainable is None:  # a file of another origin: what was added was unfrozen
                for parameter in (parameter for group in added for parameter in group["params"]):
                    parameter.requires_grad = True
        if self._trainable is not None:
            self._trainable.apply(pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Call `finetune_function` for each optimizer and note the groups that it added."""
        for index, optimizer in enumerate(trainer.optimizers):
            before = len(optimizer.param_groups)
            self.finetune_function(pl_module, trainer.current_epoch, optimizer)
            groups = optimizer.param_groups
            noted = self._internal_optimizer_metadata
            if index not in noted:
                noted[index] = group_names(groups, pl_module)
            elif len(groups) != before:
                noted[index].extend(group_names(groups[before:], pl_module))
        self._trainable = Trainability.of(pl_module)

    # -- state

    def state_dict(self) -> dict[str, Any]:
        """Return the parameter groups by parameter names, and what is trainable."""
        state: dict[str, Any] = {"internal_optimizer_metadata": self._internal_optimizer_metadata}
        if self._trainable is not None:
            state["trainable"] = self._trainable.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; it comes into effect when fit starts."""
        self._restarting = True
        self._internal_optimizer_metadata = state_dict["internal_optimizer_metadata"]
        trainable = state_dict.get("trainable")
        self._trainable = None if trainable is None else Trainability(**trainable)

    # -- tools

    @staticmethod
    def flatten_modules(modules: Modules) -> list[nn.Module]:
        """Return all modules within ``modules`` that have parameters of their own or no children.

        Args:
            modules: A module, or modules nested in iterables.

        Example:
            >>> BaseFinetuning.flatten_modules([nn.Sequential(nn.Linear(1, 2), nn.ReLU()), nn.Tanh()])
            [Linear(in_features=1, out_features=2, bias=True), ReLU(), Tanh()]
        """
        if isinstance(modules, nn.ModuleDict):
            return BaseFinetuning.flatten_modules(modules.values())
        if isinstance(modules, Iterable):
            return [module for part in modules for module in BaseFinetuning.flatten_modules(part)]
        return [
            module
            for module in modules.modules()
            if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
        ]

    @staticmethod
    def filter_params(
        modules: Modules,
        train_bn: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        requires_grad: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> Iterator[nn.Parameter]:
        """Yield the parameters that are trainable, or those that are not.

        Args:
            modules: A module, or modules nested in iterables.
            train_bn: Whether those of batch normalisation are among them.
            requires_grad: True for the trainable ones, False for the frozen ones.
        """
        for module in BaseFinetuning.flatten_modules(modules):
            if isinstance(module, _BatchNorm) and not train_bn:
                continue
            for parameter in module.parameters(recurse=False):
                if parameter.requires_grad == requires_grad:
                    yield parameter

    @staticmethod
    def make_trainable(modules: Modules) -> None:
        """Unfreeze all parameters, and let batch normalisation keep statistics.

        Args:
            modules: A module, or modules nested in iterables.
        """
        for module in BaseFinetuning.flatten_modules(modules):
            if isinstance(module, _BatchNorm):
                module.track_running_stats = True
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad = True

    @staticmethod
    def freeze_module(module: nn.Module) -> None:
        """Freeze a module's own parameters, not those of its children; batch normalisation keeps no statistics.

        Args:
            module: The module.
        """
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False
        for parameter in module.parameters(recurse=False):
            parameter.requires_grad = False

    @staticmethod
    def freeze(
        modules: Modules,
        train_bn: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        """Freeze all parameters.

        Args:
            modules: A module, or modules nested in iterables.
            train_bn: Leave batch normalisation trainable.
        """
        for module in BaseFinetuning.flatten_modules(modules):
            if isinstance(module, _BatchNorm) and train_bn:
                BaseFinetuning.make_trainable(module)
            else:
                BaseFinetuning.freeze_module(module)

    @staticmethod
    def filter_on_optimizer(optimizer: Optimizer, params: Iterable[nn.Parameter]) -> list[nn.Parameter]:
        """Return those parameters that the optimizer does not have yet.

        Args:
            optimizer: The optimizer.
            params: Any parameters.
        """
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
        given = list(params)
        new = [parameter for parameter in given if id(parameter) not in known]
        if len(new) < len(given):
            kind = type(optimizer).__name__
            rank_zero_warn(
                f"{len(given) - len(new)} of {len(given)} parameters to unfreeze are in a group of the optimizer"
                " already, and are not added. Expected an optimizer of the parameters that are trained from the start."
                f" Write `{kind}(filter(lambda p: p.requires_grad, self.parameters()), …)` in `configure_optimizers`."
            )
        return new

    @staticmethod
    def unfreeze_and_add_param_group(
        modules: Modules,
        optimizer: Optimizer,
        lr: float | None = None,
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
    ) -> None:
        """Unfreeze parameters and add them to an optimizer as a new group.

        Args:
            modules: A module, or modules nested in iterables.
            optimizer: What trains them from now on.
            lr: The group's learning rate; by default that of the first group, divided by ``initial_denom_lr``.
            initial_denom_lr: See ``lr``.
            train_bn: Whether those of batch normalisation are added, too.
        """
        was_frozen = {id(parameter) for parameter in BaseFinetuning.filter_params(modules, requires_grad=False)}
        BaseFinetuning.make_trainable(modules)
        rate = optimizer.param_groups[0]["lr"] / initial_denom_lr if lr is None else float(lr)
        params = BaseFinetuning.filter_params(modules, train_bn=train_bn, requires_grad=True)
        # Batch normalisation that was left trainable is in the optimizer already, as it should be.
        known = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]} - was_frozen
        new = BaseFinetuning.filter_on_optimizer(optimizer, (each for each in params if id(each) not in known))
        if new:
            optimizer.add_param_group({"params": new, "lr": rate})


class BackboneFinetuning(BaseFinetuning):
    """Freeze ``pl_module.backbone`` at first, and train it from an epoch on, with a learning rate of its own.

    In the epoch of unfreezing the backbone begins with a part of the module's learning rate; in each later one its rate
    is multiplied by ``lambda_func(epoch + 1)``.

    Args:
        unfreeze_backbone_at_epoch: From which epoch on the backbone is trained, counted from 0.
        lambda_func: By what the backbone's rate is multiplied, by epoch; by default doubled.
        backbone_initial_ratio_lr: The part of the module's rate that the backbone begins with.
        backbone_initial_lr: The rate that the backbone begins with, instead of a part.
        should_align: Whether the backbone's rate is never above the module's.
        initial_denom_lr: Passed to `unfreeze_and_add_param_group`, which uses it where there is no rate.
        train_bn: Whether the backbone's batch normalisation is added to the optimizer with it.
        verbose: Whether to say the rates in each epoch.
        rounding: To how many digits they are said.

    Raises:
        MisconfigurationException: An argument is out of its range; or, when fit begins, the module has no ``backbone``.

    Example:
        >>> BackboneFinetuning(unfreeze_backbone_at_epoch=3, lambda_func=lambda epoch: 1.5).lambda_func(4)
        1.5
    """

    def __init__(
        self,
        unfreeze_backbone_at_epoch: int = 10,
        lambda_func: Callable[[int], float] = multiplicative,
        backbone_initial_ratio_lr: float = 0.1,
        backbone_initial_lr: float | None = None,
        should_align: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        initial_denom_lr: float = 10.0,
        train_bn: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        verbose: bool = False,  # noqa: FBT001, FBT002 - the position is part of the public API
        rounding: int = 12,
    ) -> None:
        super().__init__()
        if isinstance(unfreeze_backbone_at_epoch, bool) or not isinstance(unfreeze_backbone_at_epoch, int):
            raise MisconfigurationTypeError(
                f"BackboneFinetuning got unfreeze_backbone_at_epoch={unfreeze_backbone_at_epoch!r}; expected a whole"
                " number. Write for example `unfreeze_backbone_at_epoch=10`."
            )
        if unfreeze_backbone_at_epoch < 0:
            raise MisconfigurationValueError(
                f"BackboneFinetuning got unfreeze_backbone_at_epoch={unfreeze_backbone_at_epoch!r}; expected an epoch,"
                " counted from 0. Write for example `unfreeze_backbone_at_epoch=10`."
            )
        if not callable(lambda_func):
            raise MisconfigurationTypeError(
                f"BackboneFinetuning got lambda_func={lambda_func!r}; expected a function of the epoch. Write for"
                " example `lambda_func=lambda epoch: 1.5`."
            )
        rates = {"backbone_initial_ratio_lr": backbone_initial_ratio_lr, "initial_denom_lr": initial_denom_lr}
        if backbone_initial_lr is not None:
            rates["backbone_initial_lr"] = backbone_initial_lr
        for name, value in rates.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise MisconfigurationValueError(
                    f"BackboneFinetuning got {name}={value!r}; expected a number above 0. Write for example"
                    f" `{name}=0.1`."
                )
        self.unfreeze_backbone_at_epoch = unfreeze_backbone_at_epoch
        self.lambda_func = lambda_func
        self.backbone_initial_ratio_lr = backbone_initial_ratio_lr
        self.backbone_initial_lr = backbone_initial_lr
        self.should_align = should_align
        self.initial_denom_lr = initial_denom_lr
        self.train_bn = train_bn
        self.verbose = verbose
        self.rounding = rounding
        self.previous_backbone_lr: float | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the base class and the backbone's learning rate."""
        return {**super().state_dict(), "previous_backbone_lr": self.previous_backbone_lr}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned."""
        self.previous_backbone_lr = state_dict["previous_backbone_lr"]
        super().load_state_dict(state_dict)

    def freeze_before_training(self, pl_module: LightningModule) -> None:
        """Freeze the backbone, but for its batch normalisation."""
        backbone = getattr(pl_module, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise MisconfigurationException(
                f"BackboneFinetuning found {backbone!r} as the attribute `backbone` of"
                f" `{type(pl_module).__name__}`; the LightningModule should have a nn.Module `backbone` attribute."
                " Write `self.backbone = …` in `__init__`."
            )
        self.previous_backbone_lr = None
        self.freeze(backbone)

    def finetune_function(self, pl_module: LightningModule, epoch: int, optimizer: Optimizer) -> None:
        """Unfreeze the backbone when its epoch has come, and adapt its learning rate afterwards."""
        if epoch < self.unfreeze_backbone_at_epoch:
            return
        current = optimizer.param_groups[0]["lr"]
        previous = self.previous_backbone_lr
        if epoch == self.unfreeze_backbone_at_epoch or previous is None:
            given = self.backbone_initial_lr
            rate = given if given is not None else current * self.backbone_initial_ratio_lr
            backbone: Any = pl_module.backbone
            self.unfreeze_and_add_param_group(backbone, optimizer, rate, self.initial_denom_lr, self.train_bn)
        else:
            rate = self.lambda_func(epoch + 1) * previous
            if self.should_align and rate > current:
                rate = current
            optimizer.param_groups[-1]["lr"] = rate
        self.previous_backbone_lr = rate
        if self.verbose:
            digits = self.rounding
            rank_zero_info(f"Current lr: {round(current, digits)}, Backbone lr: {round(rate, digits)}")


class _MissingMethodError(MisconfigurationException, NotImplementedError):
    def __init__(self, method: str, callback: BaseFinetuning) -> None:
        super().__init__(
            f"`{type(callback).__name__}` derives from BaseFinetuning and has no method of its own"
            f" `{method.partition('(')[0]}`; expected one. Write `def {method}:`, or use BackboneFinetuning."
        )
