"""What the exchange of a run has to say, while it goes on and after it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ExchangeStats:
    """What a host has exchanged so far."""

    hosts: int = 1
    """That train together now, this one among them."""
    exchanges: int = 0
    seconds: float = 0.0
    """In exchanges, all together: mostly waiting for the network."""
    cpu_seconds: float = 0.0
    """Of the processor, of this thread."""
    bytes: int = 0
    """That this host has sent, about: twice the parameters, but for its own share of them, an exchange."""
    rounds: int = 0
    """How often hosts have come or gone, the beginning among them."""


@dataclass
class Outcome:
    """What the thread of a run has to say, while it goes on and after it; the thread alone writes it."""

    version: int
    """Of the agreement: how often it was exchanged."""
    stats: ExchangeStats = ExchangeStats()
    """Replaced as a whole."""
    was_stopped: bool = False
    """By rank 0, which has found that all is done, or was stopped itself: then it also was `aborted`."""
    was_aborted: bool = False
    error: str | None = None
    """Why this host could not go on."""
