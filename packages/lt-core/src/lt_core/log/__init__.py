"""What ``self.log`` writes to: slots that keep (sum, weight), and the sink that readers read from."""

from lt_core.log.batch_size import batch_size_of as batch_size_of
from lt_core.log.exchange import Exchange as Exchange
from lt_core.log.metric_slot import is_metric as is_metric
from lt_core.log.metric_slot import named_metrics as named_metrics
from lt_core.log.options import LogOptions as LogOptions
from lt_core.log.options import RawOptions as RawOptions
from lt_core.log.reading import read_scalars as read_scalars
from lt_core.log.sink import LogSink as LogSink
from lt_core.log.sink import Metrics as Metrics
from lt_core.log.slot import Slot as Slot
from lt_core.log.slot import Totals as Totals

__all__ = [
    "Exchange",
    "LogOptions",
    "LogSink",
    "Metrics",
    "RawOptions",
    "Slot",
    "Totals",
    "batch_size_of",
    "is_metric",
    "named_metrics",
    "read_scalars",
]
