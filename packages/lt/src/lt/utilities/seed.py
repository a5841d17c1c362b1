"""Random numbers under control, under the name that users of Lightning import."""

from __future__ import annotations

from lt_core.seed import isolate_rng, pl_worker_init_function, reset_seed, seed_everything

__all__ = ["isolate_rng", "pl_worker_init_function", "reset_seed", "seed_everything"]
