"""Plays an episode of a gymnasium environment with an exported policy, and prints its return.

    a3c-fast export runs/cartpole --output cartpole.onnx
    python examples/play_onnx.py cartpole.onnx --env CartPole-v1

Needs gymnasium, NumPy and ONNX Runtime, and neither a3c_fast nor torch.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
import onnxruntime


def parts_of(observation: Any, prefix: str = "observations") -> dict[str, Any]:
    """The arrays of an observation by the names of the program's inputs."""
    if not isinstance(observation, (Mapping, tuple)):
        return {prefix: observation}
    items = observation.items() if isinstance(observation, Mapping) else enumerate(observation)
    found = {}
    for key, value in items:
        found.update(parts_of(value, f"{prefix}.{key}"))
    return found


def action_of(outputs: Mapping[str, Any], space: Mapping[str, Any], random: np.random.Generator | None) -> Any:
    """What the environment is given: sampled, or without random numbers the most probable action."""
    if "mean" in outputs:
        mean, log_std = outputs["mean"][0], outputs["log_std"][0]
        u = mean if random is None else random.normal(mean, np.exp(log_std))
        low, high = (
            np.array([infinite if bound is None else bound for bound in space[name]], np.float32)
            for name, infinite in (("low", -np.inf), ("high", np.inf))
        )
        bounded = np.isfinite(low) & np.isfinite(high)
        middle, half = np.where(bounded, (low + high) / 2, 0), np.where(bounded, (high - low) / 2, 1)
        return np.clip(middle + half * u, low, high).astype(np.float32)
    first = space["starts"] or [space["first"]] * len(space["choices"])
    chosen = []
    for logits in np.split(outputs["logits"][0], np.cumsum(space["choices"])[:-1]):
        probabilities = np.exp(logits - logits.max())
        probabilities = probabilities / probabilities.sum()
        chosen.append(np.argmax(logits) if random is None else random.choice(len(logits), p=probabilities))
    actions = np.array(chosen) + first
    return int(actions[0]) if len(actions) == 1 else actions


def main() -> None:
    """One episode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("policy", help="a file of `a3c-fast export --format onnx`")
    parser.add_argument("--env", help="gymnasium's name of the environment; by default that of the run")
    parser.add_argument("--greedy", action="store_true", help="take the most probable action instead of sampling")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--max-steps", type=int, default=10_000)
    args = parser.parse_args()

    session = onnxruntime.InferenceSession(args.policy, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["a3c_fast"])
    inputs = {port["name"]: port for port in facts["inputs"]}
    outputs = [port["name"] for port in facts["outputs"]]
    random = None if args.greedy else np.random.default_rng(args.seed)

    env = gymnasium.make(args.env or facts["env_id"].removeprefix("gymnasium:"))
    observation, _ = env.reset(seed=args.seed)
    given = {"state": np.zeros((1, *inputs["state"]["shape"][1:]), np.float32)} if "state" in inputs else {}
    episode_return, steps, over = 0.0, 0, False
    while not over and steps < args.max_steps:
        for name, value in parts_of(observation).items():
            if name in inputs:
                given[name] = np.asarray(value, inputs[name]["dtype"])[None]
        found = dict(zip(outputs, session.run(outputs, given), strict=True))
        if "state" in given:
            given["state"] = found["next_state"]
        observation, reward, terminated, truncated, _ = env.step(action_of(found, facts["spaces"]["action"], random))
        episode_return, steps, over = episode_return + float(reward), steps + 1, terminated or truncated
    print(f"{env.spec.id if env.spec else args.env}: return {episode_return:g} in {steps} steps")


if __name__ == "__main__":
    main()
