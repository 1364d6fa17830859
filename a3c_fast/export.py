"""`a3c-fast export RUN_OR_CHECKPOINT`: a trained policy as a file that runs without a3c_fast."""

from __future__ import annotations

import json as json_module
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tyro.conf import Positional

from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

if TYPE_CHECKING:
    from a3c_fast.exports.exporting import Exported

_PROGRAM = "a3c-fast export"


@dataclass(frozen=True)
class Arguments:
    """Writes the policy of a run to a file that runs without a3c_fast, and compares that file with the policy."""

    run: Positional[Path]
    """Directory of the run, whose newest checkpoint is taken, or a checkpoint (*.safetensors)."""
    format: Literal["onnx", "torch.export", "aoti"] = "onnx"
    """onnx, for ONNX Runtime; torch.export, for programs with PyTorch; aoti, compiled for this kind of CPU, for C++
    programs with LibTorch."""
    output: Path | None = None
    """The file, .onnx or .pt2; by default policy.onnx, policy.pt2 or policy.aoti.pt2 in the directory of the run."""
    draw: bool = False
    """Compare on random numbers instead of observations of the environment."""
    json: bool = False
    """Print one JSON object."""

    @classmethod
    def said(cls, written: Mapping[str, Any]) -> Arguments:
        """From the flags as `cli.said` has them. Raises `ConfigError` for one that cannot be."""
        from a3c_fast import values
        from a3c_fast.errors import ConfigError

        given = dict(written)
        runs = written.get("run", ())
        if len(runs) != 1:
            raise ConfigError("run", " ".join(runs), f"one directory or checkpoint is required: {_PROGRAM} RUN_DIR")
        given["run"] = runs[0]
        for name in ("run", "output"):
            if given.get(name) is not None:
                if not isinstance(values.path(given[name]), Path):
                    raise ConfigError(name, given[name], "it must be a path")
                given[name] = Path(given[name]).expanduser()
        return cls(**given)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 2 a flag, run or network that cannot be; 130 after SIGINT; 1 else."""
    of_process = arguments is None
    if of_process:
        occupy_standard_files()
    output = Output(says_so=False)
    try:
        _main(sys.argv[1:] if arguments is None else words(arguments), output)
    except KeyboardInterrupt:
        if not of_process:
            raise
        raise SystemExit(130) from None
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def _main(arguments: Sequence[str], output: Output) -> None:
    from a3c_fast import cli
    from a3c_fast.errors import CheckpointError, ConfigError

    try:
        written = cli.said(Arguments, arguments, prog=_PROGRAM)
        if written.pop("help", False):
            cli.show_help(Arguments, prog=_PROGRAM)
        args = Arguments.said(written)
        if args.format == "aoti" and not args.json:
            output.say("compiling, which takes a minute or two")
        done = _export(args.run, args.output, format=args.format, draw=args.draw)
    except (ConfigError, CheckpointError) as error:
        cli.fail(cli.EXIT_BAD_CONFIG, error)
    except (ImportError, RuntimeError, OSError) as error:
        cli.fail(cli.EXIT_FAILED, error)
    output.say(json_module.dumps(_stored(done)) if args.json else _in_words(done))


def _stored(done: Exported) -> dict[str, Any]:
    return {
        **done.facts,
        "path": str(done.path),
        "bytes": done.path.stat().st_size,
        "difference": done.difference,
        "observations": done.num_observations,
        "origin": done.origin,
    }


def _in_words(done: Exported) -> str:
    from a3c_fast.paths import shown

    facts, ports = done.facts, {}
    for side in ("inputs", "outputs"):
        ports[side] = ", ".join(
            f"{port['name']} {port['dtype']}[{', '.join(['N', *map(str, port['shape'][1:])])}]" for port in facts[side]
        )
    return (
        f"{shown(done.path)}: {facts['env_id']} at step {facts['step']:,}, {done.path.stat().st_size / 1e6:.3g} MB\n"
        f"in:  {ports['inputs']}\nout: {ports['outputs']}\n"
        f"largest difference from the policy: {done.difference:.2g}, on {done.num_observations} observations "
        f"{done.origin}"
    )


def _export(*args: Any, **kwargs: Any) -> Exported:
    from a3c_fast.exports.exporting import export  # torch: after the flags have been looked at

    return export(*args, **kwargs)


class _Function(types.ModuleType):
    """The package has a function of this name, too, which an import of this module would hide."""

    def __call__(self, *args: Any, **kwargs: Any) -> Exported:
        return _export(*args, **kwargs)


sys.modules[__name__].__class__ = _Function

if __name__ == "__main__":
    main()
