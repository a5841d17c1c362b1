"""`lt run script.py` in real processes: the script, what it is given, and the processes that it starts itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def run_lt(*words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "lt", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_script_of_an_older_era_trains_unmodified(tmp_path: Path) -> None:
    """Old module paths, its own arguments, its own folder on the path, pickles of its own classes."""
    written(tmp_path / "helper.py", "from pytorch_lightning.callbacks.base import Callback\n")
    script = written(
        tmp_path / "train.py",
        """
import pickle
import sys
import torch
from helper import Callback
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.core.lightning import LightningModule

class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(4, 2), batch_size=2)

class Count(Callback):
    def on_train_end(self, trainer, pl_module):
        print("steps", trainer.global_step)

if __name__ == "__main__":
    torch.set_num_threads(1)
    seed_everything(1)
    trainer = Trainer(max_epochs=2, callbacks=[Count()], logger=False, enable_checkpointing=False,
                      enable_progress_bar=False, enable_model_summary=False, accelerator="cpu")
    trainer.fit(Net())
    print("again", type(pickle.loads(pickle.dumps(Net()))) is Net, "arguments", *sys.argv[1:])
""",
    )

    done = run_lt("run", script, "--help", "-x", "3")

    assert done.returncode == 0, done.stderr
    assert "steps 4" in done.stdout
    assert "again True arguments --help -x 3" in done.stdout


def test_child_processes_of_every_kind_know_the_old_names(tmp_path: Path) -> None:
    """A subprocess, a spawned process and one of the fork server import them before any line of lt runs."""
    script = written(
        tmp_path / "parent.py",
        """
import multiprocessing
import subprocess
import sys
import pytorch_lightning

def work(queue):
    import lightning.pytorch as pl
    queue.put((pl.__version__, pl is not None and pytorch_lightning.__version__))

if __name__ == "__main__":
    for method in {"spawn", "forkserver"} & set(multiprocessing.get_all_start_methods()):
        context = multiprocessing.get_context(method)
        queue = context.SimpleQueue()
        process = context.Process(target=work, args=(queue,))
        process.start()
        print(method, *queue.get())
        process.join()
    child = "import pytorch_lightning, sys; print(pytorch_lightning.__version__, any('startup' in p for p in sys.path))"
    print("child", subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout)
""",
    )

    done = run_lt("run", script)

    assert done.returncode == 0, done.stderr
    assert "spawn 2.6.6 2.6.6" in done.stdout
    assert "child 2.6.6 False" in done.stdout
    if sys.platform != "win32":
        assert "forkserver 2.6.6 2.6.6" in done.stdout


def test_ranks_that_the_trainer_starts_know_the_old_names(tmp_path: Path) -> None:
    """`strategy="ddp"` runs the script again for each rank, by `python script.py`, and it finds the old names."""
    script = written(
        tmp_path / "ranks.py",
        """
import sys
import torch
import pytorch_lightning as pl
from pytorch_lightning.core.lightning import LightningModule

class Net(LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        return self.layer(batch).sum()
    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)
    def train_dataloader(self):
        return torch.utils.data.DataLoader(torch.ones(4, 2), batch_size=2)
    def on_train_end(self):
        print(f"rank {self.global_rank} of {self.trainer.world_size}", flush=True)

if __name__ == "__main__":
    torch.set_num_threads(1)
    pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
               enable_model_summary=False, accelerator="cpu", devices=2, strategy=sys.argv[1]).fit(Net())
""",
    )

    done = run_lt("run", script, "ddp")

    assert done.returncode == 0, done.stderr
    assert "rank 0 of 2" in done.stdout
    assert "rank 1 of 2" in done.stdout


def test_the_sitecustomize_of_the_environment_still_runs_in_children(tmp_path: Path) -> None:
    """An interpreter runs one such module: ours passes on to the one that it hides, and can be switched off."""
    written(tmp_path / "sitecustomize.py", "print('theirs')\n")
    child = "import importlib.util as u; print(getattr(u.find_spec('pytorch_lightning'), 'origin', None) == 'lt')"
    script = written(
        tmp_path / "parent.py",
        f"""
import os, subprocess, sys
for value in ("1", "0"):
    print(value, subprocess.run([sys.executable, "-c", {child!r}], capture_output=True, text=True, check=True,
                                env={{**os.environ, "LT_ALIAS_LIGHTNING": value}}).stdout.split())
""",
    )

    done = run_lt("run", script, PYTHONPATH=os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))

    assert done.returncode == 0, done.stderr
    assert "1 ['theirs', 'True']" in done.stdout
    assert "0 ['theirs', 'False']" in done.stdout


def test_the_exit_status_and_the_traceback_are_the_scripts(tmp_path: Path) -> None:
    """What a script raises ends the command as it ends `python script.py`."""
    ends = written(tmp_path / "ends.py", "import sys\nsys.exit(7)\n")
    raises = written(tmp_path / "raises.py", "def broken():\n    raise ValueError('of the script')\nbroken()\n")

    ended, raised = run_lt("run", ends), run_lt("run", raises)

    assert ended.returncode == 7
    assert raised.returncode == 1
    assert "ValueError: of the script" in raised.stderr
    assert "raise ValueError('of the script')" in raised.stderr


@pytest.mark.parametrize(
    ("words", "status", "text"),
    [
        (["run", "no_such_script.py"], 2, "'no_such_script.py' is no file. Expected the path of a Python script"),
        (["rum", "x.py"], 2, "invalid choice: 'rum'"),
        (["run", "--help"], 0, "lt run [-h] script [arguments ...]"),
    ],
)
def test_the_command_line_says_what_is_wrong_and_how_it_is_used(words: list[str], status: int, text: str) -> None:
    """A script that is not there, a misspelled command, and the help of the command."""
    done = run_lt(*words)

    assert done.returncode == status
    assert text in done.stdout + done.stderr


def test_help_loads_no_torch() -> None:
    """`lt --help` answers at once."""
    program = """
import sys
from lt.__main__ import main
try:
    main(["--help"])
except SystemExit:
    pass
assert "torch" not in sys.modules
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert "run a script that imports Lightning" in done.stdout
