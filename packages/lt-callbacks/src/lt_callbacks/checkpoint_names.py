"""File names of checkpoints: templates such as ``{epoch:02d}-{val/loss:.2f}`` and how they are filled.

A template is a format string whose fields are names of metrics, and such names may hold slashes and dots. With
``insert_names`` each field is preceded by ``name=``, so that a folder of checkpoints explains itself.
"""

from __future__ import annotations

import re
import string
from typing import TYPE_CHECKING, Any

from lt_core.errors import MisconfigurationValueError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check_template", "fill_template", "template_fields", "template_pattern"]


def check_template(template: str) -> None:
    """Raise if a template cannot be read.

    Raises:
        MisconfigurationValueError: A brace is missing, or a field has no name.

    Example:
        >>> check_template("{epoch}-{val_loss:.2f}")
    """
    advice = "Write fields as `{name}` or `{name:.2f}`, for example '{epoch}-{val_loss:.2f}'."
    try:
        fields = template_fields(template)
    except ValueError as error:
        raise MisconfigurationValueError(
            f"The checkpoint file name {template!r} cannot be read: {error}. Expected a format string with names of"
            f" metrics. {advice}"
        ) from error
    if "" in fields:
        raise MisconfigurationValueError(
            f"The checkpoint file name {template!r} has a field without a name. Expected the name of a metric in each"
            f" pair of braces. {advice}"
        )


def template_fields(template: str) -> list[str]:
    """Return the names of the metrics in a template.

    Example:
        >>> template_fields("x-{epoch:02d}-{val/loss:.2f}")
        ['epoch', 'val/loss']
    """
    return [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]


def fill_template(template: str, metrics: Mapping[str, Any], equals: str = "=", *, insert_names: bool = True) -> str:
    """Fill a template; a metric that is not there counts as 0.

    Args:
        template: The format string.
        metrics: The values, numbers or tensors of one element.
        equals: What stands between an inserted name and its value.
        insert_names: Whether each value is preceded by its name.

    Raises:
        MisconfigurationValueError: A value cannot be written in the format its field asks for.

    Example:
        >>> fill_template("{epoch:02d}-{val/loss:.2f}", {"epoch": 2, "val/loss": 7.764})
        'epoch=02-val/loss=7.76'
        >>> fill_template("e{epoch}", {"epoch": 2}, insert_names=False)
        'e2'
    """
    parts: list[str] = []
    for literal, name, spec, _ in string.Formatter().parse(template):
        parts.append(literal)
        if name is None:
            continue
        if insert_names:
            parts.append(f"{name}{equals}")
        value = metrics.get(name, 0)
        try:
            parts.append(format(value, spec or ""))
        except (TypeError, ValueError) as error:
            raise MisconfigurationValueError(
                f"The checkpoint file name {template!r} asks for {name!r} in the format {spec!r}, and its value"
                f" {value!r} cannot be written so ({error}). Expected a format for that kind of number. Write for"
                f" example `{{{name}:.2f}}`, or `{{{name}}}` without a format."
            ) from error
    return "".join(parts)


def template_pattern(template: str) -> re.Pattern[str]:
    """Return what file names made from a template look like, with or without a version at their end.

    Example:
        >>> bool(template_pattern("last").fullmatch("last-v2")), bool(template_pattern("last").fullmatch("lastly"))
        (True, False)
        >>> bool(template_pattern("{epoch}-last").fullmatch("epoch=3-last"))
        True
    """
    parts = [
        re.escape(literal) + ("" if name is None else ".*")
        for literal, name, _, _ in string.Formatter().parse(template)
    ]
    return re.compile("".join(parts) + r"(-v\d+)?")
