"""Scripted environments of our own, cpp/env/scripted/: for tests, and to measure the loop without an emulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part

if TYPE_CHECKING:
    from a3c_fast import _core


def _numbers(size: int) -> ObservationSpec:
    return ObservationSpec((Part("", "float32", (size,), "numbers"),))


def _image(*shape: int) -> ObservationSpec:
    return ObservationSpec((Part("", "uint8", shape, "array"),))


_RECALL = "a3c_fast/Recall-v0"

SPECS: Mapping[str, EnvSpec] = {
    "a3c_fast/Fake-v0": EnvSpec(_numbers(4), ActionSpec((3,))),
    "a3c_fast/FakeImage-v0": EnvSpec(_image(4, 84, 84), ActionSpec((6,))),
    "a3c_fast/FakeContinuous-v0": EnvSpec(_numbers(4), ActionSpec(low=(-2.0, -1.0), high=(2.0, 1.0))),
    "a3c_fast/FakeMulti-v0": EnvSpec(_numbers(4), ActionSpec((3, 2))),
    _RECALL: EnvSpec(_numbers(5), ActionSpec((4,))),
}


def make_client(env_id: str, seeds: Sequence[int], **faults: Any) -> _core.EnvClient:
    """One worker's environments, freshly reset; the first seed is that of all.

    `faults` of all but Recall: `fail_at` and `hang_at` a step, and `hang_seconds`; `max_episode_steps`.
    """
    from a3c_fast import _core

    if env_id == _RECALL:
        return _core.EnvClient.recall(num_envs=len(seeds), seed=seeds[0], **faults)
    return _core.EnvClient.fake(spec=SPECS[env_id].core(len(seeds)), seed=seeds[0], **faults)
