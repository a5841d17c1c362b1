"""Measuring throughput, under the name that users of Lightning import."""

from __future__ import annotations

from lt_callbacks import Throughput, ThroughputMonitor, measure_flops

__all__ = ["Throughput", "ThroughputMonitor", "measure_flops"]
