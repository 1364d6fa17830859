"""`python -m bench.export_agreement`: whether exported policies are the policies, for every network of a3c_fast.

Each is trained for a moment and exported. Then the file is loaded as another program would load it, and run on 1,000
observations of its environment: 1, 3 and 64 at a time, and a recurrent one also from step to step on its own states.
What is told is the largest difference of any output from the policy's own, absolute, and where that is beyond 1 as a
share of it. Exits with 1 where one is larger than 1e-4.
"""

from __future__ import annotations

import json as json_module
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.cli import EXIT_FAILED, fail, parse
from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from a3c_fast.exports import agreement
from a3c_fast.files import write
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine

_NETWORKS = "a3c_fast.networks"

# What is exported, by the name of the network and what is particular about it.
CASES: dict[str, dict[str, Any]] = {
    "paper": {"env_id": "Pong-v5", "model": "paper"},
    "paper, lstm": {"env_id": "Pong-v5", "model": "paper", "lstm_size": 256},
    "nature": {"env_id": "Pong-v5", "model": "nature"},
    "nature, lstm": {"env_id": "Pong-v5", "model": "nature", "lstm_size": 256},
    "small, three parts": {"env_id": "MiniGrid-Empty-8x8-v0", "model": "small"},
    "small, lstm, three parts": {"env_id": "MiniGrid-Empty-8x8-v0", "model": "small", "lstm_size": 64},
    "mlp": {"env_id": "CartPole-v1", "model": "mlp", "separate_value": False},
    "mlp, lstm": {"env_id": "CartPole-v1", "model": "mlp", "lstm_size": 64, "separate_value": False},
    "mlp, separate value": {"env_id": "CartPole-v1", "model": "mlp", "separate_value": True},
    "mlp, continuous": {"env_id": "HalfCheetah-v4", "model": "mlp", "normalize_observations": True},
    "mlp, lstm, continuous": {
        "env_id": "HalfCheetah-v4",
        "model": "mlp",
        "lstm_size": 64,
        "separate_value": False,
        "normalize_observations": True,
    },
    "mlp, several choices": {"env_id": "Cleaner-v0", "model": "mlp"},
    "mlp, lstm, several choices": {"env_id": "Cleaner-v0", "model": "mlp", "lstm_size": 64, "separate_value": False},
    "Impala": {"env_id": "Pong-v5", "network": f"{_NETWORKS}:Impala"},
    "Gru": {"env_id": "CartPole-v1", "network": f"{_NETWORKS}:Gru"},
    "FrameTransformer": {"env_id": "Pong-v5", "network": f"{_NETWORKS}:FrameTransformer"},
    "ImageAndVector": {"env_id": "MiniGrid-Empty-8x8-v0", "network": f"{_NETWORKS}:ImageAndVector"},
}


@dataclass(frozen=True)
class Arguments:
    """Compares exported policies with the policies themselves."""

    formats: tuple[str, ...] = ("onnx", "torch.export", "aoti")
    """Of the files."""
    cases: tuple[str, ...] = ()
    """Names of networks, by default all."""
    observations: int = 1000
    """Of the environment."""
    train_seconds: float = 3.0
    """How long each is trained before."""
    output: Path | None = None
    """A file of JSON, written after each network; those that it already has are left out."""


def measure(name: str, args: Arguments) -> dict[str, Any]:
    """One network in all formats."""
    from a3c_fast.exports.program import Program
    from a3c_fast.trainer import Trainer

    with Trainer(Config(**CASES[name], num_workers=1, max_minutes=args.train_seconds / 60)) as trainer:
        trainer.run()
        policy, config, step = trainer.policy(), trainer.config, trainer.stats()["step"]
    sample = agreement.played(policy, config, args.observations)
    wanted = agreement.expected(policy, Program(policy), sample)
    names = {"env_id": config.env_id, "model": config.model, "network": config.network, "lstm_size": config.lstm_size}
    found = {format_: _of_format(format_, policy, sample, wanted) for format_ in args.formats}
    largest = {
        port.name: float(output.abs().max())
        for port, output in zip(Program(policy).outputs, wanted.outputs, strict=True)
    }
    return {
        "name": name,
        **names,
        "separate_value": config.separate_value,
        "trained_steps": step,
        "observations": sample.count,
        "action": str(policy.action),
        "largest_outputs": largest,
        "formats": found,
    }


def _of_format(name: str, policy: Any, sample: agreement.Observations, wanted: agreement.Expected) -> dict[str, Any]:
    import torch

    from a3c_fast.exports.exporting import export
    from a3c_fast.exports.formats import FORMATS

    with tempfile.TemporaryDirectory() as directory, torch.no_grad(), agreement.one_thread():
        begin = time.perf_counter()
        path = export(policy, Path(directory) / FORMATS[name].default_name, format=name, draw=True).path
        seconds, size = time.perf_counter() - begin, path.stat().st_size
        run = FORMATS[name].load(path)
        differences = {f"batch {batch}": agreement.difference(run, wanted, batch) for batch in agreement.BATCHES}
        if policy.state_size:
            differences["from step to step"] = agreement.difference_over_time(run, wanted)
    return {"differences": differences, "bytes": size, "export_seconds": round(seconds, 1)}


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.export_agreement")
    check_positive(args, "observations", "train_seconds")
    for name in args.cases:
        if name not in CASES:
            raise ConfigError("cases", name, f"it must be one of {'; '.join(CASES)}")
    result: dict[str, Any] = {"tolerance": agreement.TOLERANCE, "largest_difference": 0.0, "cases": []}
    result["machine"] = machine()
    if args.output is not None and args.output.exists():
        result = json_module.loads(args.output.read_text())
    done = {case["name"] for case in result["cases"]}
    for name in args.cases or CASES:
        if name in done:
            continue
        case = measure(name, args)
        result["cases"].append(case)
        worst = {format_: max(of["differences"].values()) for format_, of in case["formats"].items()}
        result["largest_difference"] = max(result["largest_difference"], *worst.values())
        print(f"{name}: {', '.join(f'{format_} {of:.1e}' for format_, of in worst.items())}", flush=True)
        if args.output is not None:
            write(args.output, f"{json_module.dumps(result, indent=1)}\n".encode())
    if not result["largest_difference"] <= agreement.TOLERANCE:
        fail(EXIT_FAILED, f"a difference of {result['largest_difference']:.2g} is more than {agreement.TOLERANCE:g}")


if __name__ == "__main__":
    main()
