"""Writers that are killed at any instant: what they leave is whole, and what is not whole vanishes."""

import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from lt_core import atomic_file
from lt_core.checkpoint_file import load_checkpoint_file, save_checkpoint_file


def checkpoint(epoch: int = 1) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "state_dict": OrderedDict(w=torch.full((50,), float(epoch))),
        "hyper_parameters": {"a": "x"},
    }


# Imports torch once and forks a writer for each line it reads, because importing takes seconds.
WRITERS = """
    import os, sys, torch
    from lt_core.checkpoint_file import save_checkpoint_file
    torch.set_num_threads(1)

    def write():
        epoch = 0
        while True:
            epoch += 1
            save_checkpoint_file({"epoch": epoch, "rows": [torch.full((500,), float(epoch))] * 40}, "a.ckpt")
            os.write(1, b"%d\\n" % epoch)

    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            write()
        os.write(1, b"pid %d\\n" % pid)
        _, status = os.waitpid(pid, 0)
        os.write(1, b"ended by %d\\n" % os.WTERMSIG(status))
"""


def kill_a_writer(writers: "subprocess.Popen[str]", after: float) -> int:
    """Start a writer, kill it ``after`` seconds from its first save, and return the last epoch it says it saved."""
    assert writers.stdin is not None
    assert writers.stdout is not None
    print(file=writers.stdin, flush=True)
    pid, saved = 0, 0
    while not (pid and saved):
        words = writers.stdout.readline().split()
        pid, saved = (int(words[1]), saved) if words[0] == "pid" else (pid, int(words[0]))
    time.sleep(after)
    os.kill(pid, signal.SIGKILL)
    while (line := writers.stdout.readline().strip()) != f"ended by {int(signal.SIGKILL)}":
        saved = int(line)
    return saved


def test_writer_killed_at_any_instant_leaves_a_whole_file_and_its_leftovers_vanish(tmp_path: Path):
    """Thirty processes are killed by SIGKILL while they save again and again: each time the file is whole."""
    file = tmp_path / "a.ckpt"
    instants = random.Random(0)
    leftovers = 0
    command = [sys.executable, "-c", textwrap.dedent(WRITERS)]
    with subprocess.Popen(command, cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as writers:
        for _ in range(30):
            last = kill_a_writer(writers, after=instants.uniform(0, 0.03))

            loaded = load_checkpoint_file(file)

            # The last one may have been whole before its number was said.
            assert loaded["epoch"] in (last, last + 1)
            assert all(torch.equal(row, torch.full((500,), float(loaded["epoch"]))) for row in loaded["rows"])
            # Each writer removes what the one before it left.
            assert len(os.listdir(tmp_path)) <= 2
            leftovers += len(os.listdir(tmp_path)) - 1
        writers.communicate()

    save_checkpoint_file(checkpoint(), file)

    assert os.listdir(tmp_path) == ["a.ckpt"]
    # Otherwise no writer was killed in the middle of a save, and nothing has been shown.
    assert leftovers > 0


def test_leftovers_of_living_writers_and_other_files_are_left_alone(tmp_path: Path):
    """This process's parent is alive; other names are not ours."""
    machine = atomic_file._machine()
    other = "00000000" if machine != "00000000" else "11111111"
    kept = {
        f"a.ckpt.{machine}-12345678.tmp-{os.getppid()}",  # a living process
        f"a.ckpt.{other}-12345678.tmp-999999999",  # a process of another machine
        "notes.tmp-999999999",
        "a.ckpt.tmp",
    }
    stale = {
        f"a.ckpt.{machine}-12345678.tmp-999999999",  # no process has this number
        f"a.ckpt.{machine}-12345678.tmp-{os.getpid()}",  # an earlier process with our number
        f"b.ckpt.{other}-12345678.tmp-7",  # untouched for two days
    }
    for name in kept | stale:
        (tmp_path / name).write_bytes(b"half")
    two_days_ago = time.time() - 2 * 24 * 60 * 60
    os.utime(tmp_path / f"b.ckpt.{other}-12345678.tmp-7", (two_days_ago, two_days_ago))

    save_checkpoint_file(checkpoint(), tmp_path / "a.ckpt")

    assert set(os.listdir(tmp_path)) == kept | {"a.ckpt"}


def test_threads_that_save_to_the_same_folder_do_not_disturb_each_other(tmp_path: Path):
    """Each has a temporary file of its own, which the other's clean-up spares."""
    failures: list[BaseException] = []

    def save(index: int) -> None:
        try:
            for epoch in range(20):
                save_checkpoint_file(checkpoint(epoch), tmp_path / f"{index % 2}.ckpt")
        except BaseException as error:  # noqa: BLE001 - handed to the test
            failures.append(error)

    threads = [threading.Thread(target=save, args=(index,)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    assert sorted(os.listdir(tmp_path)) == ["0.ckpt", "1.ckpt"]
    assert load_checkpoint_file(tmp_path / "0.ckpt")["epoch"] == 19
