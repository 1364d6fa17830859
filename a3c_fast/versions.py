"""The versions that a run depends on, and the check that the extension meets the torch it was built for."""

from __future__ import annotations

import contextlib
import dataclasses
import platform
from importlib import metadata
from pathlib import Path

# The floor that the extension is compiled for, x86-64-v3, told by four of its features.
_CPU_FLAGS = {"avx2", "bmi2", "fma", "movbe"}


def versions() -> dict[str, str]:
    """What to write beside a result; of what is not installed, as EnvPool may be, nothing."""
    names = {"a3c_fast": "a3c-fast", "torch": "torch", "envpool": "envpool", "gymnasium": "gymnasium", "numpy": "numpy"}
    found = {}
    for name, distribution in names.items():
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(distribution)
    return {**found, "python": platform.python_version()}


def described() -> str:
    """What `a3c-fast --version` says: versions, and the kernels that this CPU has, by the names of A3C_FAST_ISA."""
    found = versions()
    names = {
        "a3c_fast": "a3c-fast",
        "torch": "torch",
        "envpool": "EnvPool",
        "gymnasium": "gymnasium",
        "python": "Python",
    }
    lines = {shown: found.get(name, "not installed") for name, shown in names.items()}
    lines["kernels"] = _kernels()
    return "\n".join(f"{name:<11}{value}" for name, value in lines.items())


def _kernels() -> str:
    """Of the network of the paper, in float32 and as `precision` auto has it; or why there are none."""
    try:
        from a3c_fast.config import Config
        from a3c_fast.core_config import kernels_of
        from a3c_fast.envs import spec_of

        config = Config(env_id="a3c_fast/FakeImage-v0", model="paper")
        spec = spec_of(config)
        found = [kernels_of(dataclasses.replace(config, precision=name), spec) for name in ("fp32", "auto")]
    except (ImportError, RuntimeError, ValueError) as error:
        return f"none: {error}"
    return found[0] if found[0] == found[1] else " and ".join(found)


def check() -> None:
    """Raises `ImportError` in one sentence unless the extension is this package's and fits this torch and this CPU."""
    missing = _missing_cpu_flags()
    if missing:
        raise ImportError(
            f"this CPU lacks {', '.join(sorted(missing))}, and a3c_fast is compiled for x86-64-v3 (any x86 server "
            "since 2015)"
        )
    import torch  # before the extension, whose libraries lie in torch's wheel

    # An extension runs only with the torch it was built for. The wheel's metadata names it without loading anything.
    found = torch.__version__.partition("+")[0]
    pins = [line.partition("==")[2] for line in metadata.requires("a3c-fast") or [] if line.startswith("torch==")]
    if pins and pins[0] != found:
        raise ImportError(
            f"a3c_fast was built for torch {pins[0]} and finds torch {found}: "
            f"install torch {pins[0]}, or build a3c_fast again with `pip install .`"
        )
    import a3c_fast_core

    ours = metadata.version("a3c-fast")
    if a3c_fast_core.__version__ != ours:
        raise ImportError(
            f"a3c_fast is version {ours} and its extension version {a3c_fast_core.__version__}: "
            "install both again with `pip install .`"
        )


def _missing_cpu_flags() -> set[str]:
    if platform.machine() != "x86_64":
        return set()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()  # no Linux: the loader will tell
    for line in lines:
        if line.startswith("flags"):
            return _CPU_FLAGS - set(line.partition(":")[2].split())
    return set()
