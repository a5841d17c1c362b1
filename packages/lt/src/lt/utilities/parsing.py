"""Hyperparameters as an object with attributes, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.attribute_dict import AttributeDict

__all__ = ["AttributeDict"]
