"""A thread of this program with the environments of one worker, for those that cannot live in another process."""

from __future__ import annotations

import os
import socket
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from a3c_fast.envs import env_host
from a3c_fast.envs.child import process
from a3c_fast.envs.env_host import End, EnvHost


class EnvThread(EnvHost):
    """A thread of this program with the environments of one worker; `make_of` a render_mode is what makes one.

    It holds the GIL while they step, and the worker waits for it without.
    """

    NOUN, NOUNS = "thread", "threads"
    DESCRIPTORS = 9  # the thread, which may outlive this object in a step, has its own of all, and one of its mmap

    def __init__(
        self, env_id: str, make_of: Callable[[str], Callable[[], Any]], seeds: Sequence[int], render_mode: str = ""
    ) -> None:
        super().__init__(env_id, seeds, render_mode)
        self._pidfd = -1
        theirs = (self._theirs.detach(), os.dup(self._memory), os.dup(self._go), os.dup(self._done))
        thread = threading.Thread(
            target=process.run_in_thread, args=(make_of, *theirs), name=f"environments of {env_id}", daemon=True
        )
        self._end = _EndThread(thread, self._socket, self._memory, self._go, (self._done,))
        self.close = weakref.finalize(self, self._end)
        try:
            thread.start()
        except BaseException:
            for descriptor in theirs:
                os.close(descriptor)
            self.close()
            raise
        self.ident = thread.ident
        self._say(self._job)

    def _how_it_ended(self) -> str:
        return ""


class _EndThread(End):
    def __init__(
        self, thread: threading.Thread, talk: socket.socket, memory: int, go: int, others: Sequence[int]
    ) -> None:
        super().__init__(talk, memory, go, others)
        self._thread = thread

    def end(self) -> None:
        self.ask_to_close()
        if self._thread.is_alive() and not self.hangs() and self._thread is not threading.current_thread():
            self._thread.join(env_host.CLOSE_SECONDS)
