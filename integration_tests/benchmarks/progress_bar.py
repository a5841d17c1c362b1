"""Measure what a progress bar costs a run whose steps take a millisecond, in a terminal of its own.

    python integration_tests/benchmarks/progress_bar.py              # both bars, 3000 steps, five rounds
    python integration_tests/benchmarks/progress_bar.py --steps 500 --rounds 1

Each round trains three times in one process, without a bar and with each of the two, in turn. The terminal is a pseudo
terminal of 120 columns that is read while the run goes on. A step sleeps until its millisecond is over, so the wall
clock would hide what the bar does in the meantime: the processor's time is measured, and what the bar adds is given as
a part of the millisecond. Printed is the median over the rounds, and how often each bar was drawn.

On a machine that is busy with other things that difference is lost in the noise; what the bar's own hook takes is
measured directly, too, and needs no comparison.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from statistics import median
from typing import Any

STEP = 1e-3
KINDS = ("none", "rich", "tqdm")


def _model() -> Any:
    import torch

    import lt

    class Model(lt.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            began = time.perf_counter()
            loss = self.layer(batch).sum()
            self.log("loss", loss, prog_bar=True)
            self.log("accuracy", 0.5, prog_bar=True)
            time.sleep(max(0.0, STEP - (time.perf_counter() - began)))
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    return Model()


def _bar(kind: str, spent: dict[str, float]) -> list[Any]:
    """Return the bar, if there is to be one, which notes its drawings and the seconds in its hook."""
    import lt

    if kind == "none":
        return []
    base: Any = {"rich": lt.callbacks.RichProgressBar, "tqdm": lt.callbacks.TQDMProgressBar}[kind]

    class Counted(base):  # type: ignore[misc]
        def _show(self, *args: Any) -> None:
            spent["drawings"] += 1
            super()._show(*args)

        def on_train_batch_end(self, *args: Any) -> None:
            began = time.thread_time()
            super().on_train_batch_end(*args)
            spent["seconds"] += time.thread_time() - began

    return [Counted()]


def _run(kind: str, steps: int) -> dict[str, float]:
    """Train once; return microseconds of the processor a step, drawings a second, and the hook's part of the time."""
    import torch

    import lt

    batches = torch.utils.data.DataLoader([torch.ones(2, 4)] * steps, batch_size=None)  # type: ignore[arg-type]
    quiet: dict[str, Any] = {"logger": False, "enable_checkpointing": False, "enable_model_summary": False}
    spent = {"drawings": 0.0, "seconds": 0.0}
    bar = _bar(kind, spent)
    trainer = lt.Trainer(max_epochs=1, accelerator="cpu", callbacks=bar, enable_progress_bar=kind != "none", **quiet)
    began, used = time.perf_counter(), time.process_time()
    trainer.fit(_model(), batches)
    elapsed, used = time.perf_counter() - began, time.process_time() - used
    return {
        "microseconds": used / steps * 1e6,
        "drawings": spent["drawings"] / elapsed,
        "within": spent["seconds"] / elapsed,
    }


def measure(steps: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return what `_run` found, by bar and by round."""
    import torch

    torch.set_num_threads(1)
    for kind in KINDS:
        _run(kind, steps)  # what happens once: imports, the first drawing
    found: dict[str, dict[str, list[float]]] = {kind: {} for kind in KINDS}
    for turn in range(rounds):
        for kind in KINDS[:: -1 if turn % 2 else 1]:
            for name, value in _run(kind, steps).items():
                found[kind].setdefault(name, []).append(value)
    return found


def in_terminal(steps: int, rounds: int) -> dict[str, dict[str, list[float]]]:
    """Run `measure` in a process whose output is a terminal, and return what it found."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    back, answer = os.pipe()
    process = subprocess.Popen(
        [sys.executable, __file__, "--steps", str(steps), "--rounds", str(rounds), "--answer", str(answer)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        pass_fds=[answer],
        env={**os.environ, "TERM": "xterm-256color", "OMP_NUM_THREADS": "1"},
    )
    os.close(slave)
    os.close(answer)
    seen: list[bytes] = []

    def read() -> None:
        while True:
            try:
                piece = os.read(master, 65536)
            except OSError:
                return
            if not piece:
                return
            seen.append(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    with os.fdopen(back) as pipe:
        text = pipe.read()
    if process.wait():
        raise SystemExit(b"".join(seen).decode(errors="replace")[-2000:])
    found: dict[str, dict[str, list[float]]] = json.loads(text)
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--answer", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer is not None:
        found = measure(arguments.steps, arguments.rounds)
        with os.fdopen(arguments.answer, "w") as pipe:
            json.dump(found, pipe)
        return
    found = in_terminal(arguments.steps, arguments.rounds)
    without = median(found["none"]["microseconds"])
    for kind in KINDS[1:]:
        pairs = zip(found[kind]["microseconds"], found["none"]["microseconds"], strict=True)
        extra = median(with_bar - bare for with_bar, bare in pairs)
        part = extra / (STEP * 1e6)
        print(
            f"{kind}: {extra:+.1f} µs a step over {without:.1f} without a bar: on/off {1 + part:.4f} of a step of 1 ms,"
            f" {median(found[kind]['within']):.2%} of the run in the bar's hook,"
            f" {median(found[kind]['drawings']):.1f} drawings a second"
        )


if __name__ == "__main__":
    main()
