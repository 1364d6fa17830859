"""The commands of `a3c-fast`: what each is for, and how it is used. Imports nothing that takes time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """`module` of this package has its `main(arguments)`; `examples` are pairs of a command line and what it does."""

    module: str
    summary: str
    examples: tuple[tuple[str, str], ...]


COMMANDS: Mapping[str, Command] = {
    "train": Command(
        "train",
        "Train an agent, or go on with a run.",
        (
            ("a3c-fast train --env-id CartPole-v1 --run-dir runs/cartpole", "seconds"),
            ("a3c-fast train --env-id HalfCheetah-v4 --help", "the defaults of that environment"),
            ("a3c-fast train --run-dir runs/pong --resume", "start, or go on with it where it is there"),
            ("a3c-fast train --run-dir runs/pong --resume --total-steps 20_000_000", "beyond its end"),
            ("a3c-fast train --config run.toml --seed 2", "settings of a file, and one other"),
            ("a3c-fast train --preset paper --print-config toml > run.toml", "such a file to begin with"),
            ("a3c-fast train --env-id gymnasium:LunarLander-v3", "an environment of gymnasium"),
            ("a3c-fast train --env-id my_package.envs:make_env", "one of your own"),
        ),
    ),
    "evaluate": Command(
        "evaluate",
        "Play whole episodes with a trained agent and print its scores.",
        (
            ("a3c-fast evaluate runs/pong", "30 episodes"),
            ("a3c-fast evaluate runs/pong --episodes 100 --greedy --json", "for a program"),
            ("a3c-fast evaluate runs/pong --sticky 0.25", "with ALE's sticky actions"),
            ("a3c-fast evaluate runs/pong --video pong.mp4", "and see it"),
        ),
    ),
    "play": Command(
        "play",
        "Watch a trained agent in a window or in the terminal.",
        (("a3c-fast play runs/pong", "the newest checkpoint"),),
    ),
    "report": Command(
        "report",
        "Put runs side by side in one HTML file.",
        (("a3c-fast report runs/one runs/two --output report.html", "a file that fetches nothing"),),
    ),
    "export": Command(
        "export",
        "Write a trained policy for other programs.",
        (
            ("a3c-fast export runs/pong", "as ONNX"),
            ("a3c-fast export runs/pong --format aoti", "compiled, for C++ programs"),
        ),
    ),
    "list-envs": Command(
        "list_envs",
        "List the environments there are.",
        (
            ("a3c-fast list-envs", "all of them"),
            ("a3c-fast list-envs cheetah", "a part of a name"),
            ("a3c-fast list-envs mujoco.gym", "a family"),
            ("a3c-fast list-envs 'MiniGrid-*' --json", "wildcards; for a program"),
        ),
    ),
    "completion": Command(
        "completion",
        "Print a script with which a shell completes these commands.",
        (
            ('eval "$(a3c-fast completion bash)"', "in ~/.bashrc"),
            ('eval "$(a3c-fast completion zsh)"', "in ~/.zshrc, after compinit"),
            ("a3c-fast completion fish > ~/.config/fish/completions/a3c-fast.fish", ""),
        ),
    ),
}
