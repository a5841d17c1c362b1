"""Checkpointing, early stopping, progress bars and summaries for lt."""
