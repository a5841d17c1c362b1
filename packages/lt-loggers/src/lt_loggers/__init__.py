"""Experiment loggers for lt: CSV files and TensorBoard."""
