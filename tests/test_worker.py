"""The whole worker against the A3C of tests/reference.py, and runs against themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE, FAKE_MULTI

from a3c_fast import Config, ConfigError, Trainer
from a3c_fast.envs import scripted
from a3c_fast.policy import make_policy

VARIANTS: list[dict[str, Any]] = [
    {"optimizer": "adam"},
    {"optimizer": "adam", "learning_rate_warmup": 600, "learning_rate_decay_power": 2.0},
    {"optimizer": "adam", "entropy_coef": 0.3, "entropy_decay_steps": 700, "entropy_final_fraction": 0.1},
    {"optimizer": "rmsprop", "learning_rate": 7e-4, "max_grad_norm": 40.0},
    {"optimizer": "adam", "gae_lambda": 0.95, "envs_per_update": 2},
    {"optimizer": "rmsprop", "envs_per_update": 1, "max_grad_norm": 0.0, "learning_rate_decay_power": 0.0},
    {"optimizer": "adam", "gae_lambda": 0.9, "envs_per_update": 4, "t_max": 13, "gamma": 0.9},
    {"optimizer": "adam", "gae_lambda": 0.9, "envs_per_update": 2, "update_epochs": 3, "clip_coef": 0.05},
    {"optimizer": "rmsprop", "envs_per_update": 2, "update_epochs": 2, "normalize_advantages": True},
    {"optimizer": "rmsprop", "t_max": 1, "normalize_advantages": True, "learning_rate_warmup": 900},
    {"optimizer": "adam", "lstm_size": 7},
    {"optimizer": "rmsprop", "envs_per_update": 2, "lstm_size": 16, "t_max": 13, "gae_lambda": 0.9},
    {"optimizer": "adam", "envs_per_update": 1, "update_epochs": 3, "lstm_size": 5},
    {"optimizer": "adam", "normalize_observations": True},
    {"optimizer": "adam", "normalize_rewards": True, "gae_lambda": 0.9, "envs_per_update": 2, "update_epochs": 2},
    {"optimizer": "rmsprop", "normalize_observations": True, "normalize_rewards": True, "lstm_size": 6},
    {"optimizer": "adam", "separate_value": True, "activation": "relu", "envs_per_update": 2, "update_epochs": 2},
]
# For actions that are several choices, and for continuous ones.
VARIANTS_OF_ACTIONS: list[dict[str, Any]] = [
    {"optimizer": "adam"},
    {"optimizer": "rmsprop", "learning_rate": 7e-4, "max_grad_norm": 40.0, "entropy_coef": 0.1},
    {"optimizer": "adam", "gae_lambda": 0.9, "envs_per_update": 2, "update_epochs": 3, "clip_coef": 0.05},
    {"optimizer": "rmsprop", "envs_per_update": 2, "update_epochs": 2, "normalize_advantages": True},
    {"optimizer": "adam", "separate_value": True, "activation": "elu", "gae_lambda": 0.95, "update_epochs": 2},
    {"optimizer": "adam", "envs_per_update": 2, "lstm_size": 7, "update_epochs": 2},
    {"optimizer": "adam", "normalize_observations": True, "normalize_rewards": True, "gae_lambda": 0.95},
    {"optimizer": "adam", "normalize_observations": True, "normalize_rewards": True, "update_epochs": 3, "t_max": 13},
]


def both(env_id: str, until: int, *, limit: int = 40, **settings: Any) -> tuple[Any, Any]:
    """A Trainer and a reference.A3C after the same run; `limit` steps end an episode."""
    config = Config(
        env_id=env_id,
        num_workers=1,
        **{
            **({"hidden_sizes": (16, 8)} if settings.get("model", "mlp") == "mlp" else {}),
            "envs_per_worker": 4,
            "envs_per_update": 4,
            "t_max": 5,
            "gamma": 0.99,
            "gae_lambda": 1.0,
            "entropy_coef": 0.01,
            "value_coef": 0.5,
            "max_grad_norm": 0.5,
            "learning_rate": 1e-3,
            "total_steps": 2 * until,
            **settings,
        },
    )
    spec = scripted.SPECS[env_id]
    trainer = Trainer(config, clients=[scripted.make_client(env_id, [5, 0, 0, 0], max_episode_steps=limit)])
    # The reference normalizes by itself what its network sees.
    network = make_policy(config.replace(normalize_observations=False), spec)
    network.load_state_dict({name: trainer.state_dict()[name] for name in network.state_dict()})
    names = {field.name for field in dataclasses.fields(reference.Settings)} - {"optimizer"}
    python = reference.A3C(
        network,
        [reference.FakeEnv(5, i, spec, limit) for i in range(4)],
        reference.Settings(
            optimizer=reference.Optimizer(config.optimizer),
            **{name: getattr(config, name) for name in names},
        ),
    )
    trainer.run(until)
    python.run(until)
    return trainer, python


def assert_same_run(trainer: Any, python: Any, tolerance: float) -> None:
    stats, state = trainer.stats(), trainer.state_dict()
    assert stats["step"] == python.steps
    assert stats["updates"] == python.updates
    assert stats["episodes"] == len(python.returns) > 0
    # Rewards of continuous actions follow from the parameters, those of choices are the same.
    precision = 1e-4 if python.action.is_continuous else 1e-6
    assert stats["mean_return_100"] == pytest.approx(np.mean(python.returns[-100:]), rel=precision)
    for name, value in python.parameters().items():
        np.testing.assert_allclose(state.pop(name).numpy(), value, atol=tolerance, err_msg=name)
    if python.settings.normalize_observations:
        for name, value in (("mean", python.mean), ("variance", python.variance)):
            np.testing.assert_allclose(state.pop(f"observation_{name}").numpy(), value, rtol=1e-6, atol=1e-7)
    assert state == {}
    moments = trainer._engine.normalization()
    for kind, seen in (("observation", python.observation_moments.seen), ("return", python.return_moments.seen)):
        assert moments[f"{kind}_count"] == len(seen)
        if seen:
            squares = np.square(np.array(seen) - np.mean(seen, 0)).sum(0)
            rounding = 1e-9 if kind == "observation" else precision
            np.testing.assert_allclose(moments[f"{kind}_mean"], np.mean(seen, 0), rtol=rounding, atol=rounding)
            np.testing.assert_allclose(moments[f"{kind}_squares"], squares, rtol=10 * rounding)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_worker_is_the_a3c_of_the_paper(settings: dict[str, Any]) -> None:
    trainer, python = both(FAKE, 2000 if settings.get("update_epochs", 1) == 1 else 1000, **settings)
    before = trainer.stats()
    # The kernels' tanh is right to 3e-7, LibTorch's to 1e-7: Adam makes that much of small gradients in 600 updates.
    often = settings.get("update_epochs", 1) > 2 and "lstm_size" in settings
    assert_same_run(trainer, python, 3e-5 if often else 1e-5)
    assert before["policy_loss"] is not None
    trainer.close()


@pytest.mark.parametrize("settings", VARIANTS_OF_ACTIONS, ids=str)
@pytest.mark.parametrize("env_id", [FAKE_CONTINUOUS, FAKE_MULTI])
def test_the_worker_with_other_actions(env_id: str, settings: dict[str, Any]) -> None:
    trainer, python = both(env_id, 1000, **settings)
    assert_same_run(trainer, python, 1e-5)
    trainer.close()


@pytest.mark.parametrize("gae_lambda", [1.0, 0.9])
def test_a_limit_of_time_is_no_end_to_what_continuous_control_can_expect(gae_lambda: float) -> None:
    settings: dict[str, Any] = {"limit": 6, "gae_lambda": gae_lambda, "optimizer": "rmsprop", "learning_rate": 7e-4}
    trainer, python = both(FAKE_CONTINUOUS, 1000, **settings)
    assert_same_run(trainer, python, 1e-5)
    with pytest.MonkeyPatch.context() as patch:  # as if such an end were one
        step = reference.FakeEnv.step

        def final(env: Any, action: Any) -> dict[str, Any]:
            result = step(env, action)
            return {**result, "bootstraps": int(not result["done"])}

        patch.setattr(reference.FakeEnv, "step", final)
        _, other = both(FAKE_CONTINUOUS, 1000, **settings)
    weight = "value_head.weight"
    assert np.abs(other.parameters()[weight] - python.parameters()[weight]).max() > 1e-3
    trainer.close()


@pytest.mark.parametrize(
    ("update_epochs", "lstm_size", "more"),
    [
        *((1, 0, {}), (2, 0, {}), (1, 24, {}), (2, 24, {})),
        *(
            (epochs, size, {"optimizer": "rmsprop", "observation_offset": 0.5, "observation_scale": 2.0})
            for epochs in (1, 2)
            for size in (0, 24)
        ),
    ],
)
def test_the_worker_with_convolutions(update_epochs: int, lstm_size: int, more: dict[str, Any]) -> None:
    until = 60 if update_epochs == 1 else 20
    trainer, python = both(
        FAKE_IMAGE,
        until,
        model="paper",
        envs_per_update=2,
        update_epochs=update_epochs,
        lstm_size=lstm_size,
        precision="fp32",
        **more,
    )
    stats = trainer.stats()
    assert (stats["step"], stats["updates"]) == (python.steps, python.updates)
    for name, value in python.parameters().items():
        found = trainer.state_dict()[name].numpy()
        # Adam's first steps are the sign of the gradient: where one is nearly 0 its rounding decides.
        assert np.abs(found - value).max() < 5e-3, name
        assert np.sqrt(np.mean((found - value) ** 2)) < 1e-5, name
    trainer.close()


def first_update(**settings: Any) -> tuple[dict[str, Any], dict[str, Any], dict[str, torch.Tensor]]:
    """The statistics before and after the first update of a run, and how it moved the parameters."""
    with Trainer(Config(env_id="CartPole-v1", num_workers=1, **settings)) as trainer:
        before, statistics = trainer.state_dict(), trainer.stats()
        trainer.run(until=1)
        moved = {name: value - before[name] for name, value in trainer.state_dict().items()}
        return statistics, trainer.stats(), moved


def test_one_step_of_one_environment_moves_the_policy_though_advantages_are_normalized() -> None:
    one = {"t_max": 1, "envs_per_worker": 1, "envs_per_update": 1, "update_epochs": 1}
    _, after, moved = first_update(**one, normalize_advantages=True, entropy_coef=0.0)
    assert (after["step"], after["updates"]) == (1, 1)
    assert moved["policy_head.weight"].abs().max() > 0
    assert moved["policy_head.bias"].abs().max() > 0
    plain = first_update(**one, normalize_advantages=False, entropy_coef=0.0)[2]
    assert all(torch.equal(moved[name], plain[name]) for name in plain)


@pytest.mark.parametrize("update_epochs", [1, 3])
def test_the_first_update_of_a_warm_up_takes_the_first_step_of_the_ramp(update_epochs: int) -> None:
    settings: dict[str, Any] = {
        "t_max": 5,
        "envs_per_worker": 2,
        "envs_per_update": 2,
        "update_epochs": update_epochs,
        "learning_rate": 1e-3,
        "learning_rate_decay_power": 0.0,
        "learning_rate_warmup": 1000,
    }
    before, after, moved = first_update(**settings, optimizer="adam")
    # 10 samples an update, `update_epochs` times 1000 samples in the warm-up. It is the rate of the next update.
    assert before["learning_rate"] == pytest.approx(1e-3 * 10 / (update_epochs * 1000))
    assert after["updates"] == update_epochs
    assert after["learning_rate"] == pytest.approx(1e-3 * (update_epochs + 1) * 10 / (update_epochs * 1000))
    largest = max(float(value.abs().max()) for value in moved.values())
    rates = [1e-3 * (i + 1) * 10 / (update_epochs * 1000) for i in range(update_epochs)]
    assert 0.9 * rates[0] < largest < 1.1 * sum(rates)  # Adam's first step is the learning rate itself


def test_a_worker_in_bfloat16_makes_nearly_the_same_update() -> None:
    def moved(precision: Any) -> dict[str, Any]:
        config = Config(
            env_id="a3c_fast/FakeImage-v0",
            model="paper",
            precision=precision,
            num_workers=1,
            envs_per_worker=6,
            envs_per_update=6,
            t_max=8,
            optimizer="rmsprop",
            optimizer_eps=1.0,  # a step is then nearly the gradient
            learning_rate=1e-2,
            max_grad_norm=0.0,
        )
        with Trainer(config) as trainer:
            before = trainer.state_dict()
            trainer.run(until=1)
            assert trainer.stats()["updates"] == 1
            return {name: value - before[name] for name, value in trainer.state_dict().items()}

    try:
        found = moved("bf16")
    except (ConfigError, RuntimeError) as error:
        pytest.skip(str(error))
    for name, expected in moved("fp32").items():
        assert (found[name] - expected).norm() < 0.25 * expected.norm(), name


def test_one_worker_and_one_seed_are_one_run() -> None:
    def run(seed: int) -> dict[str, torch.Tensor]:
        with Trainer(Config(env_id="CartPole-v1", num_workers=1, seed=seed, total_steps=20_000)) as trainer:
            trainer.run()
            return trainer.state_dict()

    first, again, other = run(3), run(3), run(4)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(
    ("env_id", "more"),
    [
        (FAKE, {}),
        (FAKE_IMAGE, {"model": "paper"}),
        (FAKE_MULTI, {"normalize_observations": True, "normalize_rewards": True, "update_epochs": 2}),
        (FAKE_CONTINUOUS, {"normalize_observations": True, "normalize_rewards": True, "separate_value": True}),
        (FAKE_CONTINUOUS, {"normalize_observations": True, "normalize_rewards": True, "lstm_size": 5}),
    ],
    ids=str,
)
def test_a_resumed_run_is_the_run_in_one(tmp_path: Path, env_id: str, more: dict[str, Any]) -> None:
    steps = 400 if env_id == FAKE_IMAGE else 6000
    config = Config(env_id=env_id, num_workers=1, total_steps=steps, t_max=10, **more)
    with Trainer(config) as trainer:
        trainer.run()
        straight, straight_stats = trainer.state_dict(), trainer.stats()
    with Trainer(dataclasses.replace(config, run_dir=tmp_path)) as trainer:
        trainer.run(until=steps // 3)
    with Trainer(dataclasses.replace(config, run_dir=tmp_path, resume=True)) as trainer:
        trainer.save()  # before any worker ran: what was continued is still all there
    with Trainer(dataclasses.replace(config, run_dir=tmp_path, resume=True)) as trainer:
        assert trainer.stats()["step"] >= steps // 3
        trainer.run()
        resumed, stats = trainer.state_dict(), trainer.stats()
    assert all(torch.equal(straight[name], resumed[name]) for name in straight)
    assert [stats[n] for n in ("step", "updates", "episodes")] == [
        straight_stats[n] for n in ("step", "updates", "episodes")
    ]
