"""`python tests/sanitize.py thread`, or `address,undefined`: the C++ tests under sanitizers; fails on any report."""

from __future__ import annotations

import os
import subprocess
import sys

from cpp_build import ROOT, build, units

_SUPPRESSIONS = ROOT / "tests" / "cpp"
_OPTIONS = {
    "TSAN_OPTIONS": f"suppressions={_SUPPRESSIONS}/tsan.supp halt_on_error=1 second_deadlock_stack=1",
    "ASAN_OPTIONS": "halt_on_error=1 detect_leaks=1",
    "LSAN_OPTIONS": f"suppressions={_SUPPRESSIONS}/lsan.supp print_suppressions=0",
    "UBSAN_OPTIONS": "halt_on_error=1 print_stacktrace=1",
}


def main() -> None:
    """The command."""
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    sanitizers = sys.argv[1]
    directory = build(
        f"sanitize-{sanitizers.replace(',', '-')}", f"-DA3C_SANITIZE={sanitizers}", "-DCMAKE_BUILD_TYPE=RelWithDebInfo"
    )
    failed = []
    for unit in units():
        # Address-space randomization puts shadow memory of older sanitizers and large libraries in each other's way.
        command = ["setarch", os.uname().machine, "-R", str(directory / unit)]
        done = subprocess.run(
            command, env=os.environ | _OPTIONS, capture_output=True, text=True, timeout=900, check=False
        )
        print(f"{sanitizers}: {unit}: {'ok' if done.returncode == 0 else 'FAILED'}", flush=True)
        if done.returncode:
            failed.append(unit)
            print(done.stdout[-6000:], done.stderr[-12000:], sep="\n")
    if failed:
        raise SystemExit(f"{sanitizers}: {', '.join(failed)} failed")


if __name__ == "__main__":
    main()
