"""The settings in groups, in the order in which `a3c-fast train --help` and a written configuration show them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """`names` are fields of `Config`, and those of `train`'s own flags; each is in one group."""

    title: str
    about: str
    names: tuple[str, ...]


GROUPS: tuple[Group, ...] = (
    Group(
        "run",
        "What is trained on, for how long, and with which settings to begin with.",
        ("env_id", "preset", "config", "print_config", "total_steps", "max_minutes", "stop_at_return", "seed"),
    ),
    Group(
        "workers",
        "How the work is divided.",
        ("num_workers", "envs_per_worker", "envs_per_update", "t_max", "precision", "watchdog_seconds"),
    ),
    Group(
        "environment",
        "What the agent sees of the environment and is paid.",
        (
            *("frame_skip", "stack_num", "noop_max", "sticky_probability", "episodic_life", "reward_clip"),
            *("normalize_observations", "normalize_rewards", "observation_offset", "observation_scale"),
        ),
    ),
    Group(
        "network",
        "What computes policy and value.",
        (
            *("model", "network", "hidden_sizes", "activation", "separate_value", "lstm_size"),
            "initial_log_std",
        ),
    ),
    Group(
        "learning",
        "What is learned from a rollout.",
        (
            *("gamma", "gae_lambda", "update_epochs", "clip_coef", "normalize_advantages"),
            *("entropy_coef", "entropy_decay_steps", "entropy_final_fraction", "value_coef", "schedules"),
        ),
    ),
    Group(
        "optimizer",
        "How the parameters follow the gradients.",
        (
            *("optimizer", "learning_rate", "learning_rate_decay_power", "learning_rate_warmup", "max_grad_norm"),
            *("rmsprop_alpha", "adam_beta1", "adam_beta2", "optimizer_eps"),
        ),
    ),
    Group(
        "evaluation",
        "How good the agent is while it learns.",
        ("evaluate_every", "evaluate_episodes", "evaluate_greedy", "stop_at_evaluation", "evaluate_patience"),
    ),
    Group(
        "hosts",
        "How several hosts train together that a launcher has started.",
        ("exchange_every_seconds", "host_timeout_seconds"),
    ),
    Group(
        "files",
        "What is kept, and where.",
        ("run_dir", "resume", "log_every_seconds", "checkpoint_every_seconds", "keep_checkpoints", "track"),
    ),
)
