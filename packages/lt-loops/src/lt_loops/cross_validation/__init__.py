"""Cross-validation: one fresh run for each fold, and a report of all of them."""

from lt_loops.cross_validation.report import CrossValidationReport as CrossValidationReport

__all__ = ["CrossValidationReport"]
