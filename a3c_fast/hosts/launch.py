"""Which of how many hosts this process is: what torchrun and launchers like it say in the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from a3c_fast.errors import ConfigError


@dataclass(frozen=True)
class Launch:
    """The place of this process among those of a run."""

    rank: int
    """Its number, from 0 on; 0 keeps the run directory."""
    world_size: int
    """How many were launched."""
    local_world_size: int
    """Of them on this machine, which share its cores."""
    address: str
    """Of the store where they meet: a name or an IP address that every host can reach."""
    port: int
    store_is_there: bool
    """The launcher keeps the store; otherwise rank 0 does."""
    run_id: str

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] | None = None) -> Launch | None:
        """By RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT; None where they say nothing of several processes.

        Raises `ConfigError` where one of them is missing or is not what it must be.
        """
        said = os.environ if environment is None else environment
        if "WORLD_SIZE" not in said or "RANK" not in said:
            return None
        world_size = _number(said, "WORLD_SIZE", 1, 2**16)
        if world_size == 1:
            return None
        for name in ("MASTER_ADDR", "MASTER_PORT"):
            if not said.get(name):
                raise ConfigError(name, said.get(name), f"WORLD_SIZE is {world_size}, and the hosts meet at it")
        return cls(
            rank=_number(said, "RANK", 0, world_size - 1),
            world_size=world_size,
            local_world_size=_number(said, "LOCAL_WORLD_SIZE", 1, world_size) if "LOCAL_WORLD_SIZE" in said else 1,
            address=said["MASTER_ADDR"],
            port=_number(said, "MASTER_PORT", 1, 2**16 - 1),
            store_is_there=said.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
            run_id=said.get("TORCHELASTIC_RUN_ID", "none"),
        )

    def __str__(self) -> str:
        return f"host {self.rank} of {self.world_size}"


def _number(said: Mapping[str, str], name: str, least: int, most: int) -> int:
    text = said[name]
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise ConfigError(name, text, f"it must be a whole number from {least} to {most}")
    return int(text)
