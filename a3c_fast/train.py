"""`a3c-fast train`: trains an agent with the settings of `Config` as flags.

Exit status: 0 done, also when nothing was left to do; 2 a setting or checkpoint that cannot be; 130, 143, 129 or 138
after SIGINT, SIGTERM, SIGHUP or SIGUSR1, everything saved; 1 anything else. A second signal leaves at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

from a3c_fast.errors import CheckpointError, ConfigError, WorkerError
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.signals import Signals
from a3c_fast.values import words

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.config_files import Kind
    from a3c_fast.stored_run import StoredRun
    from a3c_fast.trainer import Trainer

_PROGRAM = "a3c-fast train"
_OF_FILES = ("run_dir", "resume")
_MOST_STEPS = 2**62  # that total_steps may be


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Ends with `SystemExit`.

    With `arguments` it is part of a program: signal handlers are put back at the end, a second signal goes to the
    program's own handler instead of ending the process, and warnings are shown the program's way. In a thread other
    than the main one signals are the program's alone.
    """
    of_process = arguments is None
    output = Output(waits=False)
    if of_process:
        occupy_standard_files()
    try:
        showing_warnings = output.warnings_in_one_line() if of_process else contextlib.nullcontext()
        with Signals(of_process=of_process) as signals, showing_warnings:
            status, at_once = _main(sys.argv[1:] if arguments is None else words(arguments), output, signals)
    finally:
        if of_process:
            let_go_of_what_is_unwritten()
    if at_once and of_process:  # a worker may never come back, and the interpreter would wait for it
        os._exit(status)
    raise SystemExit(status)


def _main(arguments: list[str], output: Output, signals: Signals) -> tuple[int, bool]:
    """The exit status, and whether the process should be left without waiting for threads."""
    from a3c_fast.cli import EXIT_BAD_CONFIG, EXIT_FAILED, fail
    from a3c_fast.hosts import Hosts, HostsError, NothingLeft

    hosts: Hosts | None = None
    try:
        hosts = Hosts.of_launcher()
        config, stored, print_as = _configure(arguments, _PROGRAM, keeps_files=hosts is None or hosts.is_first)
        if print_as is not None:
            from a3c_fast.config_files import text_of

            output.say(text_of(config, print_as).rstrip("\n"))
            return 0, False
        if stored is not None and (reason := stored.nothing_left(config)) is not None:
            output.say(f"{reason}, and nothing is left to do")
            _tell_how_to_go_on(output, config, vars(stored.checkpoint))
            if hosts is not None:
                hosts.dismiss(config, reason)
            return 0, False
        from a3c_fast.trainer import Trainer

        trainer = Trainer(config, hosts=hosts)
    except NothingLeft as reason_of_first:
        output.say(f"{reason_of_first}, and nothing is left to do")
        return 0, False
    except (ConfigError, CheckpointError) as error:
        fail(EXIT_BAD_CONFIG, error)
    except (ImportError, MemoryError, RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)

    try:
        with trainer:
            signals.watch_over(trainer)
            _announce(output, trainer)
            _train(trainer, output, signals)
            final = trainer.stats()
    except NothingLeft as reason_of_first:  # just when this host was about to begin
        output.say(f"{reason_of_first}, and nothing is left to do")
        return 0, False
    except WorkerError as error:
        output.complain("; ".join(map(str, (f"error: {error}", *getattr(error, "__notes__", ())))))
        return EXIT_FAILED, True
    except HostsError as error:
        if signals.received is not None:
            output.say(f"stopped by {signal.Signals(signals.received).name}: {error}")
            return 128 + signals.received, True
        output.complain(f"error: {error}")
        return EXIT_FAILED, True
    except (RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)
    leaves = hosts is not None and hosts.leaves_something
    if signals.received is not None:
        name = signal.Signals(signals.received).name
        if trainer.config.run_dir is None:
            was_alone = hosts is None or hosts.stats.hosts == 1
            where = (
                "no other host was left to take what was learned"
                if was_alone
                else "the other hosts have what was learned"
            )
            output.say(f"stopped by {name} at step {final['step']:,}: {where}")
        else:
            output.say(f"stopped by {name} at step {final['step']:,}: everything is saved")
            _tell_how_to_go_on(output, trainer.config, final)
        return 128 + signals.received, leaves
    if hosts is None or not hosts.was_aborted:
        output.say(_summary(final, trainer.config))
    if hosts is not None and not hosts.is_first:
        if hosts.was_aborted:
            output.complain("error: rank 0 has ended the run before it had all its steps")
            return EXIT_FAILED, leaves
        return 0, leaves
    _tell_how_to_go_on(output, trainer.config, final)
    return 0, leaves


@dataclass(frozen=True)
class FileFlags:
    """Flags that are no settings."""

    config: Path | None = None
    """Take settings from this file: TOML (.toml), YAML (.yaml, .yml), or the directory of another run, of which
    it takes what differs from the defaults. Flags go before it."""
    print_config: Literal["toml", "yaml"] | None = None
    """Print the settings that would be used, all of them, as a file for --config, and begin nothing."""


class _Begin(NamedTuple):
    config: Config
    stored: StoredRun | None
    print_as: Kind | None


def configure(arguments: Sequence[str], prog: str = _PROGRAM) -> Config:
    """The flags over a file's settings, over the defaults of the environment, or over those of the run that goes on."""
    return _configure(arguments, prog).config


def _configure(arguments: Sequence[str], prog: str, *, keeps_files: bool = True) -> _Begin:
    from a3c_fast import cli, config_files, values
    from a3c_fast.config import Config
    from a3c_fast.paths import shown

    given = cli.said(Config, arguments, prog=prog, beside=FileFlags)
    wants_help = given.pop("help", False)
    if not keeps_files:  # rank 0 does, and says what the run is that goes on
        given = {name: value for name, value in given.items() if name not in _OF_FILES}
    print_as = given.pop("print_config", None)
    place = given.pop("config", None)
    if print_as not in (None, "toml", "yaml"):
        raise ConfigError("print_config", print_as, "it must be toml or yaml")
    in_file: dict[str, Any] = {}
    source = "" if place is None else shown(Path(place))
    if place is not None:
        if not place:
            raise ConfigError("config", place, "it must be the path of a file")
        in_file = config_files.read(Path(place).expanduser())
        if not keeps_files:
            in_file = {name: value for name, value in in_file.items() if name not in _OF_FILES}
    asked = in_file | given
    stored = None
    if asked.get("resume") and isinstance(run_dir := values.path(asked.get("run_dir")), Path):
        from a3c_fast.stored_run import StoredRun

        stored = StoredRun.read(run_dir)
        with config_files.named_in(source, in_file.keys() - given.keys()):
            stored.refuse_contradictions(asked)
    run = None if stored is None else stored.config
    if wants_help:
        _show_help(given, in_file, source, run, prog)
    config = Config.merged(given, file=in_file, source=source, stored=run)
    if config.run_dir is None and print_as is None and keeps_files:
        name = (
            f"{re.sub(r'[^A-Za-z0-9_.-]', '-', config.env_id)}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        )
        config = config.replace(run_dir=Path("runs") / name)
    return _Begin(config, stored, print_as)


def _show_help(
    given: Mapping[str, Any], in_file: Mapping[str, Any], source: str, run: Config | None, prog: str
) -> NoReturn:
    from a3c_fast import cli
    from a3c_fast.config import DEFAULTS_DEPEND_ON, Config
    from a3c_fast.groups import GROUPS

    depended_on = {name: given[name] for name in DEFAULTS_DEPEND_ON if name in given}
    default = Config.merged(depended_on, file=in_file, source=source, stored=run)
    what = (
        "Trains an agent with asynchronous advantage actor-critic. Every setting has a flag, and defaults are those of "
        f"the environment: here of {default.env_id}"
        + (f", with the settings of {source}" if source else "")
        + (", of the run that goes on" if run is not None else "")
        + ". Numbers may be written 1e6 or 1_000_000."
    )
    cli.show_help(Config, prog=prog, default=default, beside=FileFlags(), groups=GROUPS, about=what)


def _announce(output: Output, trainer: Trainer) -> None:
    from a3c_fast.envs.processes import where_stepped
    from a3c_fast.machine import cores
    from a3c_fast.paths import shown
    from a3c_fast.schedules import checked

    c = trainer.config
    rate = checked(c.schedules).get("learning_rate") or f"{c.learning_rate:g}"
    size = sum(value.numel() for value in trainer.policy().parameters() if value.requires_grad)
    run_dir = "" if c.run_dir is None else shown(c.run_dir)
    how = {
        "new": f"starts in {run_dir}",
        "restarted": f"begins again in {run_dir}, since the run there had no checkpoint yet",
        "resumed": f"goes on from step {trainer.stats()['step']:,} in {run_dir}",
    }[trainer.kind]
    if trainer.hosts is not None:
        how = f"on {trainer.hosts.launch}" + (f" {how}" if trainer.hosts.is_first else "")
    stepped = {"gymnasium": f"in a {where_stepped(c.env_id)} of their own", "fake": "of its own"}
    output.say(
        f"{c.env_id} {how}: {_number(c.num_workers, 'worker')} on {_number(cores(), 'core')}, each with "
        f"{_number(c.envs_per_worker, 'environment')} {stepped.get(c.family, 'and one EnvPool thread for them')}, "
        f"{c.network or c.model} network with {size:,} parameters "
        f"on {trainer.isa} kernels, {c.optimizer} {rate}, seed {c.seed}, to step {c.total_steps:,}"
    )


def _number(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"


def _train(trainer: Trainer, output: Output, signals: Signals) -> None:
    """Runs to the end."""
    from a3c_fast.progress import Progress

    told = len(trainer.evaluations)

    def tell_evaluations() -> None:
        nonlocal told
        for line in trainer.evaluations[told:]:
            told += 1
            output.say(
                f"evaluation at step {line['step']:,}: mean return {line['mean_return']:.2f} of "
                f"{_number(line['episodes'], 'episode')}{', the best so far' if line['best'] else ''}"
            )

    with Progress(output, trainer.config, trainer.stats()) as progress:

        def watch() -> None:
            if signals.received is not None:  # before the workers started, it may be
                trainer.request_stop()
            tell_evaluations()
            progress.show(trainer.stats())

        trainer.run(watch=watch)
        tell_evaluations()
        progress.end(trainer.stats())


def _summary(line: Mapping[str, Any], config: Config) -> str:
    from a3c_fast.paths import shown

    saved = "rank 0 has it" if config.run_dir is None else f"saved in {shown(config.run_dir)}"
    mean = "none finished" if line["mean_return_100"] is None else f"{line['mean_return_100']:.2f}"
    return (
        f"done: {line['step']:,} steps ({line['frames']:,} frames) in {line['wall_seconds']:.1f} s of training, "
        f"{line['episodes']:,} episodes, mean return of the last 100: {mean}; {saved}"
    )


def _tell_how_to_go_on(output: Output, config: Config, line: Mapping[str, Any]) -> None:
    """The commands that go on with a run and that evaluate it; `line` has its `step` and `wall_seconds`."""
    from a3c_fast.evaluation_log import reached
    from a3c_fast.evaluation_log import read as read_evaluations
    from a3c_fast.paths import shown

    assert config.run_dir is not None
    run_dir = shown(config.run_dir)
    further: list[str] = []
    if line["step"] >= config.total_steps:
        further = ["--total-steps", str(min(2 * max(config.total_steps, line["step"]), _MOST_STEPS))]
    if config.max_minutes and line["wall_seconds"] >= 60 * config.max_minutes:
        further += ["--max-minutes", f"{2 * max(config.max_minutes, line['wall_seconds'] / 60):.6g}"]
    mean = line.get("mean_return_100")
    if config.stop_at_return is not None and mean is not None and mean >= config.stop_at_return:
        further += ["--stop-at-return", "None"]
    limit = reached(config, read_evaluations(config.run_dir)) if config.evaluate_every else None
    if limit == "stop_at_evaluation":
        further += ["--stop-at-evaluation", "None"]
    if limit == "evaluate_patience":
        further += ["--evaluate-patience", "0"]
    output.say(f"to go on:    {_command('train', '--run-dir', run_dir, '--resume', *further)}")
    output.say(f"to evaluate: {_command('evaluate', run_dir)}")


def _command(name: str, *arguments: str) -> str:
    return shlex.join(["a3c-fast", name, *arguments])


if __name__ == "__main__":
    main()
