"""Which values of a checkpoint can be written, and which can be read back safely."""

import io
import resource
import threading
from collections import Counter, namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch

from lt_core.checkpoint_values import unsafe_values, unwritable_values


class Custom:
    """A class that a safe read does not know."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom)

    __hash__ = None  # type: ignore[assignment]


Point = namedtuple("Point", ["x", "y"])


def test_values_that_cannot_be_read_safely_are_named_by_their_place():
    """As a trainer says while saving, not months later."""
    given = {
        "state_dict": torch.nn.BatchNorm1d(3).state_dict(),
        "hyper_parameters": {"lr": 0.1, "loss": Custom(), "call": len, "lambda": lambda: 0},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(1.0), "hook": Custom()}}, "param_groups": [(1, 2)]}],
        Custom: 1,
        "callbacks": {("a", 1): Point(1, 2), "counts": Counter("aab")},
    }

    found = unsafe_values(given)

    assert found == [
        "hyper_parameters.loss",
        "hyper_parameters.call",
        "hyper_parameters.lambda",
        "optimizer_states[0].state[0].hook",
        f"[{Custom!r}]",
        "callbacks[('a', 1)]",
    ]


@pytest.mark.parametrize(
    "value",
    [
        torch.zeros(2),
        torch.nn.Parameter(torch.zeros(2)),
        torch.zeros(2).to_sparse(),
        torch.float16,
        torch.device("cpu"),
        torch.Size([1]),
        b"bytes",
        b"",
        {1, 2},
        frozenset([1]),
        1j,
        2**5000,
        -(2**70),
        None,
        range(3),
        Path("x"),
        "text",
        torch.nn.Linear(1, 1),
        Custom,
        torch.tensor(1.0).as_subclass(type("Own", (torch.Tensor,), {})),
    ],
)
@pytest.mark.filterwarnings("ignore:Validating sparse tensor:UserWarning")
def test_named_values_are_exactly_those_that_a_real_file_refuses(tmp_path: Path, value):
    """The shortcut for common types must agree with writing and reading."""
    given = {"place": [{"here": value}]}
    buffer = io.BytesIO()
    try:
        torch.save(given, buffer)
        buffer.seek(0)
        torch.load(buffer, weights_only=True)
        readable = True
    except Exception:  # noqa: BLE001 - whatever it is: it cannot be read back
        readable = False

    assert unsafe_values(given) == ([] if readable else ["place[0].here"])


def test_tensor_with_attributes_of_its_own_is_looked_into():
    """Attributes are pickled with the tensor."""
    tensor = torch.zeros(1)
    tensor.note = Custom()  # type: ignore[attr-defined]

    assert unsafe_values({"w": tensor, "v": torch.zeros(1)}) == ["w"]


def test_state_dict_metadata_is_looked_into():
    """It travels as an attribute of the dictionary."""
    state = torch.nn.Linear(1, 1).state_dict()
    state._metadata[""]["own"] = Custom()  # type: ignore[attr-defined]

    assert unsafe_values({"state_dict": state}) == ["state_dict._metadata[''].own"]


def test_registered_classes_are_safe():
    """The answer follows what the reader would accept."""
    with torch.serialization.safe_globals([Custom]):
        assert unsafe_values({"a": Custom()}) == []
    assert unsafe_values({"a": Custom()}) == ["a"]


def test_container_that_holds_itself_ends_the_search():
    """Pickle can write it, so it is no endless loop here either."""
    row: list[Any] = [1]
    row.append(row)

    assert unsafe_values({"row": row, "x": Custom()}) == ["x"]


def test_values_that_cannot_be_written_are_those_that_pickle_refuses():
    """A class that a safe read refuses can still be written."""
    assert unwritable_values({"a": Custom(), "b": {"c": lambda: 0}, "d": [threading.Lock()]}) == ["b.c", "d[0]"]


def test_search_does_not_copy_large_tensors():
    """Tensors are known to be safe: a gigabyte of them takes no memory and no time."""
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss + 200_000  # kilobytes on Linux
    big = torch.empty(1).expand(2**28)  # one gigabyte if it were copied

    assert unsafe_values({"state_dict": {str(index): big for index in range(100)}}) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < limit
