"""A data module for images: written once, transformed by workers, split the same way in every stage. Runs offline.

The images are the digits that scikit-learn ships, stored in MNIST's file format and read by `torchvision`'s `MNIST`;
training images are shifted and turned a little by worker processes, whose random numbers are seeded.

    python examples/digits_datamodule.py
    python examples/digits_datamodule.py --workers 4 --batch-size 128
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from quickstart import write_digits_as_mnist
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset
from torchvision import transforms
from torchvision.datasets import MNIST

import lt


class DigitImages(lt.LightningDataModule):
    """Handwritten digits, augmented for training.

    The hyperparameters are saved in every checkpoint, so that `DigitImages.load_from_checkpoint(path)` makes the same.
    """

    def __init__(self, folder: str, batch_size: int = 64, workers: int = 2, share_of_validation: float = 0.2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.augmented = transforms.Compose(
            [transforms.RandomAffine(degrees=8, translate=(0.06, 0.06)), transforms.ToTensor()]
        )
        self.plain = transforms.ToTensor()

    def prepare_data(self) -> None:
        """Write the files; called in one process."""
        write_digits_as_mnist(Path(self.hparams.folder) / "MNIST" / "raw")

    def setup(self, stage: str) -> None:
        """Open the files; called in every process. The split depends on nothing but its seed."""
        folder = self.hparams.folder
        if stage in ("fit", "validate"):
            train = MNIST(folder, train=True, transform=self.augmented)
            order = torch.randperm(len(train), generator=torch.Generator().manual_seed(0)).tolist()
            held_out = int(self.hparams.share_of_validation * len(order))
            self.train = Subset(train, order[held_out:])
            self.val = Subset(MNIST(folder, train=True, transform=self.plain), order[:held_out])
        if stage in ("test", "predict"):
            self.test = MNIST(folder, train=False, transform=self.plain)

    def train_dataloader(self) -> DataLoader:
        return self.loader(self.train, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self.loader(self.val)

    def test_dataloader(self) -> DataLoader:
        return self.loader(self.test)

    def predict_dataloader(self) -> DataLoader:
        return self.loader(self.test)

    def loader(self, images, *, shuffle: bool = False) -> DataLoader:
        workers = self.hparams.workers
        return DataLoader(
            images, self.hparams.batch_size, shuffle=shuffle, num_workers=workers, persistent_workers=workers > 0
        )


class Reader(lt.LightningModule):
    """A linear look at 7 x 7 patches, good enough to see that the data arrive."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(1, 16, 7, stride=3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 8, 10))

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, digits = batch
        return F.cross_entropy(self.net(images), digits)

    def validation_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, digits = batch
        self.log("val_accuracy", (self.net(images).argmax(1) == digits).float().mean())

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        images, digits = batch
        self.log("test_accuracy", (self.net(images).argmax(1) == digits).float().mean())

    def predict_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        return self.net(batch[0]).argmax(1)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=2e-3)


def main() -> None:
    """Train, test and predict from one data module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", default="data")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--max-epochs", type=int, default=6)
    options = parser.parse_args()

    lt.seed_everything(3, workers=True)
    digits = DigitImages(f"{options.data_dir}/digits", options.batch_size, options.workers)
    trainer = lt.Trainer(
        accelerator="cpu",
        max_epochs=options.max_epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir="runs",
    )
    trainer.fit(Reader(), datamodule=digits)
    [results] = trainer.test(datamodule=digits, ckpt_path="best", verbose=False)
    predictions = torch.cat(trainer.predict(datamodule=digits, ckpt_path="best"))
    print(digits)
    again = DigitImages.load_from_checkpoint(trainer.checkpoint_callback.best_model_path)
    print(f"test accuracy: {results['test_accuracy']:.3f}, {len(predictions)} digits read")
    print(f"made again from the checkpoint: {dict(again.hparams)}")


if __name__ == "__main__":
    main()
