"""Fine-tune a network: train a new head on a frozen backbone, then the backbone with a smaller learning rate.

The backbone is the first half of torchvision's ResNet-18, which is enough for small images. So that the example runs
offline and in seconds its weights are random, and the images are coloured shapes drawn on the spot: write
`weights="DEFAULT"` and take your own images for the real thing.

    python examples/finetune.py
    python examples/finetune.py --max-epochs 8 --unfreeze-at 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import lt
from lt.callbacks import BackboneFinetuning, HistoryPlot, LearningRateMonitor
from lt.loggers import CSVLogger

CLASSES = ("square", "disc", "cross")


class ShapeClassifier(lt.LightningModule):
    """A pretrained `backbone`, as `BackboneFinetuning` wants it called, and a head for our classes."""

    def __init__(self, lr: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        network = resnet18(weights=None)
        stem = [network.conv1, network.bn1, network.relu, network.maxpool]
        self.backbone = nn.Sequential(*stem, network.layer1, network.layer2, network.avgpool, nn.Flatten())
        self.head = nn.Linear(128, len(CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        """Score each of `images` [B, 3, 32, 32] for each class: [B, 3]."""
        return self.head(self.backbone(images))

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, classes = batch
        loss = F.cross_entropy(self(images), classes)
        self.log("train_loss", loss, prog_bar=True, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        images, classes = batch
        scores = self(images)
        accuracy = (scores.argmax(dim=1) == classes).float().mean()
        self.log_dict({"val_loss": F.cross_entropy(scores, classes), "val_accuracy": accuracy}, prog_bar=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        # Only what is trained from the start: the callback adds the backbone when it unfreezes it.
        return torch.optim.Adam(filter(lambda p: p.requires_grad, self.parameters()), lr=self.hparams.lr)


class WhatIsTrained(lt.Callback):
    """Says at the start of each epoch what is trained, and how fast."""

    def on_train_epoch_start(self, trainer: lt.Trainer, pl_module: lt.LightningModule) -> None:
        frozen = sum(p.numel() for p in pl_module.backbone.parameters() if not p.requires_grad)
        rates = ", ".join(f"{group['lr']:.6f}" for group in trainer.optimizers[0].param_groups)
        trainer.print(f"epoch {trainer.current_epoch}: frozen in the backbone: {frozen}, learning rates: {rates}")


def draw_shapes(number: int, seed: int) -> TensorDataset:
    """Draw `number` noisy images [3, 32, 32] of one shape each, at a random place, in a random colour and size."""
    generator = torch.Generator().manual_seed(seed)
    classes = torch.randint(len(CLASSES), (number,), generator=generator)
    centres = torch.randint(9, 23, (number, 2, 1, 1), generator=generator)
    sizes = torch.randint(5, 9, (number, 1, 1), generator=generator)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    down, right = (rows - centres[:, 0]).abs(), (columns - centres[:, 1]).abs()
    square = (down <= sizes) & (right <= sizes)
    masks = torch.stack([square, down**2 + right**2 <= sizes**2, square & ((down <= 1) | (right <= 1))])
    chosen = masks[classes, torch.arange(number)].unsqueeze(1)
    colours = 0.5 + torch.rand(number, 3, 1, 1, generator=generator)
    noise = 0.1 * torch.randn(number, 3, 32, 32, generator=generator)
    return TensorDataset(chosen * colours + noise, classes)


def main(arguments: argparse.Namespace) -> float:
    """Train the head, then everything, and return the accuracy on images that were not trained on."""
    lt.seed_everything(1)
    train = DataLoader(draw_shapes(480, seed=1), batch_size=32, shuffle=True)
    val = DataLoader(draw_shapes(120, seed=2), batch_size=60)

    unfreeze = BackboneFinetuning(unfreeze_backbone_at_epoch=arguments.unfreeze_at, backbone_initial_ratio_lr=0.3)
    trainer = lt.Trainer(
        max_epochs=arguments.max_epochs,
        callbacks=[unfreeze, WhatIsTrained(), LearningRateMonitor("epoch"), HistoryPlot()],
        logger=CSVLogger(arguments.log_dir, name="finetune"),
        log_every_n_steps=5,
    )
    trainer.fit(ShapeClassifier(), train, val)

    accuracy = float(trainer.callback_metrics["val_accuracy"])
    print(f"\naccuracy:  {accuracy:.4f}")
    print(f"the plot:  {Path(trainer.log_dir) / 'history.png'}")
    return accuracy


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=6)
    parser.add_argument("--unfreeze-at", type=int, default=2, help="the epoch from which the backbone is trained")
    parser.add_argument("--log-dir", type=Path, default=Path("logs"))
    main(parser.parse_args())
