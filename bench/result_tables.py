"""The tables of README.md and docs/results.md: what each kind of table takes from the files of bench/results.

A function here is a `kind` of bench/results/index.toml: it takes the entry of a table there and gives header and rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

RESULTS = Path(__file__).parent / "results"

Entry = Mapping[str, Any]
Table = tuple[Sequence[str], Sequence[Sequence[str]]]


def read(name: str) -> dict[str, Any]:
    """A JSON file of bench/results, by its path from there."""
    content: dict[str, Any] = json.loads((RESULTS / name).read_text())
    return content


def read_lines(name: str) -> list[dict[str, Any]]:
    """A file of one JSON object a line."""
    return [json.loads(line) for line in (RESULTS / name).read_text().splitlines()]


def number(value: float, digits: int = 0) -> str:
    """With commas; a score that is no whole number below 100 may have `digits`."""
    text = f"{value:,.{digits}f}"
    return "0" if text in ("-0", "-0.0", "-0.00") else text


def scores_of(values: Sequence[float]) -> list[str]:
    """Returns, all with as many digits: two of shares, one of small ones, none of whole and of large ones."""
    largest = max(abs(value) for value in values)
    whole = all(value == round(value) for value in values)
    return [number(value, 0 if whole or largest >= 100 else 2 if largest < 1.5 else 1) for value in values]


def score(value: float) -> str:
    return scores_of([value])[0]


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{number(min(values), digits)} to {number(max(values), digits)}"


def linked(names: str | Sequence[str]) -> str:
    """The files or directories of a row; `{results}` becomes the way to bench/results from the page."""
    names = [names] if isinstance(names, str) else names
    return ", ".join(f"[`{Path(name).name.removesuffix('.json')}`]({{results}}/{name})" for name in names)


def throughput(entry: Entry) -> Table:
    """Files of bench.throughput."""
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        rows.append(
            (
                row["label"],
                number(found["train_steps_per_second"]),
                number(found["ceiling_steps_per_second"]),
                f"**{found['ratio']:.2f}** ({spread(found['rounds']['ratio'])})",
                linked(row["file"]),
            )
        )
    return ("", "training, steps/s", "ceiling, steps/s", "ratio", "file"), rows


def turns(entry: Entry) -> Table:
    """Files of several runs of bench.throughput in turns, one a line: the runs that have all that `where` says.

    It names a value, or a list of those that may be.
    """

    def is_of(line: Mapping[str, Any], where: Mapping[str, Any]) -> bool:
        said = {**line.get("config", {}), **line}
        return all(said.get(name) in (value if isinstance(value, list) else [value]) for name, value in where.items())

    rows = []
    for row in entry["rows"]:
        found = [line for line in read_lines(row["file"]) if is_of(line, row["where"])]
        assert found, row
        ratios = ", ".join(f"{line['ratio']:.2f}" for line in found)
        rates = ", ".join(number(line["train_steps_per_second"]) for line in found)
        rows.append((row["label"], rates, ratios, linked(row["file"])))
    return ("", "training, steps/s, each run", "ratio, each run", "file"), rows


def stages(entry: Entry) -> Table:
    """Files of bench.stages: a worker's microseconds a step, and those of them that pass while emulators run."""
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        whole = found["sum_of_stages"]
        emulators = sum(found["microseconds_per_step"].get(name, 0.0) for name in ("send", "wait_for_environment"))
        figures = [number(value, 0 if whole >= 100 else 1) for value in (whole, emulators, whole - emulators)]
        rows.append((row["label"], *figures, linked(row["file"])))
    return ("", "a worker's us a step", "while emulators run", "all the rest", "file"), rows


def rates(entry: Entry) -> Table:
    """A file with the rounds of several programs; how many times as fast the one is that another goes `against`."""
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        ours = row.get("against")
        times = ""
        if ours:
            of_rounds = zip(found["rounds"][ours], found["rounds"][row["name"]], strict=True)
            times = f"**{median(a / b for a, b in of_rounds):.1f} times**"
        rows.append((row["label"], number(found["steps_per_second"][row["name"]]), times, linked(row["file"])))
    return ("", "training, steps/s", "a3c_fast is", "file"), rows


def scaling(entry: Entry) -> Table:
    """Files of bench.scaling: a row for each number of workers."""
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        for workers, rate in found["steps_per_second"].items():
            label = f"{row['label']}, {workers} worker{'s' if workers != '1' else ''}"
            rows.append((label, number(rate), f"{found['speedup'][workers]:.2f}", linked(row["file"])))
    return ("", "training, steps/s", "times one worker", "file"), rows


def updates(entry: Entry) -> Table:
    """A file of bench.updates: a row for each number of workers."""
    found = read(entry["file"])
    rows = []
    for workers, steps in found["steps_per_second"].items():
        made, possible = (found[name][workers] for name in ("updates_per_second", "updates_alone_per_second"))
        rows.append((workers, *map(number, (steps, made, possible)), f"{100 * made / possible:.1f} %"))
    return ("workers", "training, steps/s", "updates/s", "that are possible", "share"), rows


def big_machine(entry: Entry) -> Table:
    """The model of a file of bench.updates: a row for each number of cores."""
    model = read(entry["file"])["model"]["cores"]
    return ("cores", "efficiency", "GB/s"), [
        (cores, f"{row['efficiency']:.2f}", number(row["gigabytes_a_second"], 1)) for cores, row in model.items()
    ]


def hosts(entry: Entry) -> Table:
    """Files of bench.hosts score: a row for each number of hosts; times are compared with those of the file `alone`."""
    alone = read(entry["alone"])["median_seconds"]["1"]
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        runs = found["runs"][row["hosts"]]
        seconds, steps = [run["seconds"] for run in runs], [run["step"] for run in runs]
        rate = number(median(step / second for step, second in zip(steps, seconds, strict=True)))
        exchanges = [one for run in runs for one in run["exchanges"] if one["exchanges"]]
        figures = ["", "", ""]
        if exchanges:
            each, share, sent = (
                median(one[name] for one in exchanges)
                for name in ("seconds_each", "cpu_share_of_a_core", "sent_bytes_a_second")
            )
            figures = [f"{1e3 * each:.0f}", f"{100 * share:.1f} %", f"{sent / 1e6:.1f}"]
        times = ", ".join(map(number, seconds))
        of_one = f"**{median(seconds) / alone:.2f}**"
        reached = "" if all(run["reached"] for run in runs) else " (not reached)"
        rows.append((row["label"] + reached, times, of_one, number(median(steps)), rate, *figures, linked(row["file"])))
    columns = ("seconds to the score", "of one host's", "steps", "steps/s", "an exchange, ms", "of a core", "MB/s sent")
    return ("", *columns, "file"), rows


def time_to_score(entry: Entry) -> Table:
    """Files of bench.time_to_score: a row for each, of all its seeds; seconds where `unit` says so."""
    unit = entry.get("unit", "minutes")
    rows = []
    for row in entry["rows"]:
        files = row["file"] if isinstance(row["file"], list) else [row["file"]]
        runs = [run for name in files for run in read(name)["runs"]]
        assert all(run["reached"] for run in runs), row
        times = [run["wall_seconds"] / (60 if unit == "minutes" else 1) for run in runs]
        steps = [run["steps"] for run in runs]
        rows.append(
            (
                row["label"],
                f"**{median(times):.1f}**" if len(times) > 1 else "",
                ", ".join(f"{value:.1f}" for value in times),
                ", ".join(number(value) for value in steps),
                ", ".join(scores_of([run["final_return"] for run in runs])),
                linked(files),
            )
        )
    return ("", f"{unit}, median", f"{unit}, each seed", "agent steps", "mean return", "file"), rows


def games(entry: Entry) -> Table:
    """Run directories of training, evaluated; beside them what others have published, by the columns of `others`."""
    others: Mapping[str, str] = entry.get("others", {})
    rows = []
    for row in entry["rows"]:
        found = read(f"{row['run']}/evaluation.json")
        last = read_lines(f"{row['run']}/metrics.jsonl")[-1]
        human = found.get("human_normalized")
        rows.append(
            (
                row["label"],
                "**{}** ({} to {})".format(*scores_of([found[f"{name}_return"] for name in ("mean", "min", "max")])),
                "" if human is None else f"{human:.2f}",
                *(score(row[key]) if key in row else "" for key in others),
                f"{last['wall_seconds'] / 60:.0f}",
                linked(row["run"]),
            )
        )
    return ("", "a3c_fast", "of human", *others.values(), "minutes", "file"), rows


def games_in_training(entry: Entry) -> Table:
    """The same runs as they ended: their last 100 training episodes, beside what others say of theirs."""
    others: Mapping[str, str] = entry["others"]
    rows = []
    for row in entry["rows"]:
        last = read_lines(f"{row['run']}/metrics.jsonl")[-1]
        theirs = (score(row[key]) if key in row else "" for key in others)
        rows.append((row["label"], f"**{score(last['mean_return_100'])}**", *theirs, linked(row["run"])))
    return ("", "a3c_fast", *others.values(), "file"), rows


def scores(entry: Entry) -> Table:
    """Files of bench.scores: the greedy means of all seeds; `once` is A3C alone."""
    others: Mapping[str, str] = entry.get("others", {})
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        greedy = [run["greedy"]["mean_return"] for run in found["runs"]]
        sampled = [run["sampled"]["mean_return"] for run in found["runs"]]
        seconds = [run["training_seconds"] for run in found["runs"]]
        alone = score(read(row["once"])["greedy"]) if "once" in row else ""
        middle, least, most = scores_of([mean(greedy), min(greedy), max(greedy)])
        ours = middle if len(greedy) == 1 else f"{middle} ({least} to {most})"
        rows.append(
            (
                row["label"],
                f"{ours}, {len(greedy)} seed{'s' if len(greedy) > 1 else ''}",
                score(mean(sampled)),
                *((alone,) if entry.get("has_once") else ()),
                *(number(row[key]) if key in row else "" for key in others),
                f"{min(seconds):.0f} to {max(seconds):.0f}" if len(seconds) > 1 else f"{seconds[0]:.0f}",
                linked([row["file"], *([row["once"]] if "once" in row else [])]),
            )
        )
    once = ("A3C alone",) if entry.get("has_once") else ()
    return ("", "greedy", "sampled", *once, *others.values(), "training, seconds", "file"), rows


def dqn(entry: Entry) -> Table:
    """A file of bench.dqn."""
    found = read(entry["file"])["agents"]
    rows = []
    for key, label in (("a3c", "a3c_fast"), ("dqn", "Stable-Baselines3's DQN")):
        agent = found[key]
        figures = (score(agent["final_return"]), number(agent["steps"]), f"{number(agent['peak_memory_mib'])} MiB")
        rows.append((label, *figures, linked(entry["file"])))
    return ("", "mean return", "agent steps", "peak memory", "file"), rows


_VECTOR = {
    "gymnasium sync": "SyncVectorEnv",
    "gymnasium async": "AsyncVectorEnv",
    "SB3 subproc": "SubprocVecEnv",
    "PufferLib": "PufferLib",
    "in process": "in-process",
    "alone": "processes alone",
}


def vector(entry: Entry) -> Table:
    """Files of bench.vector."""
    rows = []
    for row in entry["rows"]:
        found = read(row["file"])
        times = [
            f"{found['ratio'][key]:.{2 if key == 'alone' else 1}f}" if key in found["ratio"] else "" for key in _VECTOR
        ]
        rate = number(found["steps_per_second"]["a3c_fast"])
        cells = (row["label"], str(found["num_envs"]), rate, *times, f"{found['training_share']:.2f}")
        rows.append((*cells, linked(row["file"])))
    return ("", "K", "steps/s", *_VECTOR.values(), "training's share", "file"), rows


def soak(entry: Entry) -> Table:
    """Files of bench.soak: what was done to how many runs, and what broke."""
    rows = []
    for row in entry["rows"]:
        name = row["file"]
        found = [read(name)] if name.endswith(".json") else read_lines(name)
        broken = sum(len(one["broken"]) for one in found)
        minutes = sum(one["seconds"] for one in found) / 60
        rows.append((row["label"], str(broken) if broken else "nothing", f"{minutes:.0f}", linked(name)))
    return ("what was done", "what broke", "minutes", "file"), rows


KINDS: Mapping[str, Callable[[Entry], Table]] = {
    kind.__name__: kind
    for kind in (
        *(throughput, turns, stages, rates, scaling, updates, big_machine, hosts),
        *(time_to_score, games, games_in_training, scores, dqn, vector, soak),
    )
}
