"""The table after validate and test."""

import sys

import pytest

from lt_loops.results_table import format_results, print_results


def test_each_name_is_a_row_and_each_loader_a_column():
    """The loader's suffix is dropped, a value that a loader has not is left empty."""
    text = format_results("validate", [{"acc/dataloader_idx_0": 0.5, "loss": 2.0}, {"acc/dataloader_idx_1": 0.25}])

    lines = [line.split() for line in text.splitlines() if not line.startswith("─")]
    assert lines == [
        ["Validate", "metric", "DataLoader", "0", "DataLoader", "1"],
        ["acc", "0.5", "0.25"],
        ["loss", "2.0"],
    ]


def test_a_suffix_of_another_loader_is_part_of_the_name():
    """Only a loader's own number is what its column says already."""
    assert "x/dataloader_idx_1" in format_results("test", [{"x/dataloader_idx_1": 1.0}])


def test_many_loaders_go_below_each_other(monkeypatch):
    """No line is wider than the terminal, and every value is there."""
    monkeypatch.setenv("COLUMNS", "50")

    text = format_results("test", [{"accuracy": float(index)} for index in range(9)])

    assert max(map(len, text.splitlines())) <= 50
    assert all(f"DataLoader {index}" in text and f"{index}.0" in text for index in range(9))


@pytest.mark.parametrize("installed", [True, False])
def test_the_table_is_printed_with_rich_or_without(installed, monkeypatch, capsys):
    """Both show the same names and values."""
    if installed:
        pytest.importorskip("rich")
    else:
        monkeypatch.setitem(sys.modules, "rich", None)

    print_results("test", [{"[red]acc": 0.5}])

    out = capsys.readouterr().out
    assert "Test metric" in out
    assert "[red]acc" in out
    assert "0.5" in out


@pytest.mark.parametrize("results", [[], [{}], [{}, {}]])
def test_nothing_logged_prints_nothing(results, capsys):
    """An empty table tells nothing."""
    print_results("test", results)

    assert capsys.readouterr().out == ""
