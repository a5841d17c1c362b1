"""Before the processes of a strategy join: all of them are there, fit together, and rank 0 says what they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lt_core.rank_zero import rank_zero_info
from lt_loops.environments.topology import name_of
from lt_loops.ranks.card import RankCard, code_of_class
from lt_loops.ranks.handshake import describe_topology, shake_hands
from lt_loops.ranks.meet import seconds_to_start

if TYPE_CHECKING:
    import torch.distributed as dist

    from lt_loops.strategies.parallel import ParallelStrategy

__all__ = ["preflight"]


def preflight(strategy: ParallelStrategy, store: dist.Store) -> None:
    """Make sure that all processes of ``strategy`` are there and fit together; print one line about them.

    Args:
        strategy: Knows this process's ranks, device and module.
        store: Where the processes meet.

    Raises:
        HandshakeError: Some are missing, two have the same rank, or they disagree.
    """
    module = strategy.lightning_module
    card = RankCard(
        rank=strategy.global_rank,
        local_rank=strategy.local_rank,
        node_rank=strategy.node_rank,
        world_size=strategy.world_size,
        num_nodes=strategy.num_nodes,
        device=str(strategy.root_device),
        backend=strategy.process_group_backend,
        strategy=strategy.strategy_name,
        module=("", "") if module is None else code_of_class(type(module)),
    ).of_this_process()
    cards = shake_hands(store, card, seconds_to_start(strategy.timeout))
    if strategy.is_global_zero:
        rank_zero_info(describe_topology(cards, name_of(strategy.cluster_environment)))
    store.set_timeout(strategy.timeout)
