"""LightningDataModule: its hooks in a run, data sets in, hyperparameters and state through a checkpoint, its print."""

from __future__ import annotations

import pickle
from collections import namedtuple
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler, TensorDataset

import lt_core.combined_loader
from lt_core.data_hooks import DataHooks
from lt_core.errors import MisconfigurationException
from lt_core.hparams import HyperparametersMixin
from lt_core.testing import BoringModel, MiniTrainer
from lt_data import CombinedLoader, LightningDataModule

SplitPair = namedtuple("SplitPair", ["first", "second"])


class Numbers(Dataset[torch.Tensor]):
    """The numbers from 0, each as 32 equal features."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.full((32,), float(index))

    def __len__(self) -> int:
        return self.size


class Stream(IterableDataset[torch.Tensor]):
    """A stream of six samples that does not tell its length."""

    def __iter__(self) -> Iterator[torch.Tensor]:
        return iter(torch.ones(6, 32))


class Counting(LightningDataModule):
    """Keeps hyperparameters and, as its state, how often it was set up; writes down its hooks."""

    def __init__(self, size: int = 8, batch_size: int = 4, note: str = "none") -> None:
        super().__init__()
        self.save_hyperparameters()
        self.set_ups = 0
        self.called: list[str] = []

    def prepare_data(self) -> None:
        self.called.append("prepare_data")

    def setup(self, stage: str) -> None:
        self.called.append(f"setup {stage}")
        self.set_ups += 1

    def teardown(self, stage: str) -> None:
        self.called.append(f"teardown {stage}")

    def train_dataloader(self) -> Any:
        self.called.append("train_dataloader")
        return DataLoader(Numbers(self.hparams.size), batch_size=self.hparams.batch_size)

    def on_exception(self, exception: BaseException) -> None:
        self.called.append(f"on_exception {exception}")

    def state_dict(self) -> dict[str, Any]:
        return {"set_ups": self.set_ups}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.set_ups = state_dict["set_ups"]


class OneBatchModel(BoringModel):
    """A model that has no loaders of its own."""

    train_dataloader = DataHooks.train_dataloader
    val_dataloader = None  # type: ignore[assignment]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """Where a run with a Counting data module was saved."""
    datamodule = Counting(size=8, note="stored")
    trainer = MiniTrainer(default_root_dir=tmp_path)
    trainer.fit(OneBatchModel(), datamodule=datamodule)
    path = tmp_path / "run.ckpt"
    trainer.save_checkpoint(path)
    return path


def test_a_trainer_calls_the_hooks_in_their_order(tmp_path: Path) -> None:
    """Prepare, set up, load, and after a run that ended well tear down."""
    datamodule = Counting(size=8)

    MiniTrainer(default_root_dir=tmp_path).fit(OneBatchModel(), datamodule=datamodule)

    assert datamodule.called == ["prepare_data", "setup fit", "train_dataloader", "teardown fit"]


def test_a_data_module_hears_of_an_exception(tmp_path: Path) -> None:
    """on_exception gets what interrupted the run, which then reaches the caller."""

    class Failing(OneBatchModel):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ArithmeticError("in the step")

    datamodule = Counting()
    with pytest.raises(ArithmeticError):
        MiniTrainer(default_root_dir=tmp_path).fit(Failing(), datamodule=datamodule)

    assert datamodule.called[-1] == "on_exception in the step"


def test_a_checkpoint_gives_back_arguments_and_state(checkpoint: Path) -> None:
    """Stored arguments make the object, given ones win, and load_state_dict gets what was saved."""
    loaded = Counting.load_from_checkpoint(checkpoint, batch_size=2)

    assert loaded.hparams == {"size": 8, "batch_size": 2, "note": "stored"}
    assert loaded.set_ups == 1
    stored = torch.load(checkpoint, weights_only=True)
    assert stored["Counting"] == {"set_ups": 1}
    assert stored["datamodule_hyper_parameters"] == {"size": 8, "batch_size": 4, "note": "stored"}


def test_a_hparams_file_replaces_what_is_stored(checkpoint: Path, tmp_path: Path) -> None:
    """What the file does not name has the default of __init__."""
    file = tmp_path / "hparams.csv"
    file.write_text("key,value\nsize,20\n")

    loaded = Counting.load_from_checkpoint(checkpoint, hparams_file=file)

    assert loaded.hparams == {"size": 20, "batch_size": 4, "note": "none"}


def test_loading_on_an_instance_is_refused(checkpoint: Path) -> None:
    """It would leave the instance as it is; the message shows the form to write."""
    with pytest.raises(TypeError, match=r"Counting\.load_from_checkpoint\(\.\.\.\)"):
        Counting().load_from_checkpoint(checkpoint)


def test_the_base_class_takes_any_arguments_and_has_its_defaults() -> None:
    """A subclass has the attributes even when it forgets super().__init__()."""

    class Forgetful(LightningDataModule):
        def __init__(self) -> None:
            self.size = 3

    for datamodule in (LightningDataModule(1, "two", three=3), Forgetful()):
        assert isinstance(datamodule, (DataHooks, HyperparametersMixin))
        assert (datamodule.trainer, datamodule.name) == (None, None)
        assert datamodule.prepare_data_per_node is True
        assert datamodule.allow_zero_length_dataloader_with_multiple_devices is False
        assert datamodule.state_dict() == {}
        datamodule.load_state_dict({})
        datamodule.on_exception(ValueError())


def test_a_loader_that_is_not_written_is_an_error_that_names_it() -> None:
    """The message says what to write."""
    with pytest.raises(MisconfigurationException, match=r"LightningDataModule\.val_dataloader.*def val_dataloader"):
        LightningDataModule().val_dataloader()


def test_from_datasets_makes_loaders_of_what_was_given() -> None:
    """Training samples are shuffled, others are not, and only given data sets have a loader."""
    datamodule = LightningDataModule.from_datasets(
        train_dataset=Numbers(10), val_dataset=Numbers(6), test_dataset=Stream(), batch_size=4, num_workers=1
    )

    train, val, test = datamodule.train_dataloader(), datamodule.val_dataloader(), datamodule.test_dataloader()

    assert isinstance(train.sampler, RandomSampler)
    assert isinstance(val.sampler, SequentialSampler)
    assert [loader.batch_size for loader in (train, val, test)] == [4, 4, 4]
    assert [loader.num_workers for loader in (train, val, test)] == [1, 1, 1]
    assert train.pin_memory is torch.cuda.is_available()
    with pytest.raises(MisconfigurationException, match="predict_dataloader"):
        datamodule.predict_dataloader()


def test_from_datasets_trains_and_validates(tmp_path: Path) -> None:
    """A trainer takes the data module as any other."""
    datamodule = LightningDataModule.from_datasets(Numbers(8), Numbers(6), batch_size=4)
    trainer = MiniTrainer(default_root_dir=tmp_path)

    trainer.fit(BoringModel(), datamodule=datamodule)

    assert trainer.global_step == 2
    assert trainer.num_val_batches == [2]


@pytest.mark.parametrize(
    ("datasets", "sizes"),
    [
        ([Numbers(3), Numbers(4)], [3, 4]),
        ((Numbers(3), [Numbers(4)]), (3, [4])),
        ({"a": Numbers(3), "b": {"c": Numbers(4)}}, {"a": 3, "b": {"c": 4}}),
        (SplitPair(Numbers(3), Numbers(4)), SplitPair(3, 4)),
        (torch.ones(5, 2), 5),
        (TensorDataset(torch.ones(5, 2)), 5),
    ],
)
def test_from_datasets_keeps_the_shape_of_collections(datasets: Any, sizes: Any) -> None:
    """Lists, tuples and mappings of data sets give as many loaders in the same shape."""
    loaders = LightningDataModule.from_datasets(val_dataset=datasets).val_dataloader()

    assert _lengths(loaders) == sizes
    assert type(loaders) is (DataLoader if isinstance(sizes, int) else type(datasets))


def _lengths(loaders: Any) -> Any:
    if isinstance(loaders, dict):
        return {key: _lengths(value) for key, value in loaders.items()}
    if isinstance(loaders, SplitPair):
        return SplitPair(*map(_lengths, loaders))
    if isinstance(loaders, (list, tuple)):
        return type(loaders)(map(_lengths, loaders))
    return len(loaders)


def test_a_stream_is_not_shuffled() -> None:
    """A training set that is iterable keeps its order."""
    datamodule = LightningDataModule.from_datasets(Stream(), batch_size=4)

    assert [len(batch) for batch in datamodule.train_dataloader()] == [4, 2]


@pytest.mark.parametrize("wrong", [3, "text", [1.0, 2.0], {"a": None}])
def test_from_datasets_names_what_is_no_data_set(wrong: Any) -> None:
    """The message says what a data set is."""
    datamodule = LightningDataModule.from_datasets(train_dataset=wrong)

    with pytest.raises(TypeError, match=r"A data set is a torch\.utils\.data\.Dataset"):
        datamodule.train_dataloader()


def test_from_datasets_hands_on_the_options_that_init_names() -> None:
    """batch_size and num_workers reach __init__ if it takes them, by name or as **kwargs; others always do."""

    class Named(LightningDataModule):
        def __init__(self, path: str, batch_size: int = 1) -> None:
            super().__init__()
            self.got = {"path": path, "batch_size": batch_size}

    class AnyName(LightningDataModule):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__()
            self.got = kwargs

    class NoName(LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            self.got = {}

    assert Named.from_datasets(batch_size=3, num_workers=2, path="x").got == {"path": "x", "batch_size": 3}
    assert AnyName.from_datasets(batch_size=3, num_workers=2).got == {"batch_size": 3, "num_workers": 2}
    assert NoName.from_datasets(batch_size=3).got == {}


def test_a_data_module_of_data_sets_can_be_pickled() -> None:
    """Workers that are spawned need it."""
    datamodule = LightningDataModule.from_datasets(Numbers(10), batch_size=4)

    copy = pickle.loads(pickle.dumps(datamodule))

    assert len(copy.train_dataloader()) == 3


def test_printing_shows_the_size_of_each_data_set() -> None:
    """One loader has its size, several are numbered, streams have none, and what is not there is None."""

    class Mixed(LightningDataModule):
        def train_dataloader(self) -> Any:
            return {"a": DataLoader(Numbers(3)), "b": [DataLoader(Numbers(4)), DataLoader(Stream())]}

        def val_dataloader(self) -> Any:
            return CombinedLoader([DataLoader(Numbers(5), batch_size=2), [[1], [2]]], "sequential")

        def test_dataloader(self) -> Any:
            return DataLoader(Numbers(6))

        def predict_dataloader(self) -> Any:
            return self.not_set_up_yet  # type: ignore[attr-defined]

    assert str(Mixed()).split("\n") == [
        "{Train dataloader: 1. size=3 ; 2. size=4 ; 3. size=NA}",
        "{Validation dataloader: 1. size=5 ; 2. size=NA ; 3. size=NA}",
        "{Test dataloader: size=6}",
        "{Predict dataloader: None}",
    ]
    assert str(LightningDataModule()).count(": None}") == 4
    assert "{Train dataloader: size=10}" in str(LightningDataModule.from_datasets(Numbers(10)))


def test_the_combined_loader_is_the_one_of_core() -> None:
    """lt_data offers it under its own name, too."""
    assert CombinedLoader is lt_core.combined_loader.CombinedLoader
