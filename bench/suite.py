"""`python -m bench.suite --output DIR`: what one set of settings scores on a list of games, several seeds each.

Each game and seed is a run directory below DIR, trained by `a3c-fast train` to the end of `--total-steps` and then
played by `a3c-fast evaluate`, one after the other. The same command goes on where it was stopped. After each run
DIR/suite.json says what there is by then and DIR/suite.png draws it. Every other flag is one of `a3c-fast train`, the
same for all games.
"""

from __future__ import annotations

import ctypes
import dataclasses
import json as json_module
import math
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from a3c_fast.human_scores import SCORES
from bench.command import check_positive, errors_in_one_sentence, parse_beside_training
from bench.energy import Energy
from bench.machine import machine

# Aitchison, Sweetser and Hutter 2023 (arXiv:2210.02019): the median human-normalized score of all 57 games, predicted
# from five of them. 1 + the median, in percent, is the product of (1 + score in percent) to these powers.
ATARI_5 = {
    "BattleZone-v5": 0.38198,
    "DoubleDunk-v5": 0.06791,
    "NameThisGame-v5": 0.31080,
    "Phoenix-v5": 0.12413,
    "Qbert-v5": 0.08049,
}
_FIRST = ("Breakout-v5", "BeamRider-v5", "Qbert-v5", "SpaceInvaders-v5", "Seaquest-v5")
GAMES = (*_FIRST, *(game for game in ATARI_5 if game not in _FIRST))


@dataclass(frozen=True)
class Arguments:
    """Trains on a list of games with several seeds and says what the agents score; also takes the flags of `a3c-fast
    train`."""

    output: Path
    """Directory of the runs, suite.json and suite.png."""
    games: tuple[str, ...] = GAMES
    """EnvPool's names; by default nine games of Atari, among them the five of Atari-5."""
    seeds: int = 2
    """Runs of each game, with the seeds `seed`, `seed` + 1 ..."""
    episodes: int = 30
    """Episodes of each evaluation, at the end of training."""
    json: bool = False
    """Print suite.json at the end."""


@dataclass(frozen=True)
class Run:
    """One game and seed."""

    config: Config
    """With its run directory."""

    @property
    def directory(self) -> Path:
        assert self.config.run_dir is not None
        return self.config.run_dir

    def beside(self, name: str) -> Path:
        """A file of ours in the run directory."""
        return self.directory / f"suite_{name}.json"

    def result(self, episodes: int) -> dict[str, Any] | None:
        """What is known of it; None where it is not finished and evaluated with so many episodes."""
        found = _read(self.beside("run"))
        if found is None or found["score"]["episodes"] != episodes or found["step"] < self.config.total_steps:
            return None
        return found


def runs_of(args: Arguments, given: Mapping[str, Any]) -> list[Run]:
    """Every seed of the first game, then of the next: half of a suite has whole games.

    Raises `ConfigError` for a game that cannot be trained, and for a run that is there with other settings.
    """
    runs: dict[Path, Run] = {}
    for game in args.games:
        config = Config(**given, env_id=game)
        for seed in range(config.seed, config.seed + args.seeds):
            name = f"{game.replace(':', '_').replace('/', '_')}_seed_{seed}"
            run = Run(as_it_was_begun(config.replace(seed=seed, run_dir=args.output / name)))
            if run.directory in runs:
                raise ConfigError("games", game, f"{run.directory} would be the directory of two runs")
            runs[run.directory] = run
    return list(runs.values())


def as_it_was_begun(config: Config) -> Config:
    """With what was measured when the run began, and its number of workers. Raises `ConfigError` for another run."""
    from a3c_fast.stored_run import StoredRun

    assert config.run_dir is not None
    stored = StoredRun.read(config.run_dir).config
    if stored is None:
        return config
    kept: dict[str, Any] = {}
    for name, until_it_begins in (("observation_offset", "auto"), ("observation_scale", "auto"), ("num_workers", 0)):
        if getattr(config, name) == until_it_begins:
            kept[name] = getattr(stored, name)
    config = config.replace(**kept)
    for field in dataclasses.fields(Config):
        theirs, ours = getattr(stored, field.name), getattr(config, field.name)
        if theirs != ours and field.name not in ("run_dir", "resume"):
            reason = f"{config.run_dir} was made with {theirs!r}: other settings need another --output"
            raise ConfigError(field.name, ours, reason)
    return config


def train_and_evaluate(run: Run, episodes: int) -> dict[str, Any]:
    """Trains to the end, from where the run stands, and evaluates; keeps the result beside it.

    Raises `RuntimeError` where one of them fails, and `KeyboardInterrupt` where one was stopped by a signal.
    """
    from a3c_fast import metrics

    run.directory.parent.mkdir(parents=True, exist_ok=True)
    settings = run.directory.with_name(f"{run.directory.name}.suite.toml")
    settings.unlink(missing_ok=True)
    run.config.to_file(settings)
    before = _read(run.beside("energy"))
    is_known = before is not None or not metrics.read(run.directory)
    energy = Energy()
    try:
        _call("a3c_fast.train", "--config", str(settings), "--resume", meanwhile=energy.look)
    finally:
        settings.unlink(missing_ok=True)
        joules = energy.joules() if is_known else None
        if joules is not None and before is not None:
            joules = None if before["joules"] is None else joules + before["joules"]
        if run.directory.is_dir():
            _write(run.beside("energy"), {"joules": joules})
    score = json_module.loads(_call("a3c_fast.evaluate", str(run.directory), "--episodes", str(episodes), "--json"))
    last = metrics.read(run.directory)[-1]
    result = {
        "env_id": run.config.env_id,
        "seed": run.config.seed,
        "step": score.pop("step"),
        "training_seconds": last["wall_seconds"],
        "training_return": last["mean_return_100"],
        "joules": joules,
        "score": {name: value for name, value in score.items() if name != "env_id"},
        "machine": machine(),
    }
    _write(run.beside("run"), result)
    return result


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json_module.loads(path.read_text())
    except FileNotFoundError:
        return None
    return found


def _write(path: Path, content: Mapping[str, Any]) -> None:
    written = path.with_suffix(".tmp")
    written.write_text(json_module.dumps(content) + "\n")
    written.replace(path)


_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_STOPPED = {*(128 + number for number in _STOPPING), *(-number for number in _STOPPING)}  # exit statuses
_LOOK_SECONDS = 60.0


def _ends_with_us() -> None:
    """Of a child: SIGTERM, at which it saves, when this process is gone, however."""
    ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def _call(module: str, *arguments: str, meanwhile: Callable[[], None] = lambda: None) -> str:
    """A command, to its end; what it printed. `meanwhile` is called every minute.

    Raises `KeyboardInterrupt` where it was stopped by a signal, `RuntimeError` where it failed.
    """
    # In a session of its own Ctrl-C does not reach it but through us: the second signal would leave at once.
    process = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_ends_with_us,
    )
    while True:
        try:
            written, _ = process.communicate(timeout=_LOOK_SECONDS)
            break
        except subprocess.TimeoutExpired:
            meanwhile()
        except BaseException:
            for number in _STOPPING:  # once is enough, and what the run has to save takes its time
                signal.signal(number, signal.SIG_IGN)
            process.terminate()
            process.communicate()
            raise
    if process.returncode in _STOPPED:
        raise KeyboardInterrupt
    if process.returncode:
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with status {process.returncode}")
    return written


def atari_5_median(human_normalized: Mapping[str, float]) -> float | None:
    """The predicted median of 57 games, a fraction like the scores; None where one of the five is missing."""
    if not all(game in human_normalized for game in ATARI_5):
        return None
    power = sum(weight * math.log10(1 + max(100 * human_normalized[game], 0)) for game, weight in ATARI_5.items())
    return float(10**power - 1) / 100


def summary(results: Sequence[Mapping[str, Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """By game the runs and means over seeds, and what the games are together."""
    games: dict[str, Any] = {}
    for result in results:
        games.setdefault(result["env_id"], {"runs": []})["runs"].append(result)
    for game in games.values():
        scores = [run["score"] for run in game["runs"]]
        game["mean_return"] = statistics.fmean(score["mean_return"] for score in scores)
        human = [score["human_normalized"] for score in scores]
        game["human_normalized"] = None if None in human else statistics.fmean(human)
    normalized = {game: found["human_normalized"] for game, found in games.items()}
    normalized = {game: score for game, score in normalized.items() if score is not None}
    return {
        "games": games,
        "human_normalized_median": statistics.median(normalized.values()) if normalized else None,
        "atari_5_median": atari_5_median(normalized),
        "training_minutes": sum(result["training_seconds"] for result in results) / 60,
        "settings": dict(given),
    }


def draw(runs: Sequence[Run], results: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Learning curves, a panel a game, and the evaluations as dots."""
    from a3c_fast import metrics
    from bench.plots import panels

    curves: dict[str, list[list[dict[str, float]]]] = {}
    for run in runs:
        lines = [line for line in metrics.read(run.directory) if line.get("mean_return_100") is not None]
        curves.setdefault(run.config.env_id, []).append(lines)
    dots: dict[str, list[dict[str, float]]] = {}
    for result in results:
        point = {"step": result["step"], "mean_return": result["score"]["mean_return"]}
        dots.setdefault(result["env_id"], []).append(point)
    panels(curves, dots, {game: SCORES[game][1] for game in curves if game in SCORES}, path)


def progress(runs: Sequence[Run], episodes: int, failed: list[Run]) -> Iterator[list[dict[str, Any]]]:
    """The results that there are, before the first run and after each one. Runs that fail are added to `failed`."""
    results = {run: run.result(episodes) for run in runs}
    yield [found for found in results.values() if found is not None]
    for run in runs:
        if results[run] is not None:
            continue
        print(f"{run.directory.name}: trains to {run.config.total_steps:,} steps", file=sys.stderr, flush=True)
        try:
            results[run] = train_and_evaluate(run, episodes)
        except RuntimeError as error:
            print(f"{run.directory.name}: {error}", file=sys.stderr, flush=True)
            failed.append(run)
        yield [found for found in results.values() if found is not None]


def in_words(found: Mapping[str, Any]) -> str:
    lines = []
    for game, of_game in found["games"].items():
        each = ", ".join(f"{run['score']['mean_return']:,.1f}" for run in of_game["runs"])
        human = of_game["human_normalized"]
        lines.append(f"{game}: {each}" + ("" if human is None else f", {human:.0%} of human"))
    if found["atari_5_median"] is not None:
        lines.append(f"median of 57 games as Atari-5 predicts it: {found['atari_5_median']:.0%} of human")
    return "\n".join(lines)


@errors_in_one_sentence()
def main() -> None:
    """The command. Exit status 130 where it was stopped on the way, 1 where a run failed."""
    sets = {"env_id": "has --games", "run_dir": "has --output"}
    args, given = parse_beside_training(Arguments, "python -m bench.suite", sets=sets)
    check_positive(args, "seeds", "episodes")
    args = dataclasses.replace(args, output=args.output.expanduser())
    if not args.games:
        raise ConfigError("games", args.games, "there must be at least one")
    runs = runs_of(args, given)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)
    failed: list[Run] = []
    found = summary([], given)
    try:
        for results in progress(runs, args.episodes, failed):
            found = summary(results, given)
            if results:
                _write(args.output / "suite.json", found)
                draw(runs, results, args.output / "suite.png")
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(json_module.dumps(found) if args.json else in_words(found))
    if failed:
        raise RuntimeError(f"{len(failed)} of {len(runs)} runs failed; the same command tries them again")


if __name__ == "__main__":
    main()
