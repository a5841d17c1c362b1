"""The Trainer of lt and the loops it runs."""
