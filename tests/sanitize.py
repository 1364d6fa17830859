"""Builds the C++ tests with a sanitizer and runs them: python tests/sanitize.py {thread | address,undefined}.

Any report ends its test and makes the exit status 1. The one race that is meant is named in tests/cpp/tsan.supp.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

OPTIONS = {
    "thread": {
        "TSAN_OPTIONS": f"halt_on_error=1:second_deadlock_stack=1:suppressions={ROOT / 'tests/cpp/tsan.supp'}",
    },
    "address,undefined": {
        "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1:strict_string_checks=1:"
        "check_initialization_order=1:strict_init_order=1",
        "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1",
    },
}


class BuildError(Exception):
    """The C++ tests cannot be built; the message says why."""


def tool(name: str) -> str:
    """The path of a command, of this Python's environment if it has it."""
    path = shutil.which(name, path=sysconfig.get_path("scripts")) or shutil.which(name)
    if path is None:
        raise BuildError(f"{name} is missing, and the C++ tests are built with it: pip install '.[test]'")
    return path


def build(directory: Path, *options: str, capture: bool = False) -> None:
    """Configures and builds the C++ tests in `directory` with CMake's `options`.

    Raises BuildError when a tool is missing or fails; with `capture` its output is in the message and not shown.
    """
    compilers = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    if not any(shutil.which(compiler) for compiler in compilers):
        raise BuildError(f"there is no C++ compiler ({' or '.join(compilers)}), and the C++ tests need one")
    configure = [tool("cmake"), "-S", str(ROOT), "-B", str(directory), "-G", "Ninja"]
    configure += [f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}", f"-DPython_EXECUTABLE={sys.executable}"]
    configure += ["-DA3C_BUILD_EXTENSION=OFF", "-DA3C_BUILD_TESTS=ON", *options]
    # Two at a time: a LibTorch translation unit takes over a gigabyte.
    for command in (configure, [tool("cmake"), "--build", str(directory), "-j2"]):
        done = subprocess.run(
            command, stdout=subprocess.PIPE if capture else None, stderr=subprocess.STDOUT, text=True, check=False
        )
        if done.returncode != 0:
            raise BuildError(f"{' '.join(command)} failed\n{done.stdout or ''}".rstrip())


def ctest(directory: Path, *options: str) -> list[str]:
    """The command that runs the tests built in `directory`."""
    return [tool("ctest"), "--test-dir", str(directory), "--output-on-failure", "--no-tests=error", *options]


def without_randomized_addresses() -> list[str]:
    """A prefix for commands. The sanitizers of older compilers cannot place their shadow where the kernel randomizes
    32 bits of an address; containers may forbid the prefix, which is then left out."""
    prefix = ["setarch", "--addr-no-randomize"]
    if shutil.which(prefix[0]) and subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
        return prefix
    return []


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sanitizer", choices=OPTIONS)
    sanitizer = parser.parse_args().sanitizer
    directory = ROOT / "build" / f"sanitize-{sanitizer.replace(',', '-')}"
    try:
        build(
            directory,
            "-DCMAKE_BUILD_TYPE=Sanitize",
            f"-DA3C_SANITIZE={sanitizer}",
            "-DCMAKE_CXX_FLAGS=-D_GLIBCXX_ASSERTIONS",  # indices of vectors
        )
        command = [*without_randomized_addresses(), *ctest(directory)]
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    return min(1, subprocess.run(command, env={**os.environ, **OPTIONS[sanitizer]}, check=False).returncode)


if __name__ == "__main__":
    sys.exit(main())
