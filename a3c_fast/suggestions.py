"""What was probably meant by a word that is none of those that there are."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

# What other libraries call our settings, as flags without their dashes.
SYNONYMS: Mapping[str, str] = {
    word: flag
    for flag, words in {
        "env-id": "env game environment env-name environment-id gym-id id task",
        "total-steps": "steps timesteps total-timesteps max-steps max-timesteps frames total-frames iterations",
        "num-workers": "workers n-workers threads num-threads n-threads processes num-processes actors num-actors "
        "n-jobs jobs cores cpus",
        "envs-per-worker": "envs num-envs n-envs nenvs num-environments environments",
        "t-max": "n-steps num-steps nsteps rollout rollout-length rollout-steps unroll-length horizon",
        "update-epochs": "epochs n-epochs num-epochs",
        "clip-coef": "clip clip-range clip-eps clip-epsilon ppo-clip",
        "normalize-advantages": "norm-adv normalize-advantage adv-norm",
        "model": "network net arch architecture policy",
        "hidden-sizes": "hidden hidden-size layers net-arch units",
        "lstm-size": "lstm recurrent rnn use-lstm",
        "optimizer": "optim opt",
        "learning-rate": "lr alpha step-size",
        "learning-rate-decay-power": "lr-decay anneal-lr lr-schedule",
        "learning-rate-warmup": "warmup lr-warmup warmup-steps",
        "gamma": "discount discount-factor",
        "gae-lambda": "lambda gae lam",
        "entropy-coef": "ent-coef entropy beta entropy-beta entropy-coefficient",
        "value-coef": "vf-coef value-loss-coef value-loss",
        "max-grad-norm": "grad-clip clip-grad grad-norm max-norm gradient-clip",
        "optimizer-eps": "eps epsilon adam-eps rmsprop-eps",
        "precision": "dtype amp bf16 fp16",
        "frame-skip": "action-repeat",
        "stack-num": "frame-stack framestack num-stack n-stack",
        "noop-max": "noops max-noops",
        "sticky-probability": "sticky sticky-actions repeat-action-probability",
        "episodic-life": "terminal-on-life-loss",
        "reward-clip": "clip-rewards clip-reward",
        "seed": "random-seed rng",
        "run-dir": "output out output-dir log-dir logdir save-dir dir directory run-name exp-name path model-dir",
        "resume": "continue restore load restart go-on requeue",
        "max-minutes": "minutes time max-time timeout time-limit",
        "stop-at-return": "target target-return target-score target-reward",
        "log-every-seconds": "log-interval log-every",
        "checkpoint-every-seconds": "save-interval save-every save-freq checkpoint-interval checkpoint-every",
        "keep-checkpoints": "keep max-checkpoints",
        "episodes": "n-episodes num-episodes n-eval-episodes games",
        "greedy": "deterministic argmax",
        "sticky": "sticky-actions sticky-probability repeat-action-probability",
        "checkpoint": "ckpt weights file",
        "video": "record render gif mp4",
        "json": "as-json",
        "config": "cfg config-file settings config-path",
    }.items()
    for word in words.split()
}
_NAMESPACE = re.compile(r"^[\w.]*[/:]+")
_VERSION = re.compile(r"-?v(\d+)$", re.IGNORECASE)
_VARIANT = re.compile(r"(NoFrameskip|Deterministic|-ram\w*|-ramNoFrameskip)+$", re.IGNORECASE)


def closest(word: str, words: Iterable[str], *, count: int = 1) -> list[str]:
    """Those of `words` that `word` looks like, without regard to capitals, dashes and underscores; the best first."""
    by_letters: dict[str, str] = {}
    for candidate in words:
        by_letters.setdefault(_letters(candidate), candidate)
    found = difflib.get_close_matches(_letters(word), by_letters, n=count, cutoff=0.6)
    return [by_letters[letters] for letters in found]


def did_you_mean(value: Any, words: Iterable[str]) -> str:
    """The end of a sentence that refuses `value`; empty where it looks like none of `words`."""
    found = closest(value, words) if isinstance(value, str) else []
    return f"; did you mean {found[0]}?" if found else ""


def flag_like(flag: str, flags: Iterable[str]) -> str | None:
    """The one of `flags` that an unknown one probably means; all with their dashes, as in --learning-rate."""
    there = set(flags)
    word = flag.lstrip("-").lower().replace("_", "-")
    synonym = f"--{SYNONYMS.get(word, word)}"
    if synonym in there:
        return synonym
    return next(iter(closest(flag, sorted(there))), None)


def setting_like(word: str, names: Iterable[str]) -> str | None:
    """The one of `names`, as Python has them, that an unknown one probably means: learning_rate for lr."""
    flag = flag_like(word, [f"--{name.replace('_', '-')}" for name in names])
    return None if flag is None else flag.removeprefix("--").replace("-", "_")


def environments_like(env_id: str, env_ids: Iterable[str]) -> list[str]:
    """Those of `env_ids`, three at most, that `env_id` probably means: Pong-v5 for PongNoFrameskip-v4 and for pong."""
    newest: dict[str, str] = {}  # by the letters of the name without its version; rather one without a namespace
    for candidate in sorted(env_ids, key=lambda name: ("/" not in name, _version(name))):
        newest[_stem(candidate)] = candidate
    stem = _stem(env_id)
    if stem in newest:
        return [newest[stem]]
    return [newest[found] for found in difflib.get_close_matches(stem, newest, n=3)]


def looks_like_environment(word: str) -> bool:
    """Whether it ends in a version, as names of environments do."""
    return not word.startswith("-") and _VERSION.search(word) is not None


def _stem(env_id: str) -> str:
    name = _VERSION.sub("", _NAMESPACE.sub("", env_id.strip()))
    return _letters(_VARIANT.sub("", name))


def _version(env_id: str) -> int:
    match = _VERSION.search(env_id)
    return int(match[1]) if match else -1


def _letters(word: str) -> str:
    return re.sub(r"[\W_]+", "", word).lower()
