"""Data: where loaders come from, how much of them is read, how a batch moves, where an epoch is resumed."""
