"""Actions of a policy's outputs, as environments take them."""

from __future__ import annotations

import math
from typing import Any

import torch

from a3c_fast.envs.spec import ActionSpec, flattened

_FORBIDDEN = -1e9  # the logit of what is not allowed: cpp/policy/distribution.cc


def actions_of(spec: ActionSpec, outputs: torch.Tensor, masks: torch.Tensor | None, *, greedy: bool) -> torch.Tensor:
    """Outputs [N, num_outputs] -> actions: int64 [N] of one choice, int64 [N, size] of several, float32 [N, size].

    Sampled with torch's random numbers, or with `greedy` the most probable ones. A continuous action u is in units of
    half the range between its bounds: middle + u * half, cut at the bounds; u itself where there are none.
    """
    if spec.is_continuous:
        mean, log_std = outputs.chunk(2, 1)
        u = mean if greedy else mean + log_std.exp() * torch.randn_like(mean)
        return torch.stack([_in_bounds(u[:, i], spec.low[i], spec.high[i]) for i in range(spec.size)], 1)
    if masks is not None:
        outputs = torch.where(masks, outputs, _FORBIDDEN)
    chosen = []
    for logits in torch.split(outputs, list(spec.choices), 1):
        if greedy:
            chosen.append(logits.argmax(1))
        else:
            chosen.append(torch.multinomial(logits.softmax(1), 1)[:, 0])
    actions = torch.stack(chosen, 1) + torch.tensor(spec.first_choices, device=outputs.device)
    return actions[:, 0] if spec.size == 1 else actions


def _in_bounds(u: torch.Tensor, low: float, high: float) -> torch.Tensor:
    if math.isfinite(low) and math.isfinite(high):
        u = (low + high) / 2 + u * ((high - low) / 2)
    return u.clamp(low, high)


def has_tensors(observations: Any) -> bool:
    """Whether any leaf of nested observations is a tensor."""
    return any(isinstance(leaf, torch.Tensor) for _, leaf in flattened(observations))
