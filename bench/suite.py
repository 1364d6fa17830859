"""`python -m bench.suite --output DIR`: what one set of settings scores on a list of games, several seeds each.

Each game and seed is a run directory below DIR, trained by `a3c-fast train` to the end of `--total-steps` and then
played by `a3c-fast evaluate`, one after the other. The same command goes on where it was stopped. After each run
DIR/suite.json says what there is by then and DIR/suite.png draws it. Every other flag is one of `a3c-fast train`, the
same for all games.
"""

from __future__ import annotations

import dataclasses
import json as json_module
import math
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from a3c_fast.human_scores import SCORES
from bench.command import check_positive, errors_in_one_sentence, parse_with_training
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
_OF_ONE_RUN = ("env_id", "seed", "run_dir")


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

    @property
    def result_file(self) -> Path:
        return self.directory / "suite_run.json"

    def result(self, episodes: int) -> dict[str, Any] | None:
        """What is known of it; None where it is not finished and evaluated with so many episodes."""
        try:
            found: dict[str, Any] = json_module.loads(self.result_file.read_text())
        except FileNotFoundError:
            return None
        return found if found["score"]["episodes"] == episodes and found["step"] >= self.config.total_steps else None


def runs_of(args: Arguments, config: Config) -> list[Run]:
    """Every seed of the first game, then of the next: half of a suite has whole games.

    Raises `ConfigError` for a game that cannot be trained, and for a run that is there with other settings.
    """
    runs = []
    for game in args.games:
        for seed in range(config.seed, config.seed + args.seeds):
            name = f"{game.replace(':', '_').replace('/', '_')}_seed_{seed}"
            runs.append(Run(config.replace(env_id=game, seed=seed, run_dir=args.output / name)))
    for run in runs:
        _refuse_another(run)
    return runs


def _refuse_another(run: Run) -> None:
    from a3c_fast.stored_run import StoredRun

    stored = StoredRun.read(run.directory).config
    if stored is None:
        return
    measured = {"observation_offset", "observation_scale", "num_workers"}  # `auto` and 0 until the run begins
    of_one_command = {"run_dir", "resume"}
    for field in dataclasses.fields(Config):
        theirs, ours = getattr(stored, field.name), getattr(run.config, field.name)
        if theirs != ours and field.name not in of_one_command and not (field.name in measured and ours in ("auto", 0)):
            raise ConfigError(
                field.name,
                ours,
                f"{run.directory} was made with {theirs!r}: other settings need another --output",
            )


def train_and_evaluate(run: Run, episodes: int) -> dict[str, Any]:
    """Trains to the end, from where the run stands, and evaluates; keeps the result beside it."""
    from a3c_fast import metrics

    run.directory.parent.mkdir(parents=True, exist_ok=True)
    settings = run.directory.with_suffix(".toml")
    settings.unlink(missing_ok=True)
    run.config.to_file(settings)
    energy = Energy()
    begins_anew = not metrics.read(run.directory)
    _call("a3c_fast.train", "--config", str(settings), "--resume")
    settings.unlink()
    joules = energy.joules() if begins_anew else None
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
    }
    written = run.result_file.with_suffix(".tmp")
    written.write_text(json_module.dumps(result) + "\n")
    written.replace(run.result_file)
    return result


def _call(module: str, *arguments: str) -> str:
    """A command, to its end; what it printed. Raises `KeyboardInterrupt` where it was stopped by a signal."""
    # In a session of its own Ctrl-C does not reach it but through us: the second signal would leave at once.
    command = [sys.executable, "-m", module, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        written, _ = process.communicate()
    except BaseException:
        process.send_signal(signal.SIGINT)
        process.communicate()  # until all is saved
        raise
    if process.returncode > 128 or process.returncode < 0:
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


def summary(results: Sequence[Mapping[str, Any]], config: Config, facts: Mapping[str, Any]) -> dict[str, Any]:
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
        "config": {
            name: value for name, value in config.to_json().items() if name not in ("env_id", "seed", "run_dir")
        },
        "machine": facts,
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


def progress(runs: Sequence[Run], episodes: int) -> Iterator[list[dict[str, Any]]]:
    """The results that there are, before the first run and after each one."""
    results = [found for run in runs if (found := run.result(episodes)) is not None]
    yield results
    for run in runs:
        if run.result(episodes) is None:
            print(f"{run.directory.name}: trains to {run.config.total_steps:,} steps", file=sys.stderr, flush=True)
            results = [*results, train_and_evaluate(run, episodes)]
            yield results


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
    """The command. Exit status 130 where it was stopped on the way."""
    args, config = parse_with_training(Arguments, "python -m bench.suite", sets=("env_id",))
    check_positive(args, "seeds", "episodes")
    if not args.games:
        raise ConfigError("games", args.games, "there must be at least one")
    runs = runs_of(args, config)
    facts, found = machine(), {}
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for results in progress(runs, args.episodes):
            found = summary(results, runs[0].config, facts)
            if results:
                (args.output / "suite.json").write_text(json_module.dumps(found) + "\n")
                draw(runs, results, args.output / "suite.png")
    except KeyboardInterrupt:
        print("stopped: the same command goes on from here", file=sys.stderr)
        raise SystemExit(130) from None
    print(json_module.dumps(found) if args.json else in_words(found))


if __name__ == "__main__":
    main()
