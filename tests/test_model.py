"""The core's networks against PyTorch's autograd on the same definition in Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import as_rows, observation_spec

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core
from a3c_fast import ActorCritic, Config, envs
from a3c_fast.envs import ActionSpec, ObservationSpec, Part
from a3c_fast.policy import to_flat, to_named

MODELS = [
    ("paper", (4, 84, 84), "uint8", ()),
    ("nature", (4, 84, 84), "uint8", ()),
    ("paper", (3, 40, 52), "uint8", ()),
    ("paper", (2, 40, 52), "float32", ()),
    ("small", (3, 7, 9), "uint8", ()),
    ("mlp", (6,), "float32", (32, 16)),
    ("mlp", (2, 9), "uint8", (8,)),
]
IMAGES = observation_spec((4, 84, 84), "uint8")
FIVE = ActionSpec((5,))


def model_config(policy: ActorCritic, model: str, hidden: tuple[int, ...], **more: Any) -> Any:
    return core.ModelConfig(
        kind=model,
        observation=policy.observation.core(),
        num_outputs=policy.action.num_outputs,
        num_log_std=policy.action.size if policy.action.is_continuous else 0,
        hidden_sizes=hidden,
        lstm_size=policy.lstm_size,
        observation_offset=policy.observation_offset,
        observation_scale=policy.observation_scale,
        **more,
    )


def pair(
    model: str,
    observation: ObservationSpec,
    hidden: tuple[int, ...],
    *,
    action: ActionSpec = FIVE,
    lstm: int = 0,
    activation: str = "tanh",
    separate_value: bool = False,
) -> Any:
    """LibTorch's replica in the core, and the module in Python with the same parameters, which are not those of the
    beginning."""
    policy = ActorCritic(
        model,
        observation,
        action,
        hidden,
        activation=activation,
        separate_value=separate_value,
        lstm_size=lstm,
        observation_offset=0.37,
        observation_scale=3.0,
    )
    replica = core.Replica(
        model_config(policy, model, hidden, activation=activation, separate_value=separate_value, initial_log_std=-0.5)
    )
    replica.initialize(7)
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


def assert_equal(replica: Any, policy: ActorCritic, rows: Any, network: Any = None) -> None:
    """Outputs and gradients of LibTorch's replica, or of a `network` of as many environments, are the module's."""
    if network is None:
        outputs, values = replica.forward(rows)
    else:
        network.set_parameters(replica.parameters())
        outputs, values = network.act(rows, np.ones(len(rows), np.uint8))
    expected_outputs, expected_values, _ = policy.step_rows(rows, policy.initial_state(len(rows)))
    np.testing.assert_allclose(outputs, expected_outputs.detach(), rtol=1e-4, atol=2e-5)
    np.testing.assert_allclose(values, expected_values.detach(), rtol=1e-4, atol=2e-5)
    numbers = np.random.default_rng(3)
    d_outputs = numbers.normal(size=outputs.shape).astype(np.float32)
    d_values = numbers.normal(size=len(rows)).astype(np.float32)
    if network is None:
        gradient = replica.gradients(rows, d_outputs, d_values)
    else:
        gradient, square = network.gradients(rows, d_outputs, d_values)
        assert square == pytest.approx(np.square(gradient, dtype=np.float64).sum(), rel=1e-4)
    found = to_named(gradient, replica.parameter_specs)
    policy.zero_grad()
    torch.autograd.backward(
        (expected_outputs, expected_values), (torch.from_numpy(d_outputs), torch.from_numpy(d_values))
    )
    for name, parameter in policy.named_parameters():
        expected = parameter.grad.numpy()
        assert np.abs(found[name] - expected).max() <= 1e-4 * np.abs(expected).max() + 1e-9, name


@pytest.mark.parametrize(("model", "shape", "dtype", "hidden"), MODELS)
def test_outputs_and_gradients(model: str, shape: tuple[int, ...], dtype: str, hidden: tuple[int, ...]) -> None:
    for lstm in (0, 12):
        replica, policy = pair(model, observation_spec(shape, dtype), hidden, lstm=lstm)
        assert_equal(replica, policy, as_rows(some_observations(shape, dtype, 9)))


# An image of bytes whose numbers begin at a multiple of four bytes beyond it; numbers alone; several parts of numbers.
IMAGE_AND_NUMBERS = ObservationSpec(
    (Part("image", "uint8", (3, 7, 5), "array"), Part("others", "float32", (2,), "numbers"))
)
NUMBERS = observation_spec((11,))
KINDS_OF_ACTIONS = [FIVE, ActionSpec((3, 2, 4)), ActionSpec(low=(-1.0, -2.0), high=(1.0, 2.0))]


def rows_of(spec: ObservationSpec, count: int) -> Any:
    """Observations at random."""
    rows = np.zeros((count, spec.row_bytes), np.uint8)
    numbers = np.random.default_rng(4)
    if spec.array_shape:
        spec.array_of(rows)[:] = numbers.integers(0, 256, (count, *spec.array_shape))
    if spec.num_features:
        spec.numbers_of(rows)[:] = numbers.normal(size=(count, spec.num_features))
    return rows


@pytest.mark.parametrize("action", KINDS_OF_ACTIONS, ids=str)
@pytest.mark.parametrize("lstm", [0, 9])
@pytest.mark.parametrize("model", ["small", "mlp"])
def test_an_image_with_numbers_beside_it(model: str, lstm: int, action: ActionSpec) -> None:
    replica, policy = pair(model, IMAGE_AND_NUMBERS, (12, 8), action=action, lstm=lstm)
    rows = rows_of(IMAGE_AND_NUMBERS, 9)
    assert_equal(replica, policy, rows)
    assert_equal(replica, policy, rows, core.Network(model_config(policy, model, (12, 8)), len(rows)))


@pytest.mark.parametrize("action", KINDS_OF_ACTIONS, ids=str)
@pytest.mark.parametrize("separate_value", [False, True])
@pytest.mark.parametrize("activation", ["tanh", "relu", "elu"])
def test_the_layers_of_an_mlp(activation: str, separate_value: bool, action: ActionSpec) -> None:
    options: dict[str, Any] = {"activation": activation, "separate_value": separate_value}
    replica, policy = pair("mlp", NUMBERS, (24, 16), action=action, **options)
    rows = rows_of(NUMBERS, 33)
    assert_equal(replica, policy, rows)
    assert_equal(replica, policy, rows, core.Network(model_config(policy, "mlp", (24, 16), **options), len(rows)))
    if separate_value:  # nothing is shared
        alone = to_named(
            replica.gradients(rows, np.zeros((33, action.num_outputs), "f"), np.ones(33, "f")), replica.parameter_specs
        )
        assert {name for name, value in alone.items() if value.any()} == {
            name for name in alone if name.startswith("value")
        }


def frames_of_pong() -> Any:
    client = envs.make_client(Config(env_id="Pong-v5"), envs.env_seeds(1, 0, 4))
    frames = [client.recv()["observations"]]
    for i in range(30):
        client.send([i % 6, 2, 3, 0])
        frames.append(client.recv()["observations"])
    rows = np.concatenate(frames[::6])
    assert rows.std() > 10
    return rows


def test_on_frames_of_a_game() -> None:
    replica, policy = pair("paper", IMAGES, ())
    assert_equal(replica, policy, frames_of_pong())


@pytest.mark.parametrize(("model", "lstm"), [("paper", 0), ("paper", 12), ("mlp", 12)])
def test_a_network_acts_step_by_step(model: str, lstm: int) -> None:
    shape, dtype = ((4, 84, 84), "uint8") if model == "paper" else ((6,), "float32")
    replica, policy = pair(model, observation_spec(shape, dtype), (16,), lstm=lstm)
    network = core.Network(model_config(policy, model, (16,), precision="fp32"), 3)
    network.set_parameters(replica.parameters())
    observations = some_observations(shape, dtype, 15).reshape(5, 3, *shape)
    state = policy.initial_state(3)
    for step, starts in enumerate([[0, 0, 0], [0, 1, 0], [0, 0, 0], [1, 0, 1], [0, 0, 0]]):
        state = state.detach().clone()
        state[torch.tensor(starts, dtype=torch.bool)] = 0
        outputs, values = network.act(as_rows(observations[step]), np.array(starts, np.uint8))
        expected_outputs, expected_values, state = policy.step(torch.from_numpy(observations[step]), state)
        np.testing.assert_allclose(outputs, expected_outputs.detach(), rtol=1e-4, atol=2e-5)
        np.testing.assert_allclose(values, expected_values.detach(), rtol=1e-4, atol=2e-5)


def config_for_kernels(model: str, policy: ActorCritic, precision: str) -> Any:
    config = model_config(policy, model, (), precision=precision)
    try:
        core.network_isa(config)
    except (ValueError, RuntimeError) as error:  # A3C_FAST_ISA names kernels of the other precision
        pytest.skip(str(error))
    return config


@pytest.mark.parametrize("env_id", ["Breakout-v5", "Qbert-v5"])
@pytest.mark.parametrize("model", ["paper", "nature"])
def test_gradients_of_the_kernels_where_relus_stand_at_their_corner(model: str, env_id: str) -> None:
    # Initial biases are 0, and so is the background of these games: units that see nothing else are 0 in LibTorch,
    # whose ReLU then has no gradient. In minimal filtering some are 1e-7.
    config = envs.measure_observations(Config(env_id=env_id))
    assert config.observation_offset == 0
    spec = envs.spec_of(config)
    (num_actions,) = spec.action.choices
    client = envs.make_client(config, envs.env_seeds(1, 0, 4))
    observations = [client.recv()["observations"]]
    numbers = np.random.default_rng(3)
    for _ in range(15):
        client.send(numbers.integers(0, num_actions, 4))
        observations.append(client.recv()["observations"])
    rollout = np.concatenate(observations[::3])
    scale = float(config.observation_scale)
    policy = ActorCritic(model, spec.observation, spec.action, (), observation_scale=scale)
    kernels = config_for_kernels(model, policy, "fp32")
    replica = core.Replica(kernels)
    replica.initialize(1)
    d_logits = numbers.normal(size=(len(rollout), num_actions)).astype(np.float32)
    d_values = numbers.normal(size=len(rollout)).astype(np.float32)

    def both(parameters: Any) -> tuple[dict[str, Any], dict[str, Any], float]:
        """Our gradients, LibTorch's, and how much the norm of ours is larger."""
        network = core.Network(kernels, len(rollout))
        network.set_parameters(parameters)
        replica.set_parameters(parameters)
        network.act(rollout, np.zeros(len(rollout), np.uint8))
        found, square = network.gradients(rollout, d_logits, d_values)
        expected = replica.gradients(rollout, d_logits, d_values)
        specs = replica.parameter_specs
        return to_named(found, specs), to_named(expected, specs), float(np.sqrt(square) / np.linalg.norm(expected))

    initial = replica.parameters()
    found, expected, norm = both(initial)
    assert norm == pytest.approx(1, abs=3e-4)
    for name, true in expected.items():
        if not (name.startswith("conv") and name.endswith("bias")):
            assert np.linalg.norm(found[name] - true) < 1e-4 * np.linalg.norm(true), name
    # Away from the corner all are equal.
    named = to_named(initial, replica.parameter_specs)
    for name, value in named.items():
        if name.endswith("bias"):
            value += numbers.choice([-0.01, 0.01], size=value.shape).astype(np.float32)
    found, expected, norm = both(to_flat(named, replica.parameter_specs, initial.size))
    assert norm == pytest.approx(1, abs=1e-5)
    for name, true in expected.items():
        assert np.linalg.norm(found[name] - true) < 1e-3 * np.linalg.norm(true), name


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["conv1.bias", "fc1.bias"])
def test_a_number_that_is_not_finite_comes_through_the_kernels(name: str, precision: str) -> None:
    replica, policy = pair("paper", IMAGES, ())
    config = config_for_kernels("paper", policy, precision)
    named = to_named(replica.parameters(), replica.parameter_specs)
    named[name][0] = float("nan")
    network = core.Network(config, 2)
    network.set_parameters(to_flat(named, replica.parameter_specs, replica.parameters().size))
    logits, values = network.act(rows_of(IMAGES, 2), np.zeros(2, np.uint8))
    assert np.isnan(logits).all()
    assert np.isnan(values).all()


@pytest.mark.parametrize("model", ["paper", "nature"])
@pytest.mark.parametrize("frames", ["random", "of Pong"])
def test_bfloat16_is_no_further_from_float32_than_atens(model: str, frames: str) -> None:
    replica, policy = pair(model, IMAGES, ())
    config = config_for_kernels(model, policy, "bf16")
    observations = frames_of_pong() if frames == "of Pong" else rows_of(IMAGES, 24)
    network = core.Network(config, len(observations))
    numbers = np.random.default_rng(3)

    def through_torch(d_logits: Any, d_values: Any) -> dict[str, Any]:
        policy.zero_grad()
        logits, values = policy(IMAGES.array_of(observations))
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
    policy = ActorCritic(model, observation_spec(shape, dtype), FIVE, hidden, lstm_size=20)
    replica = core.Replica(model_config(policy, model, hidden))
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


def test_what_a_gaussian_and_the_values_own_layers_begin_with() -> None:
    action = ActionSpec(low=(-1.0,) * 3, high=(1.0,) * 3)
    policy = ActorCritic("mlp", NUMBERS, action, (16, 8), separate_value=True)
    replica = core.Replica(model_config(policy, "mlp", (16, 8), separate_value=True, initial_log_std=-0.7))
    replica.initialize(7)
    named = to_named(replica.parameters(), replica.parameter_specs)
    assert set(named) == set(dict(policy.named_parameters()))
    np.testing.assert_array_equal(named["log_std"], np.full(3, -0.7, np.float32))
    assert named["policy_head.weight"].shape == (3, 8)
    for i, gain in ((1, 2), (2, 2)):
        of_value, of_policy = named[f"value_fc{i}.weight"], named[f"fc{i}.weight"]
        assert not np.array_equal(of_value, of_policy)
        product = of_value.T @ of_value if of_value.shape[0] > of_value.shape[1] else of_value @ of_value.T
        np.testing.assert_allclose(product, gain * np.eye(len(product)), atol=1e-5)
