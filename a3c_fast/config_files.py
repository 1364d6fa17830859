"""Settings in files: TOML, YAML, and the config.json of a run, read into what `Config` takes, and written.

What a file says has the types of its format. A number in quotes is text, and no setting is text where it should be a
number: a file is read by more programs than this one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import tomllib
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from a3c_fast import files
from a3c_fast.errors import ConfigError
from a3c_fast.paths import shown
from a3c_fast.suggestions import setting_like

if TYPE_CHECKING:
    from a3c_fast.config import Config

Kind = Literal["toml", "yaml"]

CONFIG_FILE = "config.json"  # of a run
_MOST_BYTES = 2**20
_KINDS: Mapping[str, Kind] = {".toml": "toml", ".yaml": "yaml", ".yml": "yaml"}


def read(path: Path) -> dict[str, Any]:
    """The settings that a file, or the config.json of a run's directory, says, by the names of `Config`.

    Raises `ConfigError` in one sentence with the file for one that cannot be read, for a name that no setting has, and
    for a value of another type than the setting's; what a value may be is left to `Config`.
    """
    if path.is_dir():
        if not (path / CONFIG_FILE).exists():
            raise ConfigError("config", shown(path), f"this directory has no {CONFIG_FILE} of a run")
        path = path / CONFIG_FILE
    if path.suffix.lower() == ".json":
        return _of_run(path)
    kind = _kind_of(path)
    try:
        text = files.read(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError("config", shown(path), "it is no text in UTF-8") from error
    except OSError as error:
        raise ConfigError("config", shown(path), f"it cannot be read: {error.strerror}") from error
    settings = parsed(text, kind, shown(path))
    for name, value in settings.items():
        _check(name, value, shown(path))
    return settings


def parsed(text: str, kind: Kind, name: str) -> dict[str, Any]:
    """What a text says, by its keys, not yet checked. Raises `ConfigError` with the file's `name` where it is none."""
    try:
        values = tomllib.loads(text) if kind == "toml" else _of_yaml(text)
    except (ValueError, RecursionError, KeyError, AttributeError, TypeError) as error:  # PyYAML raises all of them
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise ConfigError("config", name, f"it is no {kind.upper()}: {reason}") from error
    if not isinstance(values, dict):
        raise ConfigError("config", name, "it must name settings, as in learning_rate" + _equals(kind) + "7e-4")
    return values


def text_of(config: Config, kind: Kind) -> str:
    """All settings as a file that `read` takes and that gives the same `Config`, in the groups of `--help`.

    Those that are not set, or have no effect beside the others, are comments.
    """
    from a3c_fast.effects import why_without_effect
    from a3c_fast.groups import GROUPS

    values = {name: value for name, value in config.to_json().items() if name not in ("format", "resume")}
    lines = [f"# The settings of a run of a3c-fast on {config.env_id}."]
    for group in GROUPS:
        names = [name for name in group.names if name in values]
        if not names:
            continue
        lines += ["", f"# {group.title.capitalize()}"]
        for name in names:
            if values[name] is None:
                lines.append(f"# {name} is not set")
                continue
            line = f"{name}{_equals(kind)}{_written(values[name], kind)}"
            reason = why_without_effect(name, config)
            lines.append(f"# {line}  # {reason.partition(': leave')[0]}" if reason else line)
    return "\n".join(lines) + "\n"


def write(config: Config, path: Path) -> None:
    """`text_of` as a new file. Raises `ConfigError` where there is one, and for a name that says no kind."""
    kind = _kind_of(path)
    try:
        content = text_of(config, kind).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ConfigError("run_dir", config.run_dir, "its name is no text in UTF-8") from error
    try:
        files.AppendedFile(path, content).close()
    except FileExistsError as error:
        raise ConfigError("path", shown(path), "there is such a file already: choose another name") from error


@contextlib.contextmanager
def named_in(source: str, names: Collection[str]) -> Iterator[None]:
    """A `ConfigError` about one of the settings `names`, which a file says, names the file."""
    try:
        yield
    except ConfigError as error:
        if error.field not in names or error.source:
            raise
        raise ConfigError(error.field, error.value, error.allowed, source=source) from error


def _kind_of(path: Path) -> Kind:
    kind = _KINDS.get(path.suffix.lower())
    if kind is None:
        raise ConfigError("config", shown(path), "it must end in .toml, .yaml or .yml, or be the directory of a run")
    return kind


def _equals(kind: Kind) -> str:
    return " = " if kind == "toml" else ": "


# Reading -------------------------------------------------------------------------------------------------------------


def _of_run(path: Path) -> dict[str, Any]:
    """What was said when a run was made, as far as its config.json tells: what differs from the defaults."""
    from a3c_fast import stored_settings
    from a3c_fast.config import Config
    from a3c_fast.effects import why_without_effect

    try:
        values = json.loads(files.read(path, _MOST_BYTES))
    except OSError as error:
        raise ConfigError("config", shown(path), f"it cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError("config", shown(path), "it is no JSON") from error
    if not isinstance(values, dict) or "env_id" not in values:
        raise ConfigError("config", shown(path), "it is not the config.json of a run")
    if stored_settings.is_changed(values):
        reason = "it is not as the run wrote it: only a file in TOML or YAML is there to be edited"
        raise ConfigError("config", shown(path), reason)
    try:
        config = Config.from_json(values)
    except ConfigError as error:
        raise ConfigError(error.field, error.value, error.allowed, source=shown(path)) from error
    unsaid = {field.name: field.default for field in dataclasses.fields(Config)}
    said = {name: value for name, value in config.said().items() if value != unsaid[name]}
    return {name: value for name, value in said.items() if not why_without_effect(name, config)}


def _check(name: str, value: Any, source: str) -> None:
    """Raises `ConfigError` for a key that is no setting, and for a value of another type than the setting's."""
    from a3c_fast.config import Config

    types = {field.name: str(field.type) for field in dataclasses.fields(Config)}
    if name not in types:
        meant = setting_like(str(name), types)
        hint = f"did you mean {meant}?" if meant else "a3c-fast train --help names those that there are"
        if isinstance(value, dict):
            hint = f"settings stand at the top of the file, in no tables; {hint}"
        raise ConfigError(str(name), value, f"there is no such setting; {hint}", source=source)
    kinds = {kind.strip() for kind in types[name].split("|")}
    if value is None and "None" not in kinds:
        raise ConfigError(name, value, "it must have a value: leave it out for the default", source=source)
    if kinds == {"tuple[int, ...]"} and isinstance(value, list) and any(isinstance(item, str) for item in value):
        raise ConfigError(name, value, "it must be a list of numbers, and there is text in it", source=source)
    if not isinstance(value, str) or kinds & {"str", "Path"}:
        return
    if "bool" in kinds:
        raise ConfigError(name, value, "it must be true or false, and this is text", source=source)
    if kinds & {"int", "float"} and value != "auto":
        raise ConfigError(name, value, "it must be a number, and this is text", source=source)


def _of_yaml(text: str) -> Any:
    """Raises `ValueError` for what is no YAML."""
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "a configuration in YAML needs PyYAML: install a3c-fast with the extra `yaml`, or write it in TOML"
        ) from error
    from a3c_fast.yaml_loader import Loader

    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = "" if mark is None else f" (at line {mark.line + 1}, column {mark.column + 1})"
        raise ValueError(f"{getattr(error, 'problem', None) or error}{where}") from error


# Writing -------------------------------------------------------------------------------------------------------------


def _written(value: Any, kind: Kind) -> str:
    """A value in TOML or YAML, in what both read alike."""
    if isinstance(value, float):
        digits, exponent, power = repr(value).partition("e")
        # YAML 1.1, which other programs read, takes 1e-05 for text.
        return digits if not exponent else f"{digits}{'' if '.' in digits else '.0'}e{int(power):+03d}"
    if isinstance(value, str):
        # JSON's escapes are those of both, which have more characters that must be escaped.
        return "".join(map(_escaped, json.dumps(value, ensure_ascii=False)))
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_written(item, kind) for item in value)}]"
    if isinstance(value, Mapping):
        items = (f"{_key(name)}{_equals(kind)}{_written(item, kind)}" for name, item in value.items())
        return f"{{{', '.join(items)}}}"
    return json.dumps(value)


def _escaped(character: str) -> str:
    if character.isprintable():
        return character
    return f"\\u{ord(character):04x}" if ord(character) < 2**16 else f"\\U{ord(character):08x}"


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) else _written(name, "toml")
