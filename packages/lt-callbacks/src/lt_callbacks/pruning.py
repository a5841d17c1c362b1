"""Prunes weights in the course of training: the least important ones are held at zero.

The arithmetic is that of `torch.nn.utils.prune`: each pruned parameter becomes a parameter ``<name>_orig`` and a buffer
``<name>_mask``, whose product takes its place. Here is when that happens, what a checkpoint shows of it, and the
lottery ticket hypothesis (Frankle and Carbin, arXiv:1803.03635): after pruning, what is left begins anew from its
initial values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from torch import Tensor, nn

from lt_callbacks import pruned_parameters as pruned
from lt_callbacks.pruning_method import PruningMethod, resolve_method
from lt_core.callback import Callback
from lt_core.errors import MisconfigurationException, MisconfigurationTypeError, MisconfigurationValueError
from lt_core.rank_zero import rank_zero_info, rank_zero_warn
from lt_core.state import TrainerFn

if TYPE_CHECKING:
    from lt_callbacks.pruned_parameters import PrunedParameter
    from lt_core.module import LightningModule
    from lt_core.protocols import TrainerProtocol as Trainer

__all__ = ["ModelPruning"]

Amount: TypeAlias = int | float


class ModelPruning(Callback):
    """Prune parameters at the end of each training epoch.

    Args:
        pruning_fn: ``"l1_unstructured"``, ``"random_unstructured"``, ``"ln_structured"``, ``"random_structured"``, or a
            subclass (not an instance) of `torch.nn.utils.prune.BasePruningMethod`.
        parameters_to_prune: Pairs of a module and the name of its parameter; by default all of the model's with a name
            in ``parameter_names``, but for those of containers.
        parameter_names: ``"weight"``, ``"bias"``, or both, the default.
        use_global_unstructured: Whether the parameters are pruned together, the least important of all of them first.
        amount: How much is pruned of what is left: a part from 0 to 1, a number of elements, or a function of the epoch
            that returns one of them.
        apply_pruning: Whether to prune, or a function of the epoch that says so.
        make_pruning_permanent: Whether checkpoints, and the module when training ends, hold the product of values and
            masks under the parameters' own names.
        use_lottery_ticket_hypothesis: Whether to put the initial values back after pruning, or a function of the epoch
            that says so.
        resample_parameters: Whether those values are drawn anew, by ``reset_parameters``, where a module has it.
        pruning_dim: For structured pruning, along which dimension.
        pruning_norm: For ``"ln_structured"``, by which norm.
        verbose: 0 for silence, 1 to say how much is pruned, 2 to say so for each parameter.
        prune_on_train_epoch_end: Whether to prune at the end of the training epoch, or else of the validation epoch.

    Raises:
        MisconfigurationException: An argument is out of its range or does not go with another; or, when fit begins, a
            parameter is not the model's.

    Example:
        >>> ModelPruning("l1_unstructured", amount=lambda epoch: 0.5 if epoch == 0 else 0.2).amount(3)
        0.2
    """

    PARAMETER_NAMES = ("weight", "bias")

    def __init__(
        self,
        pruning_fn: Callable[..., Any] | str,
        parameters_to_prune: Sequence[tuple[nn.Module, str]] = (),
        parameter_names: list[str] | None = None,
        use_global_unstructured: bool = True,  # noqa: FBT001, FBT002 - the position is part of the public API
        amount: Amount | Callable[[int], Amount] = 0.5,
        apply_pruning: bool | Callable[[int], bool] = True,  # noqa: FBT001, FBT002 - the same
        make_pruning_permanent: bool = True,  # noqa: FBT001, FBT002 - the same
        use_lottery_ticket_hypothesis: bool | Callable[[int], bool] = True,  # noqa: FBT001, FBT002 - the same
        resample_parameters: bool = False,  # noqa: FBT001, FBT002 - the same
        pruning_dim: int | None = None,
        pruning_norm: int | None = None,
        verbose: int = 0,
        prune_on_train_epoch_end: bool = True,  # noqa: FBT001, FBT002 - the same
    ) -> None:
        super().__init__()
        self._parameter_names = tuple(parameter_names or self.PARAMETER_NAMES)
        for name in self._parameter_names:
            if name not in self.PARAMETER_NAMES:
                raise MisconfigurationValueError(
                    f"The provided `parameter_names` name: {name} isn't in {self.PARAMETER_NAMES}; ModelPruning prunes"
                    " parameters of these names. Pass others as `parameters_to_prune=[(module, 'name')]`."
                )
        self._method: PruningMethod = resolve_method(
            pruning_fn, dim=pruning_dim, norm=pruning_norm, together=use_global_unstructured
        )
        _check_amount(amount)
        if verbose not in (0, 1, 2):
            raise MisconfigurationValueError(
                f"ModelPruning got verbose={verbose!r}; `verbose` must be any of (0, 1, 2). Write `verbose=1`."
            )
        self.pruning_fn = self._method.function
        self.amount = amount
        self._given = parameters_to_prune
        self._apply_pruning = apply_pruning
        self._make_pruning_permanent = make_pruning_permanent
        self._use_lottery_ticket_hypothesis = use_lottery_ticket_hypothesis
        self._resample_parameters = resample_parameters
        self._verbose = verbose
        self._prune_on_train_epoch_end = prune_on_train_epoch_end
        self._parameters: list[PrunedParameter] = []
        self._layers: dict[int, nn.Module] = {}  # copies to draw values from
        self._initial: dict[str, Tensor] = {}
        self._masks: dict[str, Tensor] = {}

    # -- to be overridden

    def filter_parameters_to_prune(
        self, parameters_to_prune: Sequence[tuple[nn.Module, str]] = ()
    ) -> Sequence[tuple[nn.Module, str]]:
        """Return those of the parameters that are pruned: by default all.

        Args:
            parameters_to_prune: Pairs of a module and the name of its parameter.
        """
        return parameters_to_prune

    # -- a run

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Find the parameters, and remember their initial values."""
        if stage != "fit":
            return
        pairs = self.filter_parameters_to_prune(
            self.sanitize_parameters_to_prune(pl_module, self._given, self._parameter_names)
        )
        if not pairs:
            rank_zero_warn(
                f"ModelPruning found nothing to prune in `{type(pl_module).__name__}`. Expected layers with parameters"
                f" called {' or '.join(self._parameter_names)}. Pass `parameters_to_prune=[(module, 'name')]`."
            )
        self._masks = {}
        self._parameters = pruned.named(pl_module, pairs)
        self._initial = {each.name: each.values.detach().clone() for each in self._parameters}
        self._layers = {}
        for each in self._parameters if self._resample_parameters else ():
            if id(each.module) not in self._layers and (layer := pruned.unpruned_copy(each)) is not None:
                self._layers[id(each.module)] = layer

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the masks of a resumed run in place, when the optimizers have their parameters in the usual order."""
        for each in self._parameters:
            if each.name in self._masks and each.mask is None:
                each.apply_mask(self._masks[each.name])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prune."""
        if self._prune_on_train_epoch_end:
            self._prune(trainer.current_epoch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Prune, where that is to follow validation."""
        within_fit = trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking
        if within_fit and not self._prune_on_train_epoch_end:
            self._prune(trainer.current_epoch)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave plain parameters, with zeros where they were pruned."""
        if self._make_pruning_permanent:
            self._note_masks()
            self.make_pruning_permanent(pl_module)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Let go of the module."""
        self._let_go()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Let go of the module."""
        self._let_go()

    # -- checkpoints

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Show plain weights, with zeros where they were pruned."""
        if self._make_pruning_permanent:
            checkpoint["state_dict"] = pruned.without_masks(checkpoint["state_dict"])

    def state_dict(self) -> dict[str, Any]:
        """Return the masks, and the values that the lottery ticket hypothesis begins anew from."""
        self._note_masks()
        state: dict[str, Any] = {}
        if self._masks:
            state["masks"] = self._masks
        if self._initial and self._use_lottery_ticket_hypothesis and not self._resample_parameters:
            state["initial_values"] = self._initial
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what `state_dict` returned; masks come into effect when fit starts."""
        self._masks = dict(state_dict.get("masks", {}))
        self._initial = {**self._initial, **state_dict.get("initial_values", {})}

    # -- pruning

    def apply_pruning(self, amount: Amount) -> None:
        """Prune now.

        Args:
            amount: How much of what is left: a part as a float, or a number of elements.
        """
        before = [each.num_pruned for each in self._parameters]
        self._method.apply([(each.module, each.parameter_name) for each in self._parameters], amount)
        if self._verbose:
            self._say(before, amount)

    def apply_lottery_ticket_hypothesis(self) -> None:
        """Put the initial values back, or draw them anew; what is pruned stays pruned."""
        for copied in self._layers.values():
            reset: Any = copied.reset_parameters
            reset()
        for each in self._parameters:
            layer = self._layers.get(id(each.module))
            each.set_values(self._initial[each.name] if layer is None else getattr(layer, each.parameter_name))

    def make_pruning_permanent(self, module: nn.Module) -> None:
        """Make plain parameters of pruned ones, within a module.

        Args:
            module: The module.
        """
        pruned.make_permanent(module)

    @staticmethod
    def sanitize_parameters_to_prune(
        pl_module: LightningModule,
        parameters_to_prune: Sequence[tuple[nn.Module, str]] = (),
        parameter_names: Sequence[str] = (),
    ) -> Sequence[tuple[nn.Module, str]]:
        """Return the parameters to prune, after a check that they are the model's.

        Args:
            pl_module: The model.
            parameters_to_prune: Pairs of a module and the name of its parameter; none for all.
            parameter_names: The names of parameters that all means.

        Raises:
            MisconfigurationException: A pair has another form, or is not the model's.
        """
        names = parameter_names or ModelPruning.PARAMETER_NAMES
        if not isinstance(parameters_to_prune, (list, tuple)):
            raise MisconfigurationTypeError(
                f"ModelPruning got parameters_to_prune={parameters_to_prune!r}; the provided `parameters_to_prune`"
                " should either be list of tuple with 2 elements, (nn.Module, parameter_name_to_prune), or None. Write"
                " `parameters_to_prune=[(model.layer, 'weight')]`."
            )
        if not parameters_to_prune:
            return pruned.all_of(pl_module, names)
        pruned.check_pairs(pl_module, parameters_to_prune)
        return parameters_to_prune

    # -- the parts

    def _prune(self, epoch: int) -> None:
        is_due = self._apply_pruning(epoch) if callable(self._apply_pruning) else self._apply_pruning
        amount = self.amount(epoch) if callable(self.amount) else self.amount
        if not is_due or not amount or not self._parameters:
            return
        self.apply_pruning(amount)
        hypothesis = self._use_lottery_ticket_hypothesis
        if hypothesis(epoch) if callable(hypothesis) else hypothesis:
            self.apply_lottery_ticket_hypothesis()

    def _note_masks(self) -> None:
        for each in self._parameters:
            if each.mask is not None:
                self._masks[each.name] = each.mask.detach().clone()

    def _let_go(self) -> None:
        self._note_masks()
        self._parameters, self._layers = [], {}

    def _say(self, before: list[int], amount: Amount) -> None:
        now = [each.num_pruned for each in self._parameters]
        total = sum(each.values.numel() for each in self._parameters)
        rank_zero_info(
            f"Applied `{self._method.name}`. Pruned: {sum(before)}/{total} ({sum(before) / total:.2%}) ->"
            f" {sum(now)}/{total} ({sum(now) / total:.2%})"
        )
        if self._verbose < 2:
            return
        for each, old, new in zip(self._parameters, before, now, strict=True):
            size = each.values.numel()
            rank_zero_info(
                f"Applied `{self._method.name}` to `{each.module!r}.{each.parameter_name}` with amount={amount}."
                f" Pruned: {old} ({old / size:.2%}) -> {new} ({new / size:.2%})"
            )


def _check_amount(amount: Any) -> None:
    if callable(amount):
        return
    if isinstance(amount, bool) or not isinstance(amount, (int, float)):
        raise MisconfigurationTypeError(
            f"ModelPruning got amount={amount!r}; `amount` should be provided and be either an int, a float or Callable"
            " function. Write `amount=0.5` for half of what is left."
        )
    if amount < 0 or (isinstance(amount, float) and amount > 1):
        raise MisconfigurationException(
            f"ModelPruning got amount={amount!r}; expected a part from 0.0 to 1.0, or a number of elements from 0."
            " Write `amount=0.5` for half of what is left."
        )
