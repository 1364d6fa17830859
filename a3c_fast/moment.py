"""A moment of an episode that somebody looks on at: what there is to see, and what the policy makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from a3c_fast.envs.action_names import action_names

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.envs.spec import ActionSpec


class Bar(NamedTuple):
    """Of one choice of the policy, or of one component of an action."""

    name: str
    size: float
    """A probability, or the mean of a continuous action, in units of half the range between its bounds."""
    mark: float | None
    """1 where the choice was taken, and None where not; what was taken of a continuous action."""


@dataclass(frozen=True)
class Moment:
    """One step of the first environment, before its action is sent."""

    picture: npt.NDArray[np.uint8]
    """As people see the environment: [height, width, 3], or [height, width] in shades of grey."""
    seen: npt.NDArray[np.uint8] | None
    """The newest image that the agent is given, likewise; None where it is given none, or the same as `picture`."""
    step: int
    """Of the episode, from 0 on."""
    episode_return: float
    """By now."""
    value: float
    """V(s)."""
    bars: tuple[Bar, ...]
    is_continuous: bool
    """Whether bars are of continuous actions."""


def bars_of(
    config: Config,
    action: ActionSpec,
    outputs: npt.NDArray[np.float32],
    mask: npt.NDArray[np.uint8] | None,
    taken: npt.NDArray[np.float32],
) -> tuple[Bar, ...]:
    """What a policy's outputs [num_outputs] say, and what was `taken`, [action.size], counted from 0.

    Of several choices each has a bar, of the option that is most probable.
    """
    if action.is_continuous:
        means = outputs[: action.size]
        return tuple(Bar(str(i), float(means[i]), float(taken[i])) for i in range(action.size))
    if mask is not None:
        outputs = np.where(mask, outputs, np.float32(-1e9))
    ends = np.cumsum(action.choices)[:-1]
    parts = [_softmax(part) for part in np.split(outputs, ends)]
    if len(parts) == 1:
        names = action_names(config.env_id, config.family, len(parts[0]))
        return tuple(
            Bar(name, float(share), 1.0 if i == int(taken[0]) else None)
            for i, (name, share) in enumerate(zip(names, parts[0], strict=True))
        )
    return tuple(
        Bar(f"{i}: {int(part.argmax())}", float(part.max()), 1.0 if int(part.argmax()) == int(taken[i]) else None)
        for i, part in enumerate(parts)
    )


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max())
    shares: npt.NDArray[np.float64] = powers / powers.sum()
    return shares
