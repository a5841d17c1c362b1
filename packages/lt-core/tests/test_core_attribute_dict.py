"""The dictionary with attribute access."""

import copy
import pickle

import pytest

from lt_core.attribute_dict import AttributeDict


def test_attribute_dict_reads_writes_and_deletes_attributes():
    """Items and attributes are the same thing."""
    values = AttributeDict(a=1)

    values.b = 2
    del values.a

    assert values == {"b": 2}
    assert "b" in dir(values)


def test_missing_attribute_names_what_there_is():
    """It is an AttributeError, so that getattr with a default works."""
    values = AttributeDict(learning_rate=1)

    with pytest.raises(AttributeError, match=r"no entry 'learning_rat'. There are: \['learning_rate'\]"):
        _ = values.learning_rat
    with pytest.raises(AttributeError, match="no entry 'x' to delete"):
        del values.x
    assert getattr(values, "x", 5) == 5


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])
def test_attribute_dict_can_be_copied_and_pickled(clone):
    """Its attribute access does not get in the way of Python's own protocols."""
    values = AttributeDict(a=[1], b=AttributeDict(c=2))

    other = clone(values)

    assert other == values
    assert type(other) is AttributeDict
    assert other is not values


def test_attribute_dict_prints_as_a_sorted_table():
    """Keys that are no text are printed as such."""
    assert repr(AttributeDict({"bb": 1, "a": "x", 3: None})) == '"3":  None\n"a":  x\n"bb": 1'
    assert repr(AttributeDict()) == ""
