"""What the progress bars leave in a notebook: run in a real kernel, without widgets."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("rich")
pytest.importorskip("tqdm")
pytest.importorskip("ipykernel")
nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")

CELL = """
import sys, time, importlib.util
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ipywidgets" else find_spec(name, *rest)
import torch
torch.set_num_threads(1)
from torch.utils.data import DataLoader
from lt_callbacks import {bar}
from lt_core.testing import BoringModel, MiniTrainer, RandomDataset
class Model(BoringModel):
    def training_step(self, batch, batch_idx):
        time.sleep(0.02)
        if batch_idx == 12:
            print("said by the user", flush=True)
        self.log("train_loss", 0.25, prog_bar=True)
        return self.step(batch)
    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        time.sleep(0.02)
        self.log("val_loss", 0.5, prog_bar=True)
def data(batches):
    return DataLoader(RandomDataset(32, batches))
trainer = MiniTrainer(callbacks=[{bar}()], max_epochs=2)
trainer.fit(Model(), data(20), data(20))
_ = trainer.test(Model(), data(10))
"""


def shown(bar: str) -> list[str]:
    """Run the cell and return the lines that a reader of the notebook sees."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CELL.format(bar=bar))])
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs: list[Any] = notebook.cells[0].outputs
    text = "".join(output.text if output.output_type == "stream" else output.data["text/plain"] for output in outputs)
    assert "\x1b[A" not in text  # notebooks do not know the way up
    lines = [line.rstrip("\r").rpartition("\r")[2].strip() for line in re.sub(r"\x1b\[[0-9;]*m", "", text).split("\n")]
    return [line for line in lines if line]


@pytest.mark.parametrize("bar", ["RichProgressBar", "TQDMProgressBar"])
def test_a_notebook_keeps_one_line_of_each_phase(bar: str) -> None:
    """Validation leaves none in a fit, and what a module prints stands by itself."""
    lines = shown(bar)

    bars = [line for line in lines if line != "said by the user"]
    assert lines.count("said by the user") == 2
    assert len(bars) == 2
    assert re.search(r"^Epoch 1.*20/20.*train_loss[:=] ?0.250.*val_loss[:=] ?0.500", bars[0])
    assert re.search(r"^Testing.*10/10", bars[1])
