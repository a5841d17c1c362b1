"""What every part of lt stands on: LightningModule, Callback, the protocols, hooks, logging sink and checkpoint files."""
