"""What is installed and what is handed on: old C libraries, the choice by torch, the source distribution."""

from __future__ import annotations

import importlib.util
import platform
import re
import subprocess
import sys
import tarfile
from pathlib import Path
from types import ModuleType

import pytest
import torch

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)

ROOT = Path(__file__).parents[1]
# The newest that manylinux_2_28 has.
NEWEST = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 24), "CXXABI": (1, 3, 11)}
MINOR = ".".join(torch.__version__.split(".")[:2])


def extension(name: str) -> Path:
    return Path(sys.modules[name].__file__ if name in sys.modules else importlib.util.find_spec(name).origin)  # type: ignore[arg-type,union-attr]


def versions_asked_for(library: Path) -> set[tuple[str, tuple[int, ...]]]:
    """By its table of strings, in which each is between zeros."""
    found = re.findall(rb"\0(GLIBC|GLIBCXX|CXXABI)_([\d.]+)(?=\0)", library.read_bytes())
    return {(name.decode(), tuple(map(int, version.split(b".")))) for name, version in found}


@pytest.mark.parametrize("name", ["a3c_fast_core", "a3c_fast_steps"])
def test_the_extensions_ask_for_no_newer_libraries_than_manylinux_2_28(name: str) -> None:
    asked = versions_asked_for(extension(name))
    assert {"GLIBC", "CXXABI"} <= {library for library, _ in asked}
    if platform.machine() != "x86_64" or tuple(map(int, platform.libc_ver()[1].split("."))) > (2, 36):
        pytest.skip("what cpp/bindings/older_glibc.cc knows is what GCC 12 and glibc 2.36 ask for on x86-64")
    assert {(library, version) for library, version in asked if version > NEWEST[library]} == set()


def chosen(folder: Path, torches: list[str]) -> subprocess.CompletedProcess[str]:
    """Imports the extension as a wheel for several torches has it, all of them being the installed one."""
    package = folder / "a3c_fast_core"
    for name in torches:
        (package / f"torch-{name}").mkdir(parents=True)
        (package / f"torch-{name}" / extension("a3c_fast_core").name).symlink_to(extension("a3c_fast_core"))
    (package / "__init__.py").write_text((ROOT / "cmake" / "choose_extension.py").read_text())
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); import a3c_fast_core as c; print(c.__file__, c.Random)"
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)


def test_a_wheel_for_several_torches_takes_the_one_for_this_torch(tmp_path: Path) -> None:
    done = chosen(tmp_path, ["1.13", MINOR])
    assert done.returncode == 0, done.stderr
    assert f"torch-{MINOR}/" in done.stdout


def test_a_wheel_for_other_torches_says_which(tmp_path: Path) -> None:
    error = chosen(tmp_path, ["1.13", "1.9"]).stderr
    assert f"ImportError: this a3c_fast was built for torch 1.9, 1.13 and finds torch {torch.__version__}: " in error


@pytest.fixture
def torch_pin() -> ModuleType:
    spec = importlib.util.spec_from_file_location("torch_pin", ROOT / "cmake" / "torch_pin.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pin(module: ModuleType, folders: list[Path], monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("A3C_TORCHES", ";".join(map(str, folders)))
    found: list[str] = module.dynamic_metadata("dependencies", {"beside-torch": []})
    return found[0]


def test_the_wheel_depends_on_the_torches_it_was_built_for(
    torch_pin: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert pin(torch_pin, [], monkeypatch) == f"torch=={torch.__version__.partition('+')[0]}"
    folders = {minor: tmp_path / str(minor) for minor in (9, 10, 12)}
    for minor, folder in folders.items():
        (folder / "torch").mkdir(parents=True)
        (folder / "torch" / "version.py").write_text(f"debug = False\n__version__ = '2.{minor}.1+cu130'\n")
    assert pin(torch_pin, [folders[10], folders[9]], monkeypatch) == "torch>=2.9,<2.11"
    assert pin(torch_pin, [folders[10]], monkeypatch) == "torch>=2.10,<2.11"
    for wrong in ([9, 12], [9, 9]):
        with pytest.raises(ValueError, match="consecutive minor versions of torch, one of each"):
            pin(torch_pin, [folders[minor] for minor in wrong], monkeypatch)


def test_the_source_distribution_has_what_builds_and_what_tests(tmp_path: Path) -> None:
    pytest.importorskip("scikit_build_core")
    if not (ROOT / ".git").exists():
        pytest.skip("not a checkout: what belongs to it is not known")
    program = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True)
    with tarfile.open(next(tmp_path.glob("a3c_fast-*.tar.gz"))) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    missing = set(listed.strip("\0").split("\0")) - inside
    assert {name for name in missing if not name.startswith(".ci/")} == set()
