"""Optimisation: what `configure_optimizers` returned, and how a batch becomes a step."""
