"""Data modules, datasets and samplers for lt."""
