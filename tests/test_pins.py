"""The bits of short runs.

Hashes of the parameters, and of the moments, after a few hundred steps of one worker on scripted environments. They pin
the whole loop at once: the kernels of AVX2, sampling, returns, loss, optimizer, normalizer. They say nothing of what is
right, which other tests do. A change that is meant to change no number leaves them as they are; after one that is,
`python tests/test_pins.py` prints what to write here.

The initial parameters, which LibTorch makes, are replaced by our own, so that no number comes from a library but the C
library's exp, log and cos. Which products and sums become one instruction is the compiler's choice: the hashes are
those of one, and builds of another are skipped.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMPILER = b"GCC: (Debian 12.2"
RUNS: dict[str, dict[str, Any]] = {
    "discrete": {"env_id": "a3c_fast/Fake-v0", "gae_lambda": 0.95, "update_epochs": 2},
    "recurrent": {"env_id": "a3c_fast/Fake-v0", "lstm_size": 12, "update_epochs": 2, "optimizer": "rmsprop"},
    "continuous": {
        "env_id": "a3c_fast/FakeContinuous-v0",
        "separate_value": True,
        "update_epochs": 2,
        "normalize_advantages": True,
        "normalize_observations": True,
        "normalize_rewards": True,
    },
    "several choices": {"env_id": "a3c_fast/FakeMulti-v0", "activation": "elu", "normalize_observations": True},
    "images": {"env_id": "a3c_fast/FakeImage-v0", "model": "paper", "precision": "fp32", "total_steps": 64, "t_max": 4},
}
PINS = {
    "discrete": "937e23a10cc5fcec",
    "recurrent": "daad702922551e56",
    "continuous": "a3abd9cf30bd9ffa",
    "several choices": "c9c02d40c7585a01",
    "images": "2e761e0bfa85cdb9",
}


def outcome(settings: dict[str, Any]) -> str:
    """The hash of what a run comes to."""
    import numpy as np
    import torch

    from a3c_fast import Config, Trainer

    config = Config(**{"num_workers": 1, "total_steps": 2000, "envs_per_worker": 4, "envs_per_update": 2, **settings})
    with Trainer(config) as trainer:
        numbers = np.random.default_rng(1)
        state = {
            name: (numbers.integers(-(2**20), 2**20, value.shape) * 2.0**-22).astype(np.float32)
            for name, value in trainer.state_dict().items()
            if not name.startswith("observation_")
        }
        trainer.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
        trainer.run()
        digest = hashlib.sha256(str(trainer.stats()["step"]).encode())
        for name, value in sorted(trainer.state_dict().items()):
            digest.update(name.encode() + value.numpy().tobytes())
    return digest.hexdigest()[:16]


def outcomes(isa: str) -> dict[str, str]:
    """Of all runs, with these kernels; skips the test where there are none of them."""
    import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
    import a3c_fast_core

    if COMPILER not in Path(a3c_fast_core.__file__).read_bytes():
        pytest.skip("another compiler made the extension")
    command = [sys.executable, __file__, "--json"]
    env = {**os.environ, "A3C_FAST_ISA": isa}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    if "A3C_FAST_ISA is" in done.stderr:
        pytest.skip(f"this CPU does not have {isa}")
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


def test_the_bits_of_short_runs_are_those_of_before() -> None:
    assert outcomes("avx2") == PINS


def test_avx512_makes_the_bits_of_avx2_but_of_images() -> None:
    found = outcomes("avx512")
    assert {**found, "images": ""} == {**PINS, "images": ""}


if __name__ == "__main__":
    found = {name: outcome(settings) for name, settings in RUNS.items()}
    print(json.dumps(found, indent=None if "--json" in sys.argv else 4))
