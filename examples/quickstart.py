"""Train a small convolutional network on handwritten digits and test the best checkpoint. Runs offline, in a minute.

The data are the 1,797 scanned digits that scikit-learn ships, written once in the file format of MNIST, so that the
data set class is the one you would use for the real thing: pass `--real-mnist` to download and use that instead.

    python examples/quickstart.py
    python examples/quickstart.py --real-mnist --max-epochs 5
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, random_split
from torchvision.datasets import MNIST
from torchvision.transforms import ToTensor

import lt
from lt.callbacks import EarlyStopping, ModelCheckpoint
from lt.loggers import CSVLogger, TensorBoardLogger


class DigitClassifier(lt.LightningModule):
    """The research: a network, what it learns from, how it is judged, and how it is optimised."""

    def __init__(self, channels: int = 8, lr: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(
            nn.Conv2d(1, channels, 5, padding=2), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(channels, 2 * channels, 5, padding=2), nn.BatchNorm2d(2 * channels), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(2 * channels * 7 * 7, 10),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        """Score each of `images` [B, 1, 28, 28] for each digit: [B, 10]."""
        return self.net(images)

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, digits = batch
        loss = F.cross_entropy(self(images), digits)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.judge("val", batch)

    def test_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        self.judge("test", batch)

    def judge(self, name: str, batch: tuple[Tensor, Tensor]) -> None:
        """Log loss and accuracy; what is logged in an evaluation step is averaged over all its samples."""
        images, digits = batch
        scores = self(images)
        accuracy = (scores.argmax(dim=1) == digits).float().mean()
        self.log_dict({f"{name}_loss": F.cross_entropy(scores, digits), f"{name}_accuracy": accuracy}, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.hparams.lr)


class Digits(lt.LightningDataModule):
    """The data: fetched once by `prepare_data`, split by `setup`, served in batches by the loaders."""

    def __init__(self, folder: Path, *, real_mnist: bool = False, batch_size: int = 64) -> None:
        super().__init__()
        self.folder = folder / ("mnist" if real_mnist else "digits")
        self.real_mnist = real_mnist
        self.batch_size = batch_size

    def prepare_data(self) -> None:
        if self.real_mnist:
            MNIST(self.folder, download=True)
        else:
            write_digits_as_mnist(self.folder / "MNIST" / "raw")

    def setup(self, stage: str) -> None:
        known = MNIST(self.folder, train=True, transform=ToTensor())
        self.train, self.val = random_split(known, [0.8, 0.2], torch.Generator().manual_seed(0))
        self.test = MNIST(self.folder, train=False, transform=ToTensor())

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.val, self.batch_size)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.test, self.batch_size)


def write_digits_as_mnist(folder: Path) -> None:
    """Write scikit-learn's digits to `folder` in MNIST's four files, unless they are there.

    The format is IDX (http://yann.lecun.com/exdb/mnist): a big-endian header, which says "unsigned bytes", the number
    of dimensions and each length, and then the bytes. Images of 8 x 8 in 17 greys become 28 x 28 in 256.
    """
    last = folder / "t10k-labels-idx1-ubyte"
    if last.exists():
        return
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    folder.mkdir(parents=True, exist_ok=True)
    images, labels = (torch.as_tensor(array) for array in load_digits(return_X_y=True))
    images = F.interpolate(images.view(-1, 1, 8, 8) * (255 / 16), size=(28, 28), mode="bilinear").squeeze(1)
    known, unseen = train_test_split(range(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    for part, rows in (("train", known), ("t10k", unseen)):
        for name, tensor in (("images-idx3", images[rows]), ("labels-idx1", labels[rows])):
            lengths = b"".join(length.to_bytes(4, "big") for length in tensor.shape)
            header = bytes([0, 0, 8, tensor.ndim]) + lengths
            unfinished = folder / f"{part}-{name}-ubyte.part"
            unfinished.write_bytes(header + tensor.round().to(torch.uint8).numpy().tobytes())
            unfinished.replace(folder / f"{part}-{name}-ubyte")


def main(arguments: argparse.Namespace) -> float:
    """Train, pick the best checkpoint by validation accuracy, test it, and return the test accuracy."""
    lt.seed_everything(7, workers=True)
    data = Digits(arguments.data_dir, real_mnist=arguments.real_mnist)
    model = DigitClassifier()

    checkpoint = ModelCheckpoint(monitor="val_accuracy", mode="max", filename="{epoch}-{val_accuracy:.3f}")
    stop = EarlyStopping(monitor="val_accuracy", mode="max", patience=4)
    curves = TensorBoardLogger(arguments.log_dir, name="digits")
    table = CSVLogger(arguments.log_dir, name="digits_csv")
    trainer = lt.Trainer(
        max_epochs=arguments.max_epochs, callbacks=[checkpoint, stop], logger=[curves, table], log_every_n_steps=10
    )
    trainer.fit(model, datamodule=data)

    best = DigitClassifier.load_from_checkpoint(checkpoint.best_model_path)
    [result] = trainer.test(best, datamodule=data)

    print(f"\ntest accuracy:   {result['test_accuracy']:.4f}")
    print(f"best checkpoint: {checkpoint.best_model_path}")
    print(f"see the curves:  {sys.executable} -m tensorboard.main --logdir {arguments.log_dir}")
    return result["test_accuracy"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--real-mnist", action="store_true", help="download MNIST (60,000 images) and use it")
    parser.add_argument("--max-epochs", type=int, default=15, help="train no longer than this")
    parser.add_argument("--data-dir", type=Path, default=Path.home() / ".cache" / "lt", help="where the data go")
    parser.add_argument("--log-dir", type=Path, default=Path("lt_logs"), help="where logs and checkpoints go")
    main(parser.parse_args())
