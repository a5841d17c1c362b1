"""The logger base class, its stand-ins, and the form in which hyperparameters reach loggers."""

from __future__ import annotations

import copy
import pickle
from argparse import Namespace
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from lt_core.errors import MisconfigurationException
from lt_core.logger import DummyExperiment, DummyLogger, Logger, rank_zero_experiment
from lt_core.logger_params import add_prefix, convert_params, flatten_dict, merge_params, sanitize_params
from lt_core.rank_zero import rank_zero_only


class ListLogger(Logger):
    """The least that a logger has to be."""

    def __init__(self) -> None:
        self.rows: list[tuple[int | None, dict[str, float]]] = []
        self.saves = 0

    @property
    def name(self) -> str:
        return "list"

    @property
    def version(self) -> int:
        return 0

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        return self.rows

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        self.rows.append((step, dict(metrics)))

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any) -> None:
        self.rows.append((None, convert_params(params)))

    def save(self) -> None:
        self.saves += 1


@pytest.fixture
def second_process() -> Iterator[None]:
    """This process is not the first of the run."""
    rank_zero_only.rank = 1
    yield
    del rank_zero_only.rank


@dataclass
class Optim:
    lr: float
    betas: tuple[float, float]


def test_a_logger_needs_name_version_and_two_methods() -> None:
    """All else has a default that does no harm."""
    logger = ListLogger()

    logger.log_metrics({"loss": 1.0}, step=2)
    logger.log_graph(torch.nn.Linear(1, 1))
    logger.finalize("success")

    assert logger.rows == [(2, {"loss": 1.0})]
    assert logger.saves == 1
    assert (logger.save_dir, logger.root_dir, logger.log_dir) == (None, None, None)
    assert logger.group_separator == "/"
    assert logger.LOGGER_JOIN_CHAR == "-"


@pytest.mark.parametrize("missing", ["name", "version", "log_metrics", "log_hyperparams"])
def test_a_logger_without_one_of_its_four_parts_cannot_be_made(missing: str) -> None:
    """Python names the part that is missing."""
    broken = type("Broken", (ListLogger,), {missing: getattr(Logger, missing)})

    with pytest.raises(TypeError, match=missing):
        broken()


def test_an_experiment_may_be_a_plain_attribute() -> None:
    """A logger that sets `self.experiment` itself works; one that has none gives None."""

    class Plain(ListLogger):
        experiment = None

        def __init__(self) -> None:
            super().__init__()
            self.experiment = self.rows

    assert Plain().experiment == []
    assert Logger.experiment is None


def test_the_first_process_gets_the_real_experiment() -> None:
    """On rank 0 the decorated property is what it returns."""
    logger = ListLogger()

    assert logger.experiment is logger.rows


@pytest.mark.usefixtures("second_process")
def test_other_processes_get_an_experiment_that_does_nothing() -> None:
    """Attributes, calls, indices, loops and contexts all come to nothing."""
    experiment = ListLogger().experiment

    with experiment.start_run("x") as run:
        run["params"] = 3
        run.config.update({"lr": 0.1})
    for _ in experiment:
        pytest.fail("there is nothing to loop over")

    assert isinstance(experiment, DummyExperiment)
    assert experiment[0].add_image("a", None) is experiment


def test_the_dummy_logger_takes_every_call() -> None:
    """Code made for a particular logger runs with it."""
    logger = DummyLogger()

    logger.log_metrics({"a": 1}, step=1)
    logger.log_hyperparams({"a": 1}, metrics={})
    logger.watch("model", log="all")
    logger[0].experiment.add_scalar("a", 1)
    logger.finalize("success")

    assert isinstance(logger, Logger)
    assert (logger.name, logger.version, list(logger)) == ("", "", [])


@pytest.mark.parametrize("dummy", [DummyLogger(), DummyExperiment()])
def test_the_stand_ins_can_be_copied_and_pickled(dummy: Any) -> None:
    """They do not pretend to have the special methods that copy and pickle look for."""
    assert type(copy.deepcopy(dummy)) is type(dummy)
    assert type(pickle.loads(pickle.dumps(dummy))) is type(dummy)


def test_a_prefix_is_joined_with_a_dash() -> None:
    """Without prefix the metrics are handed on as they are."""
    metrics = {"loss": 1.0, "acc": 0.5}

    assert add_prefix(metrics, "fold0") == {"fold0-loss": 1.0, "fold0-acc": 0.5}
    assert add_prefix(metrics, "") is metrics


def test_params_of_each_accepted_kind_become_a_dict() -> None:
    """Namespaces, dataclasses, mappings and None are understood; other things are an error."""
    assert convert_params(Namespace(lr=0.1)) == {"lr": 0.1}
    assert convert_params(Optim(0.1, (0.9, 0.99))) == {"lr": 0.1, "betas": (0.9, 0.99)}  # type: ignore[arg-type]
    assert convert_params({"lr": 0.1}) == {"lr": 0.1}
    assert convert_params(None) == {}
    with pytest.raises(MisconfigurationException, match=r"3.*Expected a dict"):
        convert_params(3)  # type: ignore[arg-type]


def test_nested_params_are_flattened_with_slashes() -> None:
    """Dataclasses, Namespaces, lists of dicts and keys that are no strings are all joined."""
    params = {
        "optim": Optim(0.1, (0.9, 0.99)),
        "data": Namespace(root="x", folds=[{"k": 1}, {"k": 2}]),
        5: {"a": 1},
        "plain": [1, 2],
        "nothing": [],
    }

    assert flatten_dict(params) == {
        "optim/lr": 0.1,
        "optim/betas": (0.9, 0.99),
        "data/root": "x",
        "data/folds/0/k": 1,
        "data/folds/1/k": 2,
        "5/a": 1,
        "plain": [1, 2],
        "nothing": [],
    }


def test_values_become_primitive_without_changing_what_was_given() -> None:
    """Tensors stay, classes and lists become text."""
    params = {"a": 1, "b": [1], "c": torch.nn.ReLU, "d": None, "e": True, "t": torch.tensor(2.0)}

    plain = sanitize_params(params)

    assert plain == {**params, "b": "[1]", "c": str(torch.nn.ReLU), "d": "None"}
    assert params["b"] == [1]


def test_numpy_scalars_become_python_numbers() -> None:
    """Their type is gone, their value is kept."""
    numpy = pytest.importorskip("numpy")

    plain = sanitize_params({"a": numpy.float32(0.5), "b": numpy.int64(3), "c": numpy.bool_(1)})

    assert plain == {"a": 0.5, "b": 3, "c": True}
    assert [type(value) for value in plain.values()] == [float, int, bool]


def test_params_of_module_and_data_module_are_merged() -> None:
    """Equal values under one name are fine, tensors included; the class path is left out."""
    module = {"lr": 0.1, "seed": 1, "w": torch.ones(2), "_class_path": "a.M"}
    datamodule = {"batch_size": 4, "seed": 1, "w": torch.ones(2), "_class_path": "b.D"}

    merged = merge_params(module, datamodule)

    assert list(merged) == ["lr", "seed", "w", "batch_size"]


@pytest.mark.parametrize(("first", "second"), [(1, 2), (1, 1.0), (torch.ones(2), torch.zeros(2)), ("a", None)])
def test_a_param_with_two_values_is_an_error_that_names_it(first: Any, second: Any) -> None:
    """Different values or types under one name cannot be stored; the message says how to resolve it."""
    with pytest.raises(MisconfigurationException, match=r"'size'.*Rename one"):
        merge_params({"size": first}, {"size": second})
