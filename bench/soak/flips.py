"""`python -m bench.soak flips`: damage to every file that is read back."""

from __future__ import annotations

import dataclasses
import json as json_module
import random
import shutil
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak.job import newest_step
from bench.soak.processes import GENEROUS, Process, Result, call, returned
from bench.soak.report import Report

POSITIVE = ("count",)

_STEPS = 20_000  # of the run whose files are damaged


@dataclass(frozen=True)
class Arguments:
    """Flips bits in, cuts and extends each file of a run directory; it must be refused or read as it was."""

    count: int = 300
    """Flips, cuts and extensions of each file, each."""
    commands: int = 60
    """Damages, of any file, after which the commands must go on or refuse in one sentence, too."""
    seed: int = 1
    """Of the damages."""
    json: bool = False
    """Print one JSON object."""


def flip(content: bytes, numbers: random.Random) -> bytes:
    """One bit is another."""
    if not content:
        return b"\x01"
    at = numbers.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << numbers.randrange(8)]) + content[at + 1 :]


def cut(content: bytes, numbers: random.Random) -> bytes:
    """The end is missing."""
    return content[: numbers.randrange(max(1, len(content)))]


def extend(content: bytes, numbers: random.Random) -> bytes:
    """There is more than was written."""
    return content + numbers.randbytes(numbers.randint(1, 1000))


DAMAGES = (flip, cut, extend)


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    run_dir = directory / "run"
    made = Process("-m", "a3c_fast.train", *_flags(run_dir), "--env-id", "CartPole-v1", "--hidden-sizes", "8").result()
    if not report.check(made.status == 0, f"the run whose files are to be damaged failed: {made}"):
        return
    # In a process of its own: a reader may crash, hang or fill the memory.
    result = call(read_damaged, str(run_dir), args.count, args.seed).result(GENEROUS + args.count * 30)
    found = returned(result)
    if report.check(found is not None, f"the readers: {result}"):
        report.done.update(found["done"])
        for sentence in found["broken"]:
            report.fail(sentence)
    numbers = random.Random(args.seed)
    newest = newest_step(run_dir, report)
    damaged = [_damaged_copy(run_dir, directory / f"damaged_{i}", numbers) for i in range(args.commands)]
    with ThreadPoolExecutor(2) as pool:
        for (copy, what), results in zip(damaged, pool.map(_commands, (copy for copy, _ in damaged)), strict=True):
            for name, result in results.items():
                report.check(_is_told(result), f"{name}, {what}: {result}")
                report.done[f"{name}: status {result.status}"] += 1
            played = results["evaluate"]
            if played.status == 0 and not played.stderr:
                step = json_module.loads(played.stdout)["step"]
                report.check(step == newest, f"evaluate, {what}: step {step:,}, not {newest:,}, without a warning")
            if not report.broken:
                shutil.rmtree(copy)


def _flags(run_dir: Path, steps: int = _STEPS) -> tuple[str | Path, ...]:
    often = ("--checkpoint-every-seconds", "0.2", "--log-every-seconds", "0.1")
    return ("--run-dir", run_dir, "--total-steps", str(steps), "--num-workers", "1", *often)


def _files(run_dir: Path) -> list[Path]:
    return sorted(path.relative_to(run_dir) for path in run_dir.rglob("*") if path.is_file())


# Commands ------------------------------------------------------------------------------------------------------------


def _damaged_copy(run_dir: Path, copy: Path, numbers: random.Random) -> tuple[Path, str]:
    """A copy with one damaged file, and what was done to which."""
    shutil.copytree(run_dir, copy)
    file, damage = numbers.choice(_files(run_dir)), numbers.choice(DAMAGES)
    (copy / file).write_bytes(damage((copy / file).read_bytes(), numbers))
    return copy, f"{damage.__name__} of {file}"


def _commands(run_dir: Path) -> dict[str, Result]:
    evaluate = Process("-m", "a3c_fast.evaluate", run_dir, "--episodes", "1", "--json")
    results = {"evaluate": evaluate.result()}
    results["train --resume"] = Process("-m", "a3c_fast.train", *_flags(run_dir, 2 * _STEPS), "--resume").result()
    return results


def _is_told(result: Result) -> bool:
    """Done, or refused in one sentence; nothing else on standard error but warnings."""
    lines = result.stderr.splitlines()
    if result.status == 2:
        if not lines or not lines.pop().startswith("error: "):
            return False
    elif result.status != 0:
        return False
    return all(line.startswith("warning: ") for line in lines)


# Readers -------------------------------------------------------------------------------------------------------------


def read_damaged(directory: str, count: int, seed: int) -> dict[str, Any]:
    """Damages each file that a reader reads `count` times in each way, and has it read.

    Returns how often what came out ("done") and a sentence for each that must not ("broken").
    """
    run_dir, numbers = Path(directory), random.Random(seed)
    done: Counter[str] = Counter()
    broken: list[str] = []
    for file, name, read, may_differ in _readers(run_dir):
        path = run_dir / file
        content = path.read_bytes()
        allowed = read()
        for damage in DAMAGES:
            for _ in range(count):
                path.write_bytes(damage(content, numbers))
                outcome = _outcome(read, allowed)
                done[f"{damage.__name__} of {name}: {outcome.partition(':')[0]}"] += 1
                if outcome not in _WELL and not (may_differ and outcome == _DIFFERS):
                    evidence = run_dir.with_name(f"{name}_{len(broken)}{path.suffix}")
                    evidence.write_bytes(path.read_bytes())
                    broken.append(f"{damage.__name__} of {file}, kept as {evidence.name}, read by {name}: {outcome}")
        path.write_bytes(content)
    return {"done": done, "broken": broken}


_REFUSED, _SAME, _DIFFERS = "refused", "as it was", "differs"
_WELL = (_REFUSED, _SAME)


def _readers(run_dir: Path) -> Iterator[tuple[Path, str, Callable[[], Any], bool]]:
    """Each file that is read back, the public reader's name and call, and whether what is read may differ.

    It may where the file is for people, too, and has no hash: then what counts is that nothing else is raised.
    """
    from a3c_fast import checkpoint as checkpoints
    from a3c_fast import metrics
    from a3c_fast.train import configure

    directory = run_dir / "checkpoints"
    newest = checkpoints.paths(directory)[-1]
    older = [_plain(checkpoints.load(path)) for path in checkpoints.paths(directory)[:-1]]
    for path in sorted(directory.glob(f"{newest.stem}.*")):
        file = path.relative_to(run_dir)
        yield file, f"checkpoint.load{path.suffix}", lambda: _plain(checkpoints.load(newest)), False
        yield file, f"checkpoint.load_newest{path.suffix}", lambda: _newest(checkpoints, directory, older), False
    yield Path(metrics.METRICS_FILE), "metrics.read", lambda: metrics.read(run_dir), True
    yield Path("config.json"), "train.configure", lambda: configure(["--run-dir", str(run_dir), "--resume"]), True


def _newest(checkpoints: Any, directory: Path, older: list[Any]) -> Any:
    """The newest checkpoint, where an older one that comes with a warning counts as a refusal."""
    from a3c_fast.errors import CheckpointError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = _plain(checkpoints.load_newest(directory))
    if caught and found in older:
        raise CheckpointError(str(caught[0].message))
    return found


def _plain(checkpoint: Any) -> dict[str, Any]:
    """A checkpoint as what `==` compares bit by bit."""
    return _with_bytes(dataclasses.asdict(checkpoint))  # type: ignore[no-any-return]


def _with_bytes(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_bytes(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_bytes(inner) for inner in value]
    return (value.shape, str(value.dtype), value.tobytes()) if hasattr(value, "tobytes") else value


def _outcome(read: Callable[[], Any], allowed: Any) -> str:
    from a3c_fast.errors import CheckpointError, ConfigError

    try:
        found = read()
    except (CheckpointError, ConfigError) as error:
        return _REFUSED if "\n" not in str(error) else f"more than one sentence: {error}"
    except Exception as error:  # whatever else comes out is what this program looks for
        return f"{type(error).__name__}: {error}"
    return _SAME if found == allowed else _DIFFERS
