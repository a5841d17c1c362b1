"""Train PyTorch models: write the module, lt runs the loops, devices, precision, checkpoints and logs."""
