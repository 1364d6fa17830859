"""torch as a thread finds it that has just begun, whatever the program has set in its own: a context manager."""

from __future__ import annotations

import contextlib
from types import TracebackType
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from a3c_fast._core import NewThreadTorch
else:
    try:
        from a3c_fast._core import NewThreadTorch
    except ImportError:  # a trained policy is used where the extension is not, or was built for another torch

        class NewThreadTorch:
            """What can be had of it in Python."""

            def __enter__(self) -> None:
                with contextlib.ExitStack() as stack:
                    stack.enter_context(torch.inference_mode(mode=False))
                    stack.enter_context(torch.enable_grad())
                    stack.enter_context(torch.autocast("cpu", enabled=False))
                    stack.enter_context(torch.device("cpu"))
                    self._stack = stack.pop_all()

            def __exit__(
                self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
            ) -> None:
                self._stack.close()


__all__ = ["NewThreadTorch"]
