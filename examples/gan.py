"""Train a small GAN on handwritten digits with manual optimisation, and watch its images grow in TensorBoard.

Two networks with an optimizer each: the generator draws digits from noise, the discriminator tells them from real ones.
Each epoch a grid of drawings of the same noise goes to TensorBoard. Runs offline, within a minute.

    python examples/gan.py
    python examples/gan.py --max-epochs 400
"""

from __future__ import annotations

import argparse
import sys
from itertools import pairwise
from pathlib import Path

import torch
from quickstart import Digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchvision.datasets import MNIST
from torchvision.utils import make_grid

import lt
from lt.loggers import TensorBoardLogger


def mlp(sizes: list[int], last: nn.Module) -> nn.Sequential:
    """Linear layers of these sizes with leaky ReLUs in between."""
    layers: list[nn.Module] = []
    for width, following in pairwise(sizes):
        layers += [nn.Linear(width, following), nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers[:-1], last)


class GAN(lt.LightningModule):
    """A generator and a discriminator that learn from each other (https://arxiv.org/abs/1406.2661)."""

    def __init__(self, latent_size: int = 32, hidden_size: int = 128, lr: float = 2e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = mlp([latent_size, hidden_size, 2 * hidden_size, 28 * 28], nn.Sigmoid())
        self.discriminator = mlp([28 * 28, 2 * hidden_size, hidden_size, 1], nn.Identity())
        self.register_buffer("shown_noise", torch.randn(16, latent_size))
        self.example_input_array = torch.zeros(2, latent_size)

    def forward(self, noise: Tensor) -> Tensor:
        """Draw a digit from each row of `noise` [B, latent_size]: images [B, 1, 28, 28] from 0 to 1."""
        return self.generator(noise).view(-1, 1, 28, 28)

    def training_step(self, batch: tuple[Tensor], batch_idx: int) -> None:
        [real] = batch
        for_generator, for_discriminator = self.optimizers()
        drawn = self(torch.randn(len(real), self.hparams.latent_size, device=self.device))

        self.toggle_optimizer(for_discriminator)
        loss = (self.mistake(real, is_real=True) + self.mistake(drawn.detach(), is_real=False)) / 2
        self.step(for_discriminator, loss)
        self.untoggle_optimizer(for_discriminator)
        self.log("loss/discriminator", loss, prog_bar=True)

        self.toggle_optimizer(for_generator)
        loss = self.mistake(drawn, is_real=True)  # the generator wins when it is mistaken for reality
        self.step(for_generator, loss)
        self.untoggle_optimizer(for_generator)
        self.log("loss/generator", loss, prog_bar=True)

    def mistake(self, images: Tensor, *, is_real: bool) -> Tensor:
        """How wrong the discriminator is about images [B, 1, 28, 28]."""
        scores = self.discriminator(images.flatten(1))
        return F.binary_cross_entropy_with_logits(scores, torch.full_like(scores, float(is_real)))

    def step(self, optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()

    def on_train_epoch_end(self) -> None:
        with torch.no_grad():
            drawn = self(self.shown_noise)
        self.log("drawings/mean_grey", drawn.mean())
        self.log("drawings/variety", drawn.std(dim=0).mean())  # 0 where all drawings are the same
        board = self.logger.experiment
        board.add_image("drawings/grid", make_grid(drawn, nrow=4), self.current_epoch)

    def on_train_end(self) -> None:
        # What runs are compared by, beside their hyperparameters.
        variety = self.trainer.callback_metrics["drawings/variety"]
        self.logger.log_hyperparams(self.hparams, {"hp/variety": variety}, step=self.global_step)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        settings = {"lr": self.hparams.lr, "betas": (0.5, 0.999)}
        return [torch.optim.Adam(net.parameters(), **settings) for net in (self.generator, self.discriminator)]


class InMemoryDigits(Digits):
    """The digits of the quickstart without labels, decoded once: an epoch takes a second less."""

    def setup(self, stage: str) -> None:
        images = MNIST(self.folder, train=True).data
        self.train = TensorDataset(images.unsqueeze(1) / 255)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.train, self.batch_size, shuffle=True, drop_last=True)


def main(arguments: argparse.Namespace) -> None:
    """Train, and say where to look."""
    lt.seed_everything(7, workers=True)
    data = InMemoryDigits(arguments.data_dir)
    board = TensorBoardLogger(arguments.log_dir, name="gan", log_graph=True, default_hp_metric=False)
    trainer = lt.Trainer(max_epochs=arguments.max_epochs, logger=board, log_every_n_steps=10, limit_val_batches=0)
    trainer.fit(GAN(), datamodule=data)

    print(f"\nimages and curves: {sys.executable} -m tensorboard.main --logdir {arguments.log_dir}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--max-epochs", type=int, default=60, help="train this long")
    parser.add_argument("--data-dir", type=Path, default=Path.home() / ".cache" / "lt", help="where the data go")
    parser.add_argument("--log-dir", type=Path, default=Path("lt_logs"), help="where logs and checkpoints go")
    main(parser.parse_args())
