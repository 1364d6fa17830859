"""Games of ALE as one makes them with gymnasium, for `python -m bench.vector --env-id bench.ale:pong`."""

from __future__ import annotations

from typing import Any

import gymnasium
from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation


def pong() -> gymnasium.Env[Any, Any]:
    """Four grey images of 84x84, and one step for four frames. Needs ale-py and OpenCV."""
    import ale_py

    gymnasium.register_envs(ale_py)
    game = gymnasium.make("ALE/Pong-v5", frameskip=1, repeat_action_probability=0.0)
    return FrameStackObservation(AtariPreprocessing(game), 4)
