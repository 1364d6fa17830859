"""The loop over a worker's environments in their process: cpp/bindings/steps/steps.cc."""

from collections.abc import Callable
from typing import Any

class Stepper:
    """Steps environments, and writes what is usual about it into shared memory, a row of `rows` for each.

    `typecode`, as the buffer protocol has it, and `shape` are an observation's; `over` says which are to be reset.
    """

    def __init__(
        self,
        steps: tuple[Callable[[Any], Any], ...],
        over: bytearray,
        rewards: memoryview[float],
        flags: memoryview,
        rows: memoryview,
        typecode: str,
        shape: tuple[int, ...],
        /,
    ) -> None: ...
    def step(self, actions: list[Any], first: int, /) -> tuple[int, Any] | None:
        """From the first on; the number of one that Python is to see to, and its result, None where it is over."""
