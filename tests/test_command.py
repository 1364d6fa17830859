"""`a3c-fast`: its commands, their help, versions, what was probably meant, and completion in three shells."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from helpers import PATIENCE

import a3c_fast
from a3c_fast import Config
from a3c_fast.__main__ import main
from a3c_fast.commands import COMMANDS
from a3c_fast.groups import GROUPS
from a3c_fast.help import field_docs
from a3c_fast.train import FileFlags


def said(*arguments: str) -> tuple[int, str, str]:
    """The exit status of the command in this process, and what it writes."""
    with (
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as ended,
    ):
        main(arguments)
    assert isinstance(ended.value.code, int)
    return ended.value.code, out.getvalue(), err.getvalue()


# The command itself --------------------------------------------------------------------------------------------------

_QUICK = """
import sys
from a3c_fast.__main__ import main
try:
    main(sys.argv[1:])
finally:
    print([name for name in ("torch", "numpy", "envpool", "tyro", "rich", "matplotlib") if name in sys.modules])
"""


@pytest.mark.parametrize("arguments", [(), ("completion", "environments")], ids=" ".join)
def test_help_and_names_of_environments_load_nothing_that_takes_time(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-c", _QUICK, *(arguments or ("--help",))]
    found = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    loaded = found.stdout.splitlines()[-1]
    if arguments:
        assert not {"torch", "envpool"} & set(eval(loaded))
        assert {"Pong-v5", "CartPole-v1", "HalfCheetah-v4"} <= set(found.stdout.splitlines())
    else:
        assert loaded == "[]"


def test_help_names_all_commands() -> None:
    for asked in ((), ("--help",), ("-h",)):
        status, text, _ = said(*asked)
        assert status == 0
        for name, command in COMMANDS.items():
            assert re.search(rf"^  {name} +{re.escape(command.summary)}$", text, re.MULTILINE)
        assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("trian", ("'trian' is no command", "did you mean train?")),
        ("list_envs", ("did you mean list-envs?",)),
        ("eval", ("did you mean evaluate?",)),
        ("xyzzy", ("a3c-fast --help names those that there are",)),
        ("--env-id", ("--env-id comes after a command", "a3c-fast train --env-id")),
    ],
)
def test_another_command_is_one_sentence(word: str, parts: tuple[str, ...]) -> None:
    status, out, err = said(word)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: ")
    for part in parts:
        assert part in err


def test_the_version_names_what_it_runs_on() -> None:
    from importlib import metadata

    status, out, _ = said("--version")
    assert status == 0
    lines = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert list(lines) == ["a3c-fast", "torch", "EnvPool", "gymnasium", "Python", "kernels"]
    assert lines["EnvPool"] == metadata.version("envpool")
    assert set(lines["kernels"].split(" and ")) <= {"avx2", "avx512", "avx512_bf16", "amx", "libtorch"}


def test_modules_of_the_working_directory_can_be_named(tmp_path: Path) -> None:
    """As with `python -m`, which puts it on the path and the installed script does not."""
    (tmp_path / "elsewhere").mkdir()
    script = tmp_path / "a3c-fast"
    script.write_text("import atexit, sys\natexit.register(lambda: print(sys.path))\n", encoding="utf-8")
    script.write_text(f"{script.read_text()}from a3c_fast.__main__ import main\nmain()\n", encoding="utf-8")
    command = [sys.executable, str(script), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(Path(a3c_fast.__file__).parents[1])}
    environment.pop("PYTHONSAFEPATH", None)
    found = subprocess.run(
        command,
        cwd=tmp_path / "elsewhere",
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=True,
    )
    assert eval(found.stdout.splitlines()[-1])[0] == str(tmp_path / "elsewhere")


def test_the_script_that_is_installed_is_this_command() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["scripts"] == {"a3c-fast": "a3c_fast.__main__:main"}


# Help of a command ---------------------------------------------------------------------------------------------------


def test_every_flag_of_train_is_in_one_group() -> None:
    names = Counter(name for group in GROUPS for name in group.names)
    flags = {field.name for cls in (Config, FileFlags) for field in dataclasses.fields(cls)}
    assert set(names) == flags, "a new setting needs a place in a3c_fast/groups.py"
    assert max(names.values()) == 1
    assert set(field_docs(Config)) | set(field_docs(FileFlags)) == flags


@pytest.mark.parametrize("columns", [80, 120])
def test_help_of_train_is_in_groups_and_as_wide_as_the_terminal(monkeypatch: pytest.MonkeyPatch, columns: int) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    status, text, _ = said("train", "--env-id", "HalfCheetah-v4", "--help")
    assert status == 0
    assert max(map(len, text.splitlines())) <= columns
    places = [text.index(f"--{name.replace('_', '-')}") for group in GROUPS for name in group.names[1:2]]
    assert places == sorted(places)
    for group in GROUPS:
        assert re.search(rf"^\W*{group.title}\W*$", text, re.MULTILINE), group.title
        assert group.about in text
        for name in group.names:
            assert re.search(rf"--{name.replace('_', '-')}[ ,\n]", text), name
    shown = re.sub(r"[\s│|]+", " ", text)
    assert "here of HalfCheetah-v4" in shown
    assert "(default: 0.0003)" in shown
    assert "(default: None)" not in shown
    for line, _what in COMMANDS["train"].examples:
        assert f"  {line}" in text


def test_help_shows_the_settings_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('env_id = "CartPole-v1"\ngamma = 0.123\n', encoding="utf-8")
    _, text, _ = said("train", "--config", str(tmp_path / "a.toml"), "--help")
    assert "here of CartPole-v1" in re.sub(r"\s+", " ", text)
    assert "(default: 0.123)" in text


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "train"])
def test_every_command_has_help(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    status, text, _ = said(name, "--help")
    assert status == 0
    assert text.startswith(f"usage: a3c-fast {name} ")
    for line, _what in COMMANDS[name].examples:
        assert f"  {line}" in text
    arguments = importlib.import_module(f"a3c_fast.{COMMANDS[name].module}").Arguments
    assert set(field_docs(arguments)) == {field.name for field in dataclasses.fields(arguments)}


@pytest.mark.parametrize("name", COMMANDS)
def test_the_flags_of_the_examples_exist(name: str) -> None:
    module = importlib.import_module(f"a3c_fast.{COMMANDS[name].module}")
    classes = (Config, FileFlags) if name == "train" else (module.Arguments,)
    flags = {f"--{field.name.replace('_', '-')}" for cls in classes for field in dataclasses.fields(cls)}
    for line, _what in COMMANDS[name].examples:
        used = {word for word in line.split() if word.startswith("--")}
        assert used <= flags | {"--help"}, line


# Completion ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the scripts, with runs, and with the command in its bin/."""
    pytest.importorskip("shtab", reason="completion needs shtab")
    place = tmp_path_factory.mktemp("shells")
    for shell in ("bash", "zsh", "fish"):
        status, text, _ = said("completion", shell)
        assert status == 0
        (place / f"script.{shell}").write_text(text, encoding="utf-8")
    (place / "runs/pong").mkdir(parents=True)
    (place / "bin").mkdir()
    program = place / "bin/a3c-fast"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m a3c_fast "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    return place


# Words on the command line, the last one begun, and some of what completes it.
LINES: list[tuple[tuple[str, ...], set[str]]] = [
    (("tr",), {"train"}),
    (("",), {"train", "evaluate", "list-envs", "completion"}),
    (("train", "--learning-rate-w"), {"--learning-rate-warmup"}),
    (("train", "--model", ""), {"paper", "nature", "small", "mlp"}),
    (("train", "--preset", "paper-"), {"paper-lstm"}),
    (("train", "--env-id", "CartPole-"), {"CartPole-v0", "CartPole-v1"}),
    (("train", "--print-config", "t"), {"toml"}),
    (("evaluate", "runs/po"), {"runs/pong"}),
    (("evaluate", "runs/pong", "--gr"), {"--greedy"}),
    (("completion", "z"), {"zsh"}),
]


def completed(shells: Path, *command: str) -> list[list[str]]:
    """What a shell's script prints for each of LINES."""
    environment = {**os.environ, "PATH": f"{shells / 'bin'}:{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(Path(a3c_fast.__file__).parents[1])
    found = subprocess.run(
        command, cwd=shells, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True
    )
    return [line.split() for line in found.stdout.splitlines()]


def test_bash_completes(shells: Path) -> None:
    tries = [f"try a3c-fast {shlex.join(words)}" for words, _ in LINES]
    program = [
        "source script.bash",
        'try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()',
        '_shtab_a3c_fast 2>/dev/null; echo "${COMPREPLY[*]}"; }',
        *tries,
    ]
    for (words, expected), found in zip(LINES, completed(shells, "bash", "-c", "\n".join(program)), strict=True):
        assert expected <= set(found), words
        assert all(word.startswith(words[-1]) for word in found), words


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
def test_fish_completes(shells: Path) -> None:
    tries = [
        f"complete -C {shlex.quote(' '.join(('a3c-fast', *words)))} | cut -f1 | string join ' '" for words, _ in LINES
    ]
    program = "source script.fish\n" + "\n".join(f"echo ({one})" for one in tries)
    for (words, expected), found in zip(LINES, completed(shells, "fish", "-c", program), strict=True):
        assert expected <= {word.rstrip("/") for word in found}, words


@pytest.mark.skipif(shutil.which("zsh") is None, reason="zsh is not installed")
def test_zsh_takes_the_script(shells: Path) -> None:
    program = 'autoload -Uz compinit; compinit -u -D; eval "$(<script.zsh)"; print $_comps[a3c-fast]'
    assert completed(shells, "zsh", "-f", "-c", program) == [["_shtab_a3c_fast"]]
    assert "--env-id[" in (shells / "script.zsh").read_text("utf-8")


def test_another_shell_is_one_sentence() -> None:
    for words, parts in (
        (("csh",), ("shell is 'csh', but it must be one of bash, zsh, fish", "did you mean zsh?")),
        ((), ("shell is '', but",)),
        (("bash", "zsh"), ("shell is 'bash zsh', but",)),
    ):
        status, out, err = said("completion", *words)
        assert (status, out) == (2, "")
        assert all(part in err for part in parts), err


def test_printed_settings_that_are_given_back_print_the_same(tmp_path: Path) -> None:
    first = said("train", "--env-id", "CartPole-v1", "--update-epochs", "1", "--print-config", "toml")
    (tmp_path / "a.toml").write_text(first[1], encoding="utf-8")
    assert said("train", "--config", str(tmp_path / "a.toml"), "--print-config", "toml") == first
    assert tomllib.loads(first[1])["update_epochs"] == 1
