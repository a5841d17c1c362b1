"""The batch size is told by the batch's tensors or asked for."""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass

import pytest
import torch

from lt_core import MisconfigurationException
from lt_core.log import batch_size_of

Pair = namedtuple("Pair", "x y")


@dataclass
class Sample:
    x: torch.Tensor
    text: str = "text"


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.zeros(4, 2), 4),
        (torch.zeros(()), 1),
        ([torch.zeros(4), torch.zeros(4, 3)], 4),
        ({"x": torch.zeros(5), "meta": {"text": ["a"], "y": torch.zeros(5, 1)}}, 5),
        (Pair(torch.zeros(6), torch.zeros(6)), 6),
        (Sample(torch.zeros(7)), 7),
        ([torch.zeros(3), torch.zeros(())], 3),
        ([torch.zeros(()), torch.zeros(())], 1),
        ([[torch.zeros(2)], (torch.zeros(2, 9),)], 2),
        (torch.zeros(0, 3), 0),
    ],
)
def test_the_first_dimension_that_all_tensors_share_is_the_batch_size(batch: object, size: int) -> None:
    """In any nesting; scalars and texts have no say."""
    assert batch_size_of(batch) == size


@pytest.mark.parametrize("batch", [[torch.zeros(3), torch.zeros(4)], "text", 5, {"a": [1, 2]}, None, [], Sample])
def test_what_cannot_be_told_is_asked_for(batch: object) -> None:
    """Disagreeing tensors and batches without tensors are errors that say what to write."""
    with pytest.raises(MisconfigurationException, match=r"self\.log\('loss', value, batch_size=…\)"):
        batch_size_of(batch, "loss")
