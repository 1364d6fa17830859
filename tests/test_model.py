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
    ("paper", (2, 40, 52), "float32", ()),
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


def frames_of_pong() -> Any:
    client = envs.make_client(Config(env_id="Pong-v5"), envs.env_seeds(1, 0, 4))
    frames = [client.recv()["observations"]]
    for i in range(30):
        client.send(np.array([i % 6, 2, 3, 0], np.int32))
        frames.append(client.recv()["observations"])
    observations = np.concatenate(frames[::6])
    assert observations.std() > 10
    return observations


def test_on_frames_of_a_game() -> None:
    replica, policy = pair("paper", (4, 84, 84), "uint8", ())
    assert_equal(replica, policy, frames_of_pong())


@pytest.mark.parametrize(("model", "lstm"), [("paper", 0), ("paper", 12), ("mlp", 12)])
def test_a_network_acts_step_by_step(model: str, lstm: int) -> None:
    shape, dtype = ((4, 84, 84), "uint8") if model == "paper" else ((6,), "float32")
    replica, policy = pair(model, shape, dtype, (16,), lstm=lstm)
    config = core.ModelConfig(
        kind=model,
        observation_shape=shape,
        observation_type=dtype,
        num_actions=5,
        hidden_sizes=(16,),
        lstm_size=lstm,
        observation_offset=policy.observation_offset,
        observation_scale=policy.observation_scale,
        precision="fp32",
    )
    network = core.Network(config, 3)
    network.set_parameters(replica.parameters())
    observations = some_observations(shape, dtype, 15).reshape(5, 3, *shape)
    state = policy.initial_state(3)
    for step, starts in enumerate([[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]):
        state = state.detach().clone()
        state[torch.tensor(starts, dtype=torch.bool)] = 0
        logits, values = network.act(observations[step], np.array(starts, np.uint8))
        expected_logits, expected_values, state = policy.step(torch.from_numpy(observations[step]), state)
        np.testing.assert_allclose(logits, expected_logits.detach(), rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(values, expected_values.detach(), rtol=1e-4, atol=2e-5)


def config_for_kernels(model: str, policy: ActorCritic, precision: str) -> Any:
    config = core.ModelConfig(
        kind=model,
        observation_shape=(4, 84, 84),
        observation_type="uint8",
        num_actions=5,
        hidden_sizes=(),
        observation_offset=policy.observation_offset,
        observation_scale=policy.observation_scale,
        precision=precision,
    )
    try:
        core.network_isa(config)
    except (ValueError, RuntimeError) as error:  # A3C_FAST_ISA names kernels of the other precision
        pytest.skip(str(error))
    return config


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["conv1.bias", "fc1.bias"])
def test_a_number_that_is_not_finite_comes_through_the_kernels(name: str, precision: str) -> None:
    replica, policy = pair("paper", (4, 84, 84), "uint8", ())
    config = config_for_kernels("paper", policy, precision)
    named = to_named(replica.parameters(), replica.parameter_specs)
    named[name][0] = float("nan")
    network = core.Network(config, 2)
    network.set_parameters(to_flat(named, replica.parameter_specs, replica.parameters().size))
    logits, values = network.act(some_observations((4, 84, 84), "uint8", 2), np.zeros(2, np.uint8))
    assert np.isnan(logits).all()
    assert np.isnan(values).all()


@pytest.mark.parametrize("model", ["paper", "nature"])
@pytest.mark.parametrize("frames", ["random", "of Pong"])
def test_bfloat16_is_no_further_from_float32_than_atens(model: str, frames: str) -> None:
    shape = (4, 84, 84)
    replica, policy = pair(model, shape, "uint8", ())
    config = config_for_kernels(model, policy, "bf16")
    observations = frames_of_pong() if frames == "of Pong" else some_observations(shape, "uint8", 24)
    network = core.Network(config, len(observations))
    numbers = np.random.default_rng(3)

    def through_torch(d_logits: Any, d_values: Any) -> dict[str, Any]:
        policy.zero_grad()
        logits, values = policy(torch.from_numpy(observations))
        wanted = (torch.from_numpy(d_logits).to(logits.dtype), torch.from_numpy(d_values).to(values.dtype))
        torch.autograd.backward((logits, values), wanted)
        named = {name: parameter.grad.clone() for name, parameter in policy.named_parameters()}
        return {"logits": logits.detach().float(), "values": values.detach().float(), **named}

    # Most of a gradient's error is the ReLUs that a rounding puts on the other side of their corner: a matter of luck,
    # 0.2 to 10 % of the norm, which only the mean over several draws tells apart.
    errors: dict[str, list[float]] = {"ours": [], "ATen's": []}
    for _ in range(4):
        named = to_named(replica.parameters(), replica.parameter_specs)
        named = {
            name: value + numbers.normal(scale=0.02, size=value.shape).astype("f") for name, value in named.items()
        }
        flat = to_flat(named, replica.parameter_specs, replica.parameters().size)
        policy.load_state_dict({name: torch.from_numpy(value) for name, value in named.items()})
        d_logits = numbers.normal(size=(len(observations), 5)).astype(np.float32)
        d_values = numbers.normal(size=len(observations)).astype(np.float32)
        expected = through_torch(d_logits, d_values)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            atens = through_torch(d_logits, d_values)
        network.set_parameters(flat)
        logits, values = network.act(observations, np.zeros(len(observations), np.uint8))
        gradient, square = network.gradients(observations, d_logits, d_values)
        ours = {"logits": logits, "values": values, **to_named(gradient, replica.parameter_specs)}
        assert square == pytest.approx(np.square(gradient, dtype=np.float64).sum(), rel=1e-4)
        for name, true in expected.items():
            for whose, found in (("ours", ours[name]), ("ATen's", atens[name].numpy())):
                error = np.linalg.norm(found - true.numpy()) / np.linalg.norm(true.numpy())
                assert error < 0.5, (whose, name)
                errors[whose].append(float(error))
    assert np.mean(errors["ours"]) <= 1.1 * np.mean(errors["ATen's"])


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
