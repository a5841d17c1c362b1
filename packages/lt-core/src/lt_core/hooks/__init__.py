"""Hooks: the table that declares them, the calls precomputed from it, and the checks against it."""

from lt_core.hooks.calls import HookCall as HookCall
from lt_core.hooks.calls import HookCalls as HookCalls
from lt_core.hooks.calls import bind_hook as bind_hook
from lt_core.hooks.calls import is_overridden as is_overridden
from lt_core.hooks.calls import resolve_hook_calls as resolve_hook_calls
from lt_core.hooks.check import REMOVED_HOOKS as REMOVED_HOOKS
from lt_core.hooks.check import check_hooks as check_hooks
from lt_core.hooks.check import not_a_hook as not_a_hook
from lt_core.hooks.order import CALL_ORDER as CALL_ORDER
from lt_core.hooks.order import Block as Block
from lt_core.hooks.order import flatten as flatten
from lt_core.hooks.table import HOOKS as HOOKS
from lt_core.hooks.table import Hook as Hook
from lt_core.hooks.table import LogRule as LogRule
from lt_core.hooks.table import Owner as Owner
from lt_core.hooks.table import hook_names as hook_names

__all__ = [
    "CALL_ORDER",
    "HOOKS",
    "REMOVED_HOOKS",
    "Block",
    "Hook",
    "HookCall",
    "HookCalls",
    "LogRule",
    "Owner",
    "bind_hook",
    "check_hooks",
    "flatten",
    "hook_names",
    "is_overridden",
    "not_a_hook",
    "resolve_hook_calls",
]
