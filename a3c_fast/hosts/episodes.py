"""The episodes of other hosts, so that the means of each are over those of all."""

from __future__ import annotations

import torch

from a3c_fast import _core

_MOST = 100  # that a host tells of at a time: as many as the means are over


class Episodes:
    """What a host tells the others of its own, and hears of theirs. One thread uses it."""

    def __init__(self, engine: _core.Engine) -> None:
        self._engine = engine
        self._told = engine.episodes_added()  # how many of its own

    def news(self) -> torch.Tensor:
        """[1 + 2 * 100] float64: how many of the newest the others have not heard of, and of each return and length.

        An exchange that fails may be the only one to tell of some, and not all may hear it: the means bear that.
        """
        added = self._engine.episodes_added()
        _, episodes = self._engine.episodes_since(max(self._told, added - _MOST), _MOST)
        self._told = added
        numbers = [number for episode_return, length, *_ in episodes for number in (episode_return, length)]
        padding = [0.0] * (2 * _MOST - len(numbers))
        return torch.tensor([len(episodes), *numbers, *padding], dtype=torch.float64)

    def hear(self, news: torch.Tensor, place: int) -> None:
        """[hosts, 1 + 2 * 100]: those of all, of which this host's is at its place."""
        heard: list[tuple[float, int]] = []
        for i, (count, *numbers) in enumerate(news.tolist()):
            if i != place:
                end = 2 * int(count)
                heard += zip(numbers[0:end:2], map(int, numbers[1:end:2]), strict=True)
        if heard:
            self._engine.hear_episodes(heard)
