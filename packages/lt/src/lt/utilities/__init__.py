"""What users and third-party packages import beside the main classes, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.attribute_dict import AttributeDict
from lt_core.combined_loader import CombinedLoader
from lt_core.rank_zero import (
    disable_possible_user_warnings,
    rank_zero_deprecation,
    rank_zero_info,
    rank_zero_only,
    rank_zero_warn,
)
from lt_core.transfer import move_data_to_device

__all__ = [
    "AttributeDict",
    "CombinedLoader",
    "disable_possible_user_warnings",
    "move_data_to_device",
    "rank_zero_deprecation",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]
