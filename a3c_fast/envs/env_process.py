"""A child process with the environments of one worker."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from pathlib import Path

from a3c_fast.envs import env_host
from a3c_fast.envs.env_host import End, EnvHost, readable

_CHILD = Path(__file__).with_name("child") / "__main__.py"


class EnvProcess(EnvHost):
    """A child process with the environments of one worker.

    `blob` is the pickled callable that makes one; without it the name says what does. With a `render_mode` it is asked
    for environments that draw themselves.
    """

    NOUN, NOUNS = "process", "processes"
    DESCRIPTORS = 6

    def __init__(self, env_id: str, blob: bytes, seeds: Sequence[int], render_mode: str = "") -> None:
        super().__init__(env_id, seeds, render_mode)
        lifeline, alive = os.pipe()
        passed = (self._theirs.fileno(), self._memory, self._go, self._done, lifeline)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-P", str(_CHILD), *map(str, passed)],
                stdin=subprocess.DEVNULL,
                pass_fds=passed,
                env={"OMP_NUM_THREADS": "1", **os.environ},
            )
        except BaseException:
            self._socket.close()
            for descriptor in (self._memory, self._go, self._done, alive):
                os.close(descriptor)
            raise
        finally:
            self._theirs.close()
            os.close(lifeline)
        self._pidfd = os.pidfd_open(self._child.pid)
        others = (self._pidfd, self._done, alive)
        self._end = _EndProcess(self._child, self._pidfd, self._socket, self._memory, self._go, others)
        self.close = weakref.finalize(self, self._end)
        path = [path or str(Path.cwd()) for path in sys.path]
        self._say({**self._job, "path": path, "name": env_id}, blob)

    def _how_it_ended(self) -> str:
        return f" with status {self._child.wait()}"


class _EndProcess(End):
    def __init__(
        self,
        child: subprocess.Popen[bytes],
        pidfd: int,
        talk: socket.socket,
        memory: int,
        go: int,
        others: Sequence[int],
    ) -> None:
        super().__init__(talk, memory, go, others)
        self._child, self._pidfd = child, pidfd

    def end(self) -> None:
        try:
            if self.has_begun and not self.hangs():
                self.ask_to_close()
                readable(self._pidfd, env_host.CLOSE_SECONDS)
        finally:
            self._child.kill()
            self._child.wait()
