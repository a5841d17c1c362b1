"""Checkpoint files: whole or not at all, read safely, and errors that say what to do."""

import io
import os
import random
import subprocess
import sys
import textwrap
import threading
from collections import Counter, OrderedDict, namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch

from lt_core import checkpoint_file
from lt_core.checkpoint_file import (
    CheckpointNotFoundError,
    load_checkpoint_file,
    save_checkpoint_file,
)
from lt_core.errors import CheckpointError, MisconfigurationTypeError

NOT_AS_ROOT = pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")


class Custom:
    """A class that a safe read does not know."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Custom)

    __hash__ = None  # type: ignore[assignment]


Point = namedtuple("Point", ["x", "y"])


def checkpoint(epoch: int = 1) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "state_dict": OrderedDict(w=torch.full((50,), float(epoch))),
        "hyper_parameters": {"a": "x"},
    }


# ------------------------------------------------------------------------------------------------- saving, loading


@pytest.mark.parametrize("as_path", [str, Path])
def test_file_gives_back_what_was_saved(tmp_path: Path, as_path):
    """Missing folders are made, and nothing else is left in them."""
    file = tmp_path / "runs" / "version_0" / "last.ckpt"

    save_checkpoint_file(checkpoint(3), as_path(file))
    loaded = load_checkpoint_file(as_path(file))

    assert loaded["epoch"] == 3
    assert torch.equal(loaded["state_dict"]["w"], torch.full((50,), 3.0))
    assert os.listdir(file.parent) == ["last.ckpt"]


def test_file_can_be_read_by_torch_itself(tmp_path: Path):
    """The format is torch's, so other tools read it."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")

    assert torch.load(tmp_path / "a.ckpt", weights_only=True)["epoch"] == 1


def test_open_files_are_written_to_and_read_from():
    """A buffer in memory, for example."""
    buffer = io.BytesIO()

    save_checkpoint_file(checkpoint(2), buffer)
    buffer.seek(0)

    assert load_checkpoint_file(buffer)["epoch"] == 2


def test_previous_file_is_replaced_and_a_link_is_not_followed(tmp_path: Path):
    """A link to an earlier checkpoint must not overwrite that one."""
    save_checkpoint_file(checkpoint(1), tmp_path / "epoch=1.ckpt")
    (tmp_path / "last.ckpt").symlink_to("epoch=1.ckpt")

    save_checkpoint_file(checkpoint(2), tmp_path / "last.ckpt")

    assert load_checkpoint_file(tmp_path / "last.ckpt")["epoch"] == 2
    assert load_checkpoint_file(tmp_path / "epoch=1.ckpt")["epoch"] == 1


def test_longest_file_name_can_be_saved(tmp_path: Path):
    """The temporary name is not longer than the file system takes."""
    name = "é" * 125 + ".ckpt"

    save_checkpoint_file(checkpoint(), tmp_path / name)

    assert os.listdir(tmp_path) == [name]


def test_mapping_of_another_type_is_saved_as_a_dictionary(tmp_path: Path):
    """Its class would not be read back safely."""
    save_checkpoint_file(Counter(epoch=4), tmp_path / "a.ckpt")

    assert type(load_checkpoint_file(tmp_path / "a.ckpt")) is dict


def test_what_is_no_mapping_is_refused(tmp_path: Path):
    """A bare module or list is no checkpoint."""
    with pytest.raises(MisconfigurationTypeError, match=r"type list is to be saved.*Wrap it"):
        save_checkpoint_file([1], tmp_path / "a.ckpt")


def test_saved_bytes_do_not_depend_on_the_name(tmp_path: Path):
    """Equal contents make equal files, so they can be compared and deduplicated."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")
    save_checkpoint_file(checkpoint(), tmp_path / "b.ckpt")

    assert (tmp_path / "a.ckpt").read_bytes() == (tmp_path / "b.ckpt").read_bytes()


def test_saving_draws_no_random_numbers(tmp_path: Path):
    """A run that saves and one that does not stay the same."""
    before = random.getstate(), torch.get_rng_state()

    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")

    assert random.getstate() == before[0]
    assert torch.equal(torch.get_rng_state(), before[1])


def test_tensors_of_a_device_that_is_not_here_go_to_the_cpu(tmp_path: Path):
    """A file from a machine with accelerators is read on one without: the location is patched into a real file."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")
    place = checkpoint_file._saved_device_or_cpu
    storage = torch.zeros(1).untyped_storage()

    assert place(storage, "cpu") is None
    assert place(storage, f"cuda:{torch.cuda.device_count()}").device.type == "cpu"
    if not torch.cuda.is_available():
        assert place(storage, "cuda").device.type == "cpu"


def test_map_location_is_handed_to_torch(tmp_path: Path):
    """As text or as a function."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")

    assert load_checkpoint_file(tmp_path / "a.ckpt", map_location="meta")["state_dict"]["w"].device.type == "meta"


# ------------------------------------------------------------------------------------------------ failures of saving


@pytest.mark.parametrize("value", [lambda x: x, threading.Lock(), (i for i in [1])])
def test_value_that_cannot_be_pickled_is_named_and_the_previous_file_stays(tmp_path: Path, value):
    """The error says where in the checkpoint it is."""
    file = tmp_path / "a.ckpt"
    save_checkpoint_file(checkpoint(1), file)

    with pytest.raises(
        CheckpointError, match=r"\['hyper_parameters\.deep\[1\]'\].*save_hyperparameters\(ignore"
    ) as info:
        save_checkpoint_file({**checkpoint(2), "hyper_parameters": {"deep": [0, value]}}, file)

    assert info.value.__cause__ is not None
    assert load_checkpoint_file(file)["epoch"] == 1
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_interruption_while_writing_leaves_the_previous_file_and_passes_through(tmp_path: Path):
    """Ctrl-C arrives in the middle of a write; torch would cover it with an error of its own."""
    file = tmp_path / "a.ckpt"
    save_checkpoint_file(checkpoint(1), file)

    class Interrupting:
        def __reduce__(self) -> Any:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint_file({**checkpoint(2), "x": Interrupting()}, file)

    assert load_checkpoint_file(file)["epoch"] == 1
    assert os.listdir(tmp_path) == ["a.ckpt"]


def test_interruption_inside_the_disk_write_is_not_covered_by_torch():
    """The file raises while bytes are on their way: what the user sees is the interruption."""

    class Disk(io.BytesIO):
        def write(self, data: Any) -> int:
            super().write(bytes(data)[: len(data) // 2])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save_checkpoint_file(checkpoint(), Disk())


@pytest.mark.parametrize("count", [1, 400])
def test_full_disk_is_an_error_with_the_fix_and_the_previous_file_stays(tmp_path: Path, count):
    """A real limit on the size of files, with one big and with many small tensors."""
    code = f"""
        import resource, signal, torch
        from lt_core.checkpoint_file import *
        from lt_core.errors import CheckpointError
        torch.set_num_threads(1)
        save_checkpoint_file({{"epoch": 1}}, "a.ckpt")
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            save_checkpoint_file({{"rows": [torch.zeros(400_000 // {count}) for _ in range({count})]}}, "a.ckpt")
        except CheckpointError as error:
            print(type(error.__cause__).__name__, error)
    """

    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, text=True, check=True
    )

    assert "'a.ckpt' could not be written: File too large" in result.stdout
    assert "ulimit" in result.stdout
    assert load_checkpoint_file(tmp_path / "a.ckpt") == {"epoch": 1}
    assert os.listdir(tmp_path) == ["a.ckpt"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_no_space_left_is_an_error_with_the_fix():
    """The device that is always full."""
    expected = r"No space left on device.*Free space on that disk"

    with Path("/dev/full").open("wb", buffering=0) as file, pytest.raises(CheckpointError, match=expected):
        save_checkpoint_file({"rows": torch.zeros(100_000)}, file)


def test_target_that_is_a_folder_is_an_error_with_a_path_to_write(tmp_path: Path):
    """The user forgot the file's name."""
    with pytest.raises(CheckpointError, match=r"that is a folder.*Write '.*last\.ckpt'"):
        save_checkpoint_file(checkpoint(), tmp_path)


def test_folder_that_is_a_file_is_an_error(tmp_path: Path):
    """A part of the path is in the way."""
    (tmp_path / "file").write_text("x")

    with pytest.raises(CheckpointError, match=r"could not be written: (Not a directory|File exists)"):
        save_checkpoint_file(checkpoint(), tmp_path / "file" / "a.ckpt")


@NOT_AS_ROOT
def test_folder_without_permission_is_an_error_with_the_fix(tmp_path: Path):
    """A folder that may be read only."""
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(CheckpointError, match=r"Permission denied.*Make the folder writable"):
            save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")
    finally:
        tmp_path.chmod(0o700)


def test_name_that_is_too_long_is_an_error_with_the_fix(tmp_path: Path):
    """The file system says so only when the file is renamed."""
    with pytest.raises(CheckpointError, match="shorter name"):
        save_checkpoint_file(checkpoint(), tmp_path / ("a" * 300))

    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("path", ["s3://bucket/a.ckpt", "https://host/a.ckpt", "hdfs://x"])
def test_remote_addresses_are_refused_instead_of_making_local_folders(path, tmp_path: Path, monkeypatch):
    """Both ways."""
    monkeypatch.chdir(tmp_path)

    with pytest.raises(CheckpointError, match=r"saved to '.*://.*local file was expected"):
        save_checkpoint_file(checkpoint(), path)
    with pytest.raises(CheckpointError, match=r"read from '.*://.*local file was expected"):
        load_checkpoint_file(path)

    assert os.listdir(tmp_path) == []


def test_empty_path_is_refused():
    """It would mean the current folder."""
    with pytest.raises(CheckpointError, match="empty path"):
        save_checkpoint_file(checkpoint(), "")


# ----------------------------------------------------------------------------------------------- failures of loading


def test_missing_file_names_the_checkpoints_beside_it(tmp_path: Path):
    """Newest first, with the nearest name; it is a FileNotFoundError."""
    for age, name in enumerate(["last.ckpt", "epoch=1.ckpt", "epoch=2.ckpt"]):
        save_checkpoint_file(checkpoint(), tmp_path / name)
        os.utime(tmp_path / name, (1000 - age, 1000 - age))

    with pytest.raises(CheckpointNotFoundError, match=r"there are last\.ckpt, epoch=1\.ckpt, epoch=2\.ckpt\.") as info:
        load_checkpoint_file(tmp_path / "lats.ckpt")

    assert "Did you mean `last.ckpt`?" in str(info.value)
    assert isinstance(info.value, FileNotFoundError)
    assert isinstance(info.value, CheckpointError)


def test_missing_folder_and_folder_without_checkpoints_are_said(tmp_path: Path):
    """The user sees which part of the path is wrong."""
    with pytest.raises(CheckpointNotFoundError, match="there is no folder"):
        load_checkpoint_file(tmp_path / "nowhere" / "a.ckpt")
    with pytest.raises(CheckpointNotFoundError, match=r"holds no \.ckpt file"):
        load_checkpoint_file(tmp_path / "a.ckpt")


def test_folder_in_place_of_a_file_names_the_files_in_it(tmp_path: Path):
    """The user gave the folder of a run."""
    save_checkpoint_file(checkpoint(), tmp_path / "best.ckpt")

    with pytest.raises(CheckpointError, match=r"is a folder.*best\.ckpt"):
        load_checkpoint_file(tmp_path)


@NOT_AS_ROOT
def test_file_without_permission_is_an_error(tmp_path: Path):
    """The system's reason is given."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")
    (tmp_path / "a.ckpt").chmod(0)

    with pytest.raises(CheckpointError, match="Permission denied"):
        load_checkpoint_file(tmp_path / "a.ckpt")


@pytest.mark.parametrize("weights_only", [True, False])
@pytest.mark.parametrize("content", [b"", b"PK", b"this is text, no checkpoint", b"\x80\x02}q\x00.", b"\x00" * 500])
def test_file_that_is_no_checkpoint_is_an_error(tmp_path: Path, content, weights_only):
    """Empty files, text and noise."""
    (tmp_path / "a.ckpt").write_bytes(content)

    with pytest.raises(CheckpointError, match=r"a\.ckpt' could not be read: .*cut off, damaged, or none"):
        load_checkpoint_file(tmp_path / "a.ckpt", weights_only=weights_only)


def test_file_cut_off_anywhere_is_an_error(tmp_path: Path):
    """One hundred lengths, each of a file that was whole; the last byte of padding included."""
    buffer = io.BytesIO()
    save_checkpoint_file(checkpoint(), buffer)
    whole = buffer.getvalue()
    file = tmp_path / "a.ckpt"

    for length in range(0, len(whole), max(1, len(whole) // 100)):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut off, damaged"):
            load_checkpoint_file(file)


@pytest.mark.filterwarnings("ignore::UserWarning")  # torch comments on the noise
def test_damaged_file_loads_or_is_an_error_of_ours(tmp_path: Path):
    """Three hundred files with eight random bytes each: nothing but CheckpointError ever comes out."""
    buffer = io.BytesIO()
    save_checkpoint_file(checkpoint(), buffer)
    whole = buffer.getvalue()
    noise = random.Random(0)
    refused = 0

    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(8):
            damaged[noise.randrange(len(damaged))] = noise.randrange(256)
        try:
            load_checkpoint_file(io.BytesIO(bytes(damaged)))
        except CheckpointError:
            refused += 1

    assert refused > 100


def test_file_that_holds_no_dictionary_is_an_error(tmp_path: Path):
    """A bare tensor, for example."""
    torch.save(torch.zeros(3), tmp_path / "a.pt")

    with pytest.raises(CheckpointError, match="holds a Tensor"):
        load_checkpoint_file(tmp_path / "a.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_class_that_is_not_accepted_is_named_with_both_ways_out(tmp_path: Path, zipped):
    """In the current format and in that of torch before 1.6."""
    file = tmp_path / "a.ckpt"
    torch.save({"a": Custom(), "b": Point(1, 2)}, file, _use_new_zipfile_serialization=zipped)

    with pytest.raises(CheckpointError, match=r"holds objects of .*Custom") as info:
        load_checkpoint_file(file)

    assert "weights_only=False" in str(info.value)
    assert "add_safe_globals" in str(info.value)
    assert load_checkpoint_file(file, weights_only=False)["a"] == Custom()
    with torch.serialization.safe_globals([Custom, Point]):
        assert load_checkpoint_file(file)["b"] == Point(1, 2)


def test_none_means_safe(tmp_path: Path, monkeypatch):
    """Also where an environment variable makes torch itself read everything."""
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    save_checkpoint_file({"a": Custom()}, tmp_path / "a.ckpt")

    with pytest.raises(CheckpointError, match="weights_only=False"):
        load_checkpoint_file(tmp_path / "a.ckpt", weights_only=None)


def test_class_that_cannot_be_imported_is_named(tmp_path: Path, monkeypatch):
    """The file is read as trusted, but its code has moved."""
    save_checkpoint_file({"a": Custom()}, tmp_path / "a.ckpt")
    monkeypatch.delattr(sys.modules[__name__], "Custom")

    with pytest.raises(CheckpointError, match=r"class cannot be found: .*Custom.*Import or define"):
        load_checkpoint_file(tmp_path / "a.ckpt", weights_only=False)


def test_device_that_is_not_here_is_not_called_damage(tmp_path: Path):
    """The file is whole: the message speaks of map_location."""
    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")

    with pytest.raises(CheckpointError, match=r"is complete, but could not be read.*`map_location`"):
        load_checkpoint_file(tmp_path / "a.ckpt", map_location=f"cuda:{torch.cuda.device_count()}")
