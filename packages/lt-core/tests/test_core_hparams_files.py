"""Hyperparameters as YAML and CSV files."""

import subprocess
import sys
from argparse import Namespace
from enum import Enum
from pathlib import Path

import pytest

from lt_core.attribute_dict import AttributeDict
from lt_core.errors import MisconfigurationValueError
from lt_core.hparams_files import (
    HparamsFileNotFoundError,
    load_hparams_file,
    load_hparams_from_tags_csv,
    load_hparams_from_yaml,
    save_hparams_to_tags_csv,
    save_hparams_to_yaml,
)

VALUES = {
    "lr": 1e-3,
    "name": "a, 'b'",
    "layers": [1, 2],
    "flag": True,
    "none": None,
    "pair": (1, "x"),
    "digits": "12",
    "empty": "",
}


class Colour(Enum):
    RED = 1


def test_csv_gives_back_what_was_written(tmp_path: Path):
    """Commas, quotes and Python literals survive."""
    file = tmp_path / "hparams.csv"

    save_hparams_to_tags_csv(file, VALUES)

    assert load_hparams_from_tags_csv(file) == VALUES
    assert file.read_text().splitlines()[0] == "key,value"


@pytest.mark.parametrize("suffix", [".yaml", ".yml"])
def test_yaml_gives_back_what_was_written(tmp_path: Path, suffix: str):
    """Both suffixes are YAML."""
    pytest.importorskip("yaml")
    file = tmp_path / f"hparams{suffix}"

    save_hparams_to_yaml(file, VALUES)

    assert dict(load_hparams_file(file)) == VALUES
    assert load_hparams_from_yaml(file, use_omegaconf=False) == VALUES


@pytest.mark.parametrize("values", [Namespace(a=1), AttributeDict(a=1)])
def test_namespace_and_attribute_dict_are_written(tmp_path: Path, values):
    """Whatever hyperparameters come as."""
    pytest.importorskip("yaml")

    save_hparams_to_yaml(tmp_path / "h.yaml", values)
    save_hparams_to_tags_csv(tmp_path / "h.csv", values)

    assert dict(load_hparams_file(tmp_path / "h.yaml")) == load_hparams_file(tmp_path / "h.csv") == {"a": 1}


def test_paths_enumerations_and_nested_containers_are_written_plainly(tmp_path: Path):
    """They would be read back as nothing or as an error otherwise."""
    pytest.importorskip("yaml")
    file = tmp_path / "h.yaml"
    given = {"dir": Path("data", "x"), "colour": Colour.RED, "nested": AttributeDict(a=[Namespace(b=Path("c"))])}

    save_hparams_to_yaml(file, given)

    assert dict(load_hparams_from_yaml(file)) == {
        "dir": str(Path("data", "x")),
        "colour": "RED",
        "nested": {"a": [{"b": "c"}]},
    }


def test_value_that_yaml_cannot_give_back_is_left_out_with_a_warning(tmp_path: Path):
    """The rest is written and the given hyperparameters are not changed."""
    pytest.importorskip("yaml")
    given = {"lr": 0.1, "loss": Colour, "model": HparamsFileNotFoundError("x"), "call": lambda: 0}
    before = dict(given)

    with pytest.warns(UserWarning, match=r"'(loss|model|call)' of type .* is not written to h\.yaml") as caught:
        save_hparams_to_yaml(tmp_path / "h.yaml", given)

    assert load_hparams_from_yaml(tmp_path / "h.yaml", use_omegaconf=False)["lr"] == 0.1
    assert "model" not in load_hparams_from_yaml(tmp_path / "h.yaml", use_omegaconf=False)
    assert len(caught) >= 2
    assert given == before


@pytest.mark.parametrize("name", ["h.yaml", "h.csv"])
def test_missing_file_and_missing_folder_are_errors(tmp_path: Path, name: str):
    """They are FileNotFoundErrors with the path."""
    if name.endswith("yaml"):
        pytest.importorskip("yaml")
    save = save_hparams_to_yaml if name.endswith("yaml") else save_hparams_to_tags_csv

    with pytest.raises(HparamsFileNotFoundError, match=rf"no hyperparameter file .*{name}") as info:
        load_hparams_file(tmp_path / name)
    with pytest.raises(HparamsFileNotFoundError, match=r"The folder .*nowhere.* does not exist"):
        save(tmp_path / "nowhere" / name, {"a": 1})

    assert isinstance(info.value, FileNotFoundError)


def test_file_of_another_kind_is_an_error(tmp_path: Path):
    """The suffix tells how to read."""
    with pytest.raises(MisconfigurationValueError, match=r"ends in '\.json'.*\.csv, \.yml or \.yaml"):
        load_hparams_file(tmp_path / "h.json")


def test_values_that_are_no_mapping_are_an_error(tmp_path: Path):
    """A list has no names."""
    with pytest.raises(MisconfigurationValueError, match="of type list is to be written"):
        save_hparams_to_tags_csv(tmp_path / "h.csv", [1])


def test_damaged_files_are_errors_with_the_place(tmp_path: Path):
    """YAML that does not parse, YAML that is a list, CSV with another number of columns."""
    pytest.importorskip("yaml")
    broken, rows, csv = tmp_path / "broken.yaml", tmp_path / "rows.yaml", tmp_path / "h.csv"
    broken.write_text("a: [1,\nb: 2")
    rows.write_text("- 1\n- 2\n")
    csv.write_text("key,value\na,1\nb,2,3\n")

    with pytest.raises(MisconfigurationValueError, match=r"(?s)could not be read as YAML.*line 2"):
        load_hparams_file(broken)
    with pytest.raises(MisconfigurationValueError, match="holds a list"):
        load_hparams_file(rows)
    with pytest.raises(MisconfigurationValueError, match=r"Row 3 of .* is \['b', '2', '3'\]"):
        load_hparams_file(csv)


def test_empty_yaml_file_holds_no_hyperparameters(tmp_path: Path):
    """It is what a logger writes when there are none."""
    pytest.importorskip("yaml")
    (tmp_path / "h.yaml").write_text("")

    assert dict(load_hparams_file(tmp_path / "h.yaml")) == {}


def test_yaml_without_its_library_is_an_error_with_the_install_line(tmp_path: Path):
    """In a process in which PyYAML cannot be imported, CSV still works."""
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from lt_core.hparams_files import *\n"
        "save_hparams_to_tags_csv('h.csv', {'a': 1}); assert load_hparams_file('h.csv') == {'a': 1}\n"
        "try:\n    load_hparams_file('h.yaml')\n"
        "except ModuleNotFoundError as error:\n    print(type(error).__name__, error)\n"
    )

    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert result.stdout.startswith("MissingPackageError")
    assert "`pip install pyyaml`" in result.stdout
