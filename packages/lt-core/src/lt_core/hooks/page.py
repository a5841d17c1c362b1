"""The documentation page of the hooks, written from the table: ``python -m lt_core.hooks.page > docs/hooks.md``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from lt_core.hooks.order import CALL_ORDER, Order
from lt_core.hooks.table import HOOKS, Hook, LogRule

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["hooks_page"]

_INTRODUCTION = """\
# Hooks

<!-- Written by `python -m lt_core.hooks.page`; a test holds this file to the hook table. -->

A hook is a method that a trainer calls at a fixed moment. Write the ones you need in your `LightningModule`, in a
`Callback` or in your data module; those you leave out cost nothing. A callback's hook gets `trainer` and `pl_module`
before the arguments below. Where both have a hook, the callbacks' run first, in their order, then the module's; in
`on_train_epoch_end` the callbacks that monitor metrics (checkpoints, early stopping) come after the module.

A method whose name resembles a hook's is reported before the run starts. Decorate it with `@lt_core.not_a_hook` if it
is meant to be a method of its own.
"""

_LOGGING = {
    LogRule.NEVER: "no",
    LogRule.STEP: "yes: on step unless told otherwise",
    LogRule.BATCH: "yes: on epoch unless told otherwise",
    LogRule.EPOCH: "yes: on epoch only",
}


def _order(order: Order, depth: int) -> Iterator[str]:
    for entry in order:
        if isinstance(entry, str):
            yield "    " * depth + entry
        else:
            yield "    " * depth + f"# {entry.title}"
            yield from _order(entry.body, depth + 1)


def _row(hook: Hook) -> str:
    required = len(hook.parameters) - hook.optional
    parameters = [*hook.parameters[:required], *(f"[{name}]" for name in hook.parameters[required:])]
    signature = f"`{hook.name}({', '.join(parameters)})`"
    when = hook.when + (f"; returns {hook.returns}" if hook.returns else "")
    return f"| {signature} | {', '.join(hook.owners)} | {when} | {_LOGGING[hook.logs]} |"


def hooks_page() -> str:
    """Return the page as Markdown.

    Example:
        >>> print(hooks_page().splitlines()[0])
        # Hooks
    """
    lines = [_INTRODUCTION]
    for name, order in CALL_ORDER.items():
        lines += [f"## The order of `{name}`", "", "```text", *_order(order, 0), "```", ""]
    lines += [
        "An exception ends a run at once: `on_exception` of every callback and of the data module is called, no",
        "`teardown`.",
        "`on_save_checkpoint` is called whenever a checkpoint is written, the module's last.",
        "",
        "## All hooks",
        "",
        "Arguments in brackets may be left out of your signature.",
        "",
        "| hook | who may have it | when | may `self.log` |",
        "| --- | --- | --- | --- |",
        *(_row(hook) for hook in HOOKS.values()),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(hooks_page())
