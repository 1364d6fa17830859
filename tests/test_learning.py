"""Learning, on what is learned in seconds: one worker and one seed, so that every run is the same."""

from __future__ import annotations

from a3c_fast import Config, Trainer
from a3c_fast.evaluate import evaluate


def test_cartpole_is_learned_from_the_defaults() -> None:
    config = Config(env_id="CartPole-v1", num_workers=1, total_steps=600_000, seed=1)
    with Trainer(config) as trainer:
        trainer.run()
        result = evaluate(trainer.policy(), config, episodes=30)
    # A random policy makes 22. Seeds 1 to 6 made 351 to 500 in runs of 300,000 steps; the bar leaves room for another
    # CPU's arithmetic.
    assert result["mean_return"] >= 400


def test_the_scripted_environment_is_learned() -> None:
    # Observation element 0 tells which of three actions is paid: 1 + (0 .. 3) for the right one, on average 2.5.
    def mean_per_step(total_steps: int, learning_rate: float) -> float:
        config = Config(
            env_id="a3c_fast/Fake-v0", num_workers=1, total_steps=total_steps, learning_rate=learning_rate, seed=1
        )
        with Trainer(config) as trainer:
            line = trainer.run()
            return float(line["mean_return_100"] / line["mean_length_100"])

    assert mean_per_step(20_000, 1e-12) < 1.0  # nothing learned: a third of 2.5
    assert mean_per_step(150_000, 2e-3) > 1.5


def test_what_is_over_is_remembered_by_an_lstm_alone() -> None:
    # The first observation shows one of four cues, the fourth asks for it: without a memory a quarter is right.
    def mean_return(lstm_size: int) -> float:
        config = Config(
            env_id="a3c_fast/Recall-v0",
            num_workers=1,
            lstm_size=lstm_size,
            learning_rate=5e-3,
            total_steps=60_000,
            seed=1,
        )
        with Trainer(config) as trainer:
            return float(trainer.run()["mean_return_100"])

    assert mean_return(0) < 0.45
    assert mean_return(32) > 0.9


def test_a_step_of_training_lowers_the_entropy_and_not_to_nothing() -> None:
    config = Config(env_id="CartPole-v1", num_workers=1, total_steps=100_000, seed=2)
    with Trainer(config) as trainer:
        line = trainer.run()
    assert 0.05 < line["entropy"] < 0.68  # the logarithm of 2 is 0.693
    assert line["value_loss"] < 1e4
