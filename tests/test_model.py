"""The core's networks against PyTorch's autograd on the same definition in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core
from a3c_fast import ActorCritic, Config, envs
from a3c_fast.policy import to_flat, to_named

MODELS = [
    ("paper", (4, 84, 84), "uint8", ()),
    ("nature", (4, 84, 84), "uint8", ()),
    ("paper", (3, 40, 52), "uint8", ()),
    ("mlp", (6,), "float32", (32, 16)),
    ("mlp", (2, 9), "uint8", (8,)),
]


def pair(
    model: str, shape: tuple[int, ...], dtype: str, hidden: tuple[int, ...], actions: int = 5, lstm: int = 0
) -> Any:
    offset, scale = 0.37, 3.0
    config = core.ModelConfig(
        kind=model,
        observation_shape=shape,
        observation_type=dtype,
        num_actions=actions,
        hidden_sizes=hidden,
        lstm_size=lstm,
        observation_offset=offset,
        observation_scale=scale,
    )
    replica = core.Replica(config)
    replica.initialize(7)
    policy = ActorCritic(model, shape, actions, hidden, lstm, offset, scale)
    named = to_named(replica.parameters(), replica.parameter_specs)
    numbers = np.random.default_rng(1)
    named = {name: value + numbers.normal(scale=0.02, size=value.shape).astype("f") for name, value in named.items()}
    replica.set_parameters(to_flat(named, replica.parameter_specs, replica.parameters().size))
    policy.load_state_dict({name: torch.from_numpy(value) for name, value in named.items()})
    return replica, policy


def some_observations(shape: tuple[int, ...], dtype: str, count: int) -> Any:
    numbers = np.random.default_rng(2)
    if dtype == "uint8":
        return numbers.integers(0, 256, (count, *shape)).astype(np.uint8)
    return numbers.normal(size=(count, *shape)).astype(np.float32)


def assert_equal(replica: Any, policy: ActorCritic, observations: Any, actions: int = 5) -> None:
    logits, values = replica.forward(observations)
    expected_logits, expected_values = policy(torch.from_numpy(observations))
    np.testing.assert_allclose(logits, expected_logits.detach(), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(values, expected_values.detach(), rtol=1e-4, atol=2e-5)
    numbers = np.random.default_rng(3)
    d_logits = numbers.normal(size=(len(observations), actions)).astype(np.float32)
    d_values = numbers.normal(size=len(observations)).astype(np.float32)
    found = to_named(replica.gradients(observations, d_logits, d_values), replica.parameter_specs)
    torch.autograd.backward(
        (expected_logits, expected_values), (torch.from_numpy(d_logits), torch.from_numpy(d_values))
    )
    for name, parameter in policy.named_parameters():
        expected = parameter.grad.numpy()
        assert np.abs(found[name] - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-9, name


@pytest.mark.parametrize(("model", "shape", "dtype", "hidden"), MODELS)
def test_outputs_and_gradients(model: str, shape: tuple[int, ...], dtype: str, hidden: tuple[int, ...]) -> None:
    for lstm in (0, 12):
        replica, policy = pair(model, shape, dtype, hidden, lstm=lstm)
        assert_equal(replica, policy, some_observations(shape, dtype, 9))


def test_on_frames_of_a_game() -> None:
    client = envs.make_client(Config(env_id="Pong-v5"), envs.env_seeds(1, 0, 4))
    frames = [client.recv()["observations"]]
    for i in range(30):
        client.send(np.array([i % 6, 2, 3, 0], np.int32))
        frames.append(client.recv()["observations"])
    observations = np.concatenate(frames[::6])
    assert observations.std() > 10
    replica, policy = pair("paper", (4, 84, 84), "uint8", ())
    assert_equal(replica, policy, observations)


@pytest.mark.parametrize(("model", "shape", "dtype", "hidden"), MODELS)
def test_initialization_is_orthogonal(model: str, shape: tuple[int, ...], dtype: str, hidden: tuple[int, ...]) -> None:
    config = core.ModelConfig(
        kind=model,
        observation_shape=shape,
        observation_type=dtype,
        num_actions=5,
        hidden_sizes=hidden,
        lstm_size=20,
    )
    replica = core.Replica(config)
    state = torch.get_rng_state()
    replica.initialize(7)
    assert torch.equal(state, torch.get_rng_state())
    flat = replica.parameters()
    named = to_named(flat, replica.parameter_specs)
    for name, value in named.items():
        if "bias" in name:
            assert not value.any()
            continue
        matrix = value.reshape(len(value), -1).astype(np.float64)
        gain = {"policy_head.weight": 0.01, "value_head.weight": 1.0, "lstm.weight_ih": 1.0, "lstm.weight_hh": 1.0}.get(
            name, np.sqrt(2)
        )
        product = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-5 * gain**2 + 1e-9)
    np.testing.assert_array_equal(to_flat(named, replica.parameter_specs, flat.size), flat)
    replica.initialize(7)
    np.testing.assert_array_equal(flat, replica.parameters())
    replica.initialize(8)
    assert not np.array_equal(flat, replica.parameters())
