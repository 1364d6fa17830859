"""The members of a round as a process group of torch.distributed, on Gloo, of which nothing is a default group."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import torch
from torch.distributed import BroadcastOptions, ProcessGroupGloo, ReduceOp, Store  # type: ignore[attr-defined]

_THREADS = 1  # of Gloo's, for what is under way at a time


class Group:
    """Collective calls: every member makes the same ones in the same order.

    Each raises `RuntimeError` where a member is gone, at once where its process has ended, or after `timeout` seconds.
    """

    def __init__(self, store: Store, place: int, size: int, address: str, timeout: float) -> None:
        self.size = size
        self._group: Any = None  # a ProcessGroupGloo, of which torch has no types
        if size > 1:
            options = ProcessGroupGloo._Options()  # type: ignore[attr-defined]
            options._timeout = timedelta(seconds=timeout)
            options._threads = _THREADS
            options._devices = [ProcessGroupGloo.create_device(hostname=address)]
            self._group = ProcessGroupGloo(store, place, size, options)

    def gather(self, numbers: torch.Tensor) -> torch.Tensor:
        """[n] of each member as [size, n]."""
        gathered = torch.empty((self.size, *numbers.shape), dtype=numbers.dtype)
        if self._group is None:
            gathered[0] = numbers
        else:
            self._group.allgather([list(gathered)], [numbers]).wait()
        return gathered

    def add(self, tensor: torch.Tensor) -> None:
        """The sum over the members takes the place of each one's: the same to the last bit everywhere."""
        if self._group is not None:
            self._group.allreduce([tensor], op=ReduceOp.SUM).wait()

    def broadcast(self, tensor: torch.Tensor, source: int) -> None:
        """That of the member at a place takes the place of everyone's."""
        if self._group is not None:
            options = BroadcastOptions()
            options.rootRank, options.rootTensor = source, 0
            self._group.broadcast([tensor], options).wait()

    def close(self) -> None:
        """Ends the connections: who still waits for this host hears of it."""
        group, self._group = self._group, None
        del group
