"""Tests of saving and loading checkpoints, on this thread and on another."""

import threading
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from lt_core.errors import CheckpointError
from lt_loops.checkpoint_io import AsyncCheckpointIO, CheckpointIO, TorchCheckpointIO

WAIT = 20.0  # seconds until a test gives up on the other thread


class Gate(CheckpointIO):
    """Writes real files, each only after it was let through; counts how many write at once."""

    def __init__(self):
        self.files = TorchCheckpointIO()
        self.open = threading.Event()
        self.entered = threading.Event()
        self.threads = set()
        self.at_once = 0
        self.most_at_once = 0
        self.torn_down = 0

    def save_checkpoint(self, checkpoint, path, storage_options=None):
        self.threads.add(threading.get_ident())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        self.entered.set()
        assert self.open.wait(WAIT)
        self.files.save_checkpoint(checkpoint, path, storage_options)
        self.at_once -= 1

    def load_checkpoint(self, path, map_location=None, weights_only=None):
        return self.files.load_checkpoint(path, map_location, weights_only)

    def remove_checkpoint(self, path):
        self.files.remove_checkpoint(path)

    def teardown(self):
        self.torn_down += 1


@pytest.fixture
def gate():
    """A gate that is opened at the end, so that no thread is left waiting."""
    made = Gate()
    yield made
    made.open.set()


@pytest.mark.parametrize("make", [TorchCheckpointIO, AsyncCheckpointIO])
def test_what_is_saved_is_loaded(make, tmp_path: Path):
    """Into a folder that is made, and onto the processor."""
    checkpoint_io, path = make(), tmp_path / "runs" / "last.ckpt"

    checkpoint_io.save_checkpoint({"epoch": 1, "state_dict": {"w": torch.arange(3)}}, path)
    loaded = checkpoint_io.load_checkpoint(path)
    checkpoint_io.teardown()

    assert loaded["epoch"] == 1
    assert loaded["state_dict"]["w"].tolist() == [0, 1, 2]
    assert [file.name for file in path.parent.iterdir()] == ["last.ckpt"]


@pytest.mark.parametrize("make", [TorchCheckpointIO, AsyncCheckpointIO])
def test_a_checkpoint_that_is_not_there_cannot_be_loaded(make, tmp_path: Path):
    """The error is a `FileNotFoundError`."""
    with pytest.raises(FileNotFoundError):
        make().load_checkpoint(tmp_path / "none.ckpt")


def test_a_local_disk_takes_no_storage_options(tmp_path: Path):
    """They are refused, not ignored."""
    with pytest.raises(TypeError, match=r"storage_options=\{'a': 1\}.*Leave the argument out"):
        TorchCheckpointIO().save_checkpoint({}, tmp_path / "a.ckpt", storage_options={"a": 1})

    assert list(tmp_path.iterdir()) == []


def test_removing_takes_files_and_folders_and_what_is_gone_already(tmp_path: Path):
    """A sharded checkpoint is a folder."""
    file, folder = tmp_path / "a.ckpt", tmp_path / "b.ckpt"
    file.write_bytes(b"x")
    (folder / "shards").mkdir(parents=True)

    for path in (file, folder, tmp_path / "gone.ckpt"):
        TorchCheckpointIO().remove_checkpoint(path)

    assert list(tmp_path.iterdir()) == []


def test_the_writing_thread_sees_the_content_as_it_was(gate: Gate, tmp_path: Path):
    """Training changes weights, lists and dicts at once, while the file is not yet written."""
    model = nn.Linear(2, 2)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    content = {"state_dict": model.state_dict(), "epoch": 1, "history": [1]}
    checkpoint_io, path = AsyncCheckpointIO(gate), tmp_path / "a.ckpt"

    checkpoint_io.save_checkpoint(content, path)
    with torch.no_grad():
        model.weight.fill_(7.0)
    content["history"].append(2)
    content["epoch"] = 2
    gate.open.set()
    checkpoint_io.teardown()

    loaded = TorchCheckpointIO().load_checkpoint(path)
    assert torch.equal(loaded["state_dict"]["weight"], expected["weight"])
    assert (loaded["epoch"], loaded["history"]) == (1, [1])
    assert gate.threads != {threading.get_ident()}


def test_the_file_is_the_one_that_this_thread_would_write(tmp_path: Path):
    """Shared memory stays shared, module metadata and order stay, tensors with a history are saved by value."""
    weight = nn.Parameter(torch.arange(6.0))
    content = {
        "state_dict": OrderedDict(a=weight.data, tied=weight.data, view=weight.data[2:4]),
        "score": (weight * 2).sum(),
        "nested": [{"loss": weight.exp()}],
        "parameter": weight,
    }
    content["state_dict"]._metadata = {"": {"version": 3}}

    TorchCheckpointIO().save_checkpoint(content, tmp_path / "here.ckpt")
    asynchronous = AsyncCheckpointIO()
    asynchronous.save_checkpoint(content, tmp_path / "there.ckpt")
    asynchronous.teardown()

    here, there = (TorchCheckpointIO().load_checkpoint(tmp_path / name) for name in ("here.ckpt", "there.ckpt"))
    for loaded in (here, there):
        state = loaded["state_dict"]
        assert state["a"].data_ptr() == state["tied"].data_ptr()
        assert state["view"].tolist() == [2.0, 3.0]
        assert state._metadata == {"": {"version": 3}}
    assert there["score"].item() == here["score"].item() == 30.0
    assert torch.equal(there["nested"][0]["loss"], here["nested"][0]["loss"])
    assert isinstance(there["parameter"], nn.Parameter)
    sizes = [(tmp_path / name).stat().st_size for name in ("here.ckpt", "there.ckpt")]
    assert abs(sizes[0] - sizes[1]) < 200  # the names of the archives differ


def test_a_second_save_waits_for_the_first(gate: Gate, tmp_path: Path):
    """One checkpoint at most is under way."""
    checkpoint_io = AsyncCheckpointIO(gate)
    checkpoint_io.save_checkpoint({"n": 1}, tmp_path / "1.ckpt")
    second = threading.Thread(target=checkpoint_io.save_checkpoint, args=({"n": 2}, tmp_path / "2.ckpt"))

    second.start()
    second.join(0.2)
    waited = second.is_alive()
    gate.open.set()
    second.join(WAIT)
    checkpoint_io.teardown()

    assert waited
    assert gate.most_at_once == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["1.ckpt", "2.ckpt"]


@pytest.mark.parametrize("then", ["save", "load", "teardown"])
def test_a_failed_save_is_raised_by_the_next_call_and_once(then, tmp_path: Path):
    """An error of the other thread reaches the caller."""
    (tmp_path / "file").write_text("no folder")
    checkpoint_io = AsyncCheckpointIO()
    calls = {
        "save": lambda: checkpoint_io.save_checkpoint({"n": 2}, tmp_path / "2.ckpt"),
        "load": lambda: checkpoint_io.load_checkpoint(tmp_path / "2.ckpt"),
        "teardown": checkpoint_io.teardown,
    }

    checkpoint_io.save_checkpoint({"n": 1}, tmp_path / "file" / "1.ckpt")

    with pytest.raises(CheckpointError, match=r"1\.ckpt|file"):
        calls[then]()
    assert not (tmp_path / "2.ckpt").exists()
    checkpoint_io.save_checkpoint({"n": 3}, tmp_path / "3.ckpt")
    checkpoint_io.teardown()
    assert TorchCheckpointIO().load_checkpoint(tmp_path / "3.ckpt") == {"n": 3}


def test_the_previous_checkpoint_goes_after_the_new_one_is_whole(gate: Gate, tmp_path: Path):
    """A removal that is asked for while a file is being written waits for it."""
    old, new = tmp_path / "old.ckpt", tmp_path / "new.ckpt"
    TorchCheckpointIO().save_checkpoint({"n": 1}, old)
    checkpoint_io = AsyncCheckpointIO(gate)

    checkpoint_io.save_checkpoint({"n": 2}, new)
    assert gate.entered.wait(WAIT)
    checkpoint_io.remove_checkpoint(old)
    kept_meanwhile = old.exists() and not new.exists()
    gate.open.set()
    checkpoint_io.teardown()

    assert kept_meanwhile
    assert [file.name for file in tmp_path.iterdir()] == ["new.ckpt"]


def test_the_previous_checkpoint_stays_where_the_new_one_failed(tmp_path: Path):
    """A removal that follows a save that fails is not carried out."""
    (tmp_path / "file").write_text("no folder")
    old = tmp_path / "old.ckpt"
    TorchCheckpointIO().save_checkpoint({"n": 1}, old)
    checkpoint_io = AsyncCheckpointIO()

    checkpoint_io.save_checkpoint({"n": 2}, tmp_path / "file" / "new.ckpt")
    checkpoint_io.remove_checkpoint(old)
    with pytest.raises(CheckpointError):
        checkpoint_io.teardown()

    assert old.exists()


def test_without_a_save_under_way_a_removal_is_done_at_once(tmp_path: Path):
    """Nothing has to be waited for."""
    path = tmp_path / "a.ckpt"
    checkpoint_io = AsyncCheckpointIO()
    checkpoint_io.save_checkpoint({}, path)
    checkpoint_io.load_checkpoint(path)

    checkpoint_io.remove_checkpoint(path)

    assert not path.exists()
    checkpoint_io.teardown()


def test_teardown_ends_the_thread_and_a_later_run_gets_another(tmp_path: Path):
    """A trainer may run twice; the wrapped object is told of each end."""
    inner = Gate()
    inner.open.set()
    checkpoint_io = AsyncCheckpointIO(inner)

    for number in range(2):
        checkpoint_io.save_checkpoint({"n": number}, tmp_path / f"{number}.ckpt")
        checkpoint_io.teardown()
        assert not [thread for thread in threading.enumerate() if thread.name.startswith("checkpoint")]

    assert inner.torn_down == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_storage_options_reach_what_writes(tmp_path: Path):
    """The wrapper knows nothing of them; what it wraps refuses them here."""
    checkpoint_io = AsyncCheckpointIO()

    checkpoint_io.save_checkpoint({}, tmp_path / "a.ckpt", storage_options={"a": 1})

    with pytest.raises(TypeError, match="storage_options"):
        checkpoint_io.teardown()


def test_what_cannot_be_copied_is_an_error_on_the_callers_thread(tmp_path: Path):
    """The cause is told where it can be seen."""
    with pytest.raises(CheckpointError, match=r"cannot be copied.*lock.*without `AsyncCheckpointIO`"):
        AsyncCheckpointIO().save_checkpoint({"lock": threading.Lock()}, tmp_path / "a.ckpt")
