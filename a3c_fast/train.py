"""`python -m a3c_fast.train`: trains an agent with the settings of `Config` as flags.

Exit status: 0 done; 2 a setting or checkpoint that cannot be; 130 or 143 after SIGINT or SIGTERM, everything saved;
1 anything else. A second signal leaves at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.trainer import Trainer

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Signals:
    """The first signal asks the run to end; the second, or one before there is a run, leaves the process at once.

    An exception instead could get lost in the middle of an import, or come out of it as one of another kind.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.trainer: Trainer | None = None
        for number in _SIGNALS:
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.trainer is None:
            with contextlib.suppress(OSError):  # standard error may be closed
                os.write(2, b"interrupted before the run began: nothing to save\n")
        if self.trainer is None or self.received is not None:
            os._exit(128 + number)
        self.received = number
        with contextlib.suppress(RuntimeError):  # it may be closed already
            self.trainer.request_stop()


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Ends with `SystemExit`."""
    raise SystemExit(_main(sys.argv[1:] if arguments is None else list(arguments), _Signals()))


def _main(arguments: list[str], signals: _Signals) -> int:
    from a3c_fast.cli import EXIT_BAD_CONFIG, EXIT_FAILED, fail
    from a3c_fast.errors import CheckpointError, ConfigError, WorkerError

    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    try:
        config = configure(arguments)
        from a3c_fast.trainer import Trainer

        trainer = Trainer(config)
    except (ConfigError, CheckpointError) as error:
        fail(EXIT_BAD_CONFIG, error)
    except (ImportError, MemoryError, RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)

    try:
        with trainer:
            signals.trainer = trainer
            _announce(trainer)
            _train(trainer, signals)
            final = trainer.stats()
    except WorkerError as error:
        print(f"error: {error}", *getattr(error, "__notes__", ()), sep="; ", file=sys.stderr)
        _leave(EXIT_FAILED)
    except (RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)
    if signals.received is not None:
        print(f"stopped by {signal.Signals(signals.received).name} at step {final['step']:,}: everything is saved")
        return 128 + signals.received
    print(_summary(final, trainer.config.run_dir))
    return 0


def configure(arguments: list[str], prog: str = "python -m a3c_fast.train") -> Config:
    """The flags over the defaults of the environment they name, or over those of the run that goes on."""
    import json

    from a3c_fast.cli import parse, value_of
    from a3c_fast.config import Config
    from a3c_fast.errors import CheckpointError, ConfigError

    run_dir = value_of(arguments, "run-dir")
    if "--resume" in arguments and run_dir is not None:
        path = Path(run_dir) / "config.json"
        try:
            stored = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} cannot be read, so there is no run to go on with: {error}") from error
        default = Config.from_json(stored)
    else:
        defaults: dict[str, Any] = {}
        for name in ("env_id", "preset", "update_epochs", "envs_per_worker"):  # what the other defaults depend on
            value = value_of(arguments, name.replace("_", "-"))
            if value is None:
                continue
            defaults[name] = value
            if name in ("update_epochs", "envs_per_worker"):
                with contextlib.suppress(ValueError):
                    defaults[name] = int(value)
        default = Config(**defaults)
    for name in ("env_id", "preset"):  # before other settings are judged by the wrong ones
        value, made_with = value_of(arguments, name.replace("_", "-")), getattr(default, name)
        if value is not None and value != made_with:
            raise ConfigError(name, value, f"the run in {run_dir} was made with {made_with!r} and goes on with it")
    config = parse(Config, arguments, prog=prog, default=default)
    if config.run_dir is not None:
        return config
    import dataclasses

    name = f"{config.env_id.replace('/', '-')}-{time.strftime('%Y%m%d-%H%M%S')}"
    return dataclasses.replace(config, run_dir=Path("runs") / name)


def _announce(trainer: Trainer) -> None:
    c = trainer.config
    size = sum(value.numel() for value in trainer.state_dict().values())
    begin = trainer.stats()["step"]
    print(
        f"{c.env_id}: {c.num_workers} workers on {len(os.sched_getaffinity(0))} cores, each with {c.envs_per_worker} "
        f"environments and one EnvPool thread for them, {c.model} network with {size:,} "
        f"parameters on {trainer.isa} kernels, {c.optimizer} {c.learning_rate:g}, seed {c.seed}, "
        f"{'from step ' + format(begin, ',') + ' ' if begin else ''}to step {c.total_steps:,}, in {c.run_dir}",
        flush=True,
    )


def _train(trainer: Trainer, signals: _Signals) -> None:
    """Runs to the end, with a line of progress where somebody can see it."""

    def end_if_asked() -> None:  # before the workers started, it may be
        if signals.received is not None:
            trainer.request_stop()

    if not sys.stdout.isatty():
        trainer.run(watch=end_if_asked)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.completed:>11,.0f} steps"),
        BarColumn(),
        TextColumn("{task.fields[rate]:>7,.0f} steps/s   return {task.fields[mean]}   {task.fields[left]} left"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, refresh_per_second=4) as progress:
        task = progress.add_task("", total=trainer.config.total_steps, rate=0, mean="-", left="-")

        def watch() -> None:
            end_if_asked()
            _show(trainer, progress, task)

        trainer.run(watch=watch)
        _show(trainer, progress, task)


def _show(trainer: Trainer, progress: Any, task: Any) -> None:
    line = trainer.stats()
    mean = "-" if line["mean_return_100"] is None else f"{line['mean_return_100']:.1f}"
    progress.update(
        task, completed=line["step"], rate=line["steps_per_second"], mean=mean, left=_time_left(trainer.config, line)
    )


def _time_left(config: Config, line: dict[str, Any]) -> str:
    if line["steps_per_second"] <= 0:
        return "-"
    seconds = max(0.0, config.total_steps - line["step"]) / line["steps_per_second"]
    if config.max_minutes:
        seconds = min(seconds, max(0.0, config.max_minutes * 60 - line["wall_seconds"]))
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}"


def _summary(line: dict[str, Any], run_dir: Path | None) -> str:
    mean = "none finished" if line["mean_return_100"] is None else f"{line['mean_return_100']:.2f}"
    return (
        f"done: {line['step']:,} steps ({line['frames']:,} frames) in {line['wall_seconds']:.1f} s of training, "
        f"{line['episodes']:,} episodes, mean return of the last 100: {mean}; saved in {run_dir}"
    )


def _leave(status: int) -> NoReturn:
    """Ends the process without waiting for a worker that may never come back."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
