"""The whole worker against the A3C of tests/reference.py, and runs against themselves."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core
from a3c_fast import Config, ConfigError, Trainer
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
    {"optimizer": "adam", "lstm_size": 7},
    {"optimizer": "rmsprop", "envs_per_update": 2, "lstm_size": 16, "t_max": 13, "gae_lambda": 0.9},
    {"optimizer": "adam", "envs_per_update": 1, "update_epochs": 3, "lstm_size": 5},
]


def both(model: str, env: dict[str, Any], hidden: tuple[int, ...], until: int, **settings: Any) -> tuple[Any, Any]:
    """A Trainer and a reference.A3C after the same run."""
    config = Config(
        env_id="a3c_fast/FakeImage-v0" if model == "paper" else "a3c_fast/Fake-v0",
        model=model,  # type: ignore[arg-type]
        hidden_sizes=hidden,
        num_workers=1,
        **{
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
    client = core.EnvClient.fake(num_envs=4, seed=5, **env)
    trainer = Trainer(config, clients=[client])
    network = make_policy(config, env["observation_shape"], env["num_actions"])
    network.load_state_dict(trainer.state_dict())
    size = int(np.prod(env["observation_shape"]))
    envs = [reference.FakeEnv(5, i, size, env["observation_type"], env["num_actions"]) for i in range(4)]
    names = {field.name for field in dataclasses.fields(reference.Settings)} - {"optimizer"}
    python = reference.A3C(
        network,
        envs,
        tuple(env["observation_shape"]),
        reference.Settings(
            optimizer=reference.Optimizer(config.optimizer),
            **{name: getattr(config, name) for name in names},
        ),
    )
    trainer.run(until)
    python.run(until)
    return trainer, python


def assert_same_run(trainer: Any, python: Any, tolerance: float) -> None:
    stats = trainer.stats()
    assert stats["step"] == python.steps
    assert stats["updates"] == python.updates
    assert stats["episodes"] == len(python.returns) > 0
    assert stats["mean_return_100"] == pytest.approx(np.mean(python.returns[-100:]))
    for name, value in python.parameters().items():
        np.testing.assert_allclose(trainer.state_dict()[name].numpy(), value, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("settings", VARIANTS, ids=str)
def test_the_worker_is_the_a3c_of_the_paper(settings: dict[str, Any]) -> None:
    env = {"observation_shape": [4], "observation_type": "float32", "num_actions": 3}
    trainer, python = both("mlp", env, (16, 8), 2000, **settings)
    before = trainer.stats()
    assert_same_run(trainer, python, 1e-5)
    assert before["policy_loss"] is not None
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
    env = {"observation_shape": [4, 84, 84], "observation_type": "uint8", "num_actions": 6}
    until = 60 if update_epochs == 1 else 20
    trainer, python = both(
        *("paper", env, (64, 64), until),
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


@pytest.mark.parametrize("env_id", ["a3c_fast/Fake-v0", "a3c_fast/FakeImage-v0"])
def test_a_resumed_run_is_the_run_in_one(tmp_path: Path, env_id: str) -> None:
    steps = 6000 if env_id == "a3c_fast/Fake-v0" else 400
    config = Config(
        env_id=env_id,
        num_workers=1,
        total_steps=steps,
        t_max=10,
        model="mlp" if env_id == "a3c_fast/Fake-v0" else "paper",
    )
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
