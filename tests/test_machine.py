"""What a process may use of a machine: limits of cgroups of both versions, of users and of memory."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import run

from a3c_fast import Config, ConfigError, Trainer, envs, machine, memory
from a3c_fast.memory import check_memory, needed_bytes

FAKE = "a3c_fast/Fake-v0"
FAKE_IMAGE = "a3c_fast/FakeImage-v0"
GIB = 2**30
AFFINITY = len(os.sched_getaffinity(0))
HUGE = "9223372036854771712"  # version 1's way to say that there is no limit


def tree(root: Path, cgroup: str, mounts: list[str], files: dict[str, str]) -> Path:
    """A process's folder in /proc beside mounted hierarchies: mounts are mountinfo lines with {} for `root`."""
    proc = root / "proc"
    proc.mkdir()
    (proc / "cgroup").write_text(cgroup, encoding="utf-8")
    (proc / "mountinfo").write_text("".join(f"{line.format(root)}\n" for line in mounts), encoding="utf-8")
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return proc


V2 = "31 23 0:28 {} {{}}/sys rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"


def v2(root: str = "/") -> str:
    return V2.replace("{}", root, 1).replace("{{}}", "{}")


def v1(controllers: str, root: str = "/") -> str:
    return f"32 31 0:29 {root} {{}}/sys/{controllers} rw - cgroup cgroup rw,{controllers}"


MEMORY: list[Any] = [
    pytest.param("0::/job\n", [v2()], {"sys/job/memory.max": f"{GIB}\n"}, id="version 2"),
    pytest.param("0::/job\n", [v2()], {"sys/job/memory.high": f"{GIB}\n", "sys/job/memory.max": "max\n"}, id="high"),
    pytest.param("0::/a/b/c\n", [v2()], {"sys/a/memory.max": str(GIB), "sys/a/b/memory.max": "max"}, id="an ancestor"),
    pytest.param("0::/a/b\n", [v2()], {"sys/memory.max": str(3 * GIB), "sys/a/memory.max": str(GIB)}, id="the least"),
    pytest.param("0::/\n", [v2()], {"sys/memory.max": str(GIB)}, id="a container with a namespace"),
    pytest.param("0::/docker/x\n", [v2("/docker/x")], {"sys/memory.max": str(GIB)}, id="a container without one"),
    pytest.param("0::/../../other\n", [v2()], {"sys/memory.max": str(GIB)}, id="a path outside the namespace"),
    pytest.param(
        "4:memory:/slurm/job\n", [v1("memory")], {"sys/memory/slurm/memory.limit_in_bytes": str(GIB)}, id="version 1"
    ),
    pytest.param(
        "5:cpu,cpuacct:/x\n4:memory:/docker/x\n0::/\n",
        [v2(), v1("memory", "/docker/x"), v1("cpu,cpuacct", "/x")],
        {"sys/memory/memory.limit_in_bytes": str(GIB)},
        id="hybrid",
    ),
]


@pytest.mark.parametrize(("cgroup", "mounts", "files"), MEMORY)
def test_the_memory_of_a_cgroup(tmp_path: Path, cgroup: str, mounts: list[str], files: dict[str, str]) -> None:
    assert machine.memory_bytes(tree(tmp_path, cgroup, mounts, files)) == GIB


CORES: list[Any] = [
    pytest.param("0::/job\n", [v2()], {"sys/job/cpu.max": "50000 100000\n"}, 1, id="half a core"),
    pytest.param("0::/job\n", [v2()], {"sys/job/cpu.max": "max 100000\n"}, AFFINITY, id="no limit"),
    pytest.param("0::/a/b\n", [v2()], {"sys/a/cpu.max": "100000 100000"}, 1, id="an ancestor"),
    pytest.param("0::/a\n", [v2()], {"sys/a/cpu.max": "110000 100000"}, min(2, AFFINITY), id="a core and a bit"),
    pytest.param("0::/a\n", [v2()], {"sys/a/cpu.max": "99900000 100000"}, AFFINITY, id="more than there are"),
    pytest.param(
        "3:cpu,cpuacct:/job\n",
        [v1("cpu,cpuacct")],
        {"sys/cpu,cpuacct/job/cpu.cfs_quota_us": "50000", "sys/cpu,cpuacct/job/cpu.cfs_period_us": "100000"},
        1,
        id="version 1",
    ),
    pytest.param(
        "3:cpu:/job\n",
        [v1("cpu")],
        {"sys/cpu/job/cpu.cfs_quota_us": "-1", "sys/cpu/job/cpu.cfs_period_us": "100000"},
        AFFINITY,
        id="version 1 without a limit",
    ),
]


@pytest.mark.parametrize(("cgroup", "mounts", "files", "expected"), CORES)
def test_the_cores_of_a_cgroup(
    tmp_path: Path, cgroup: str, mounts: list[str], files: dict[str, str], expected: int
) -> None:
    assert machine.cores(tree(tmp_path, cgroup, mounts, files)) == expected


@pytest.mark.parametrize(
    "odd",
    [
        {"sys/job/memory.max": "", "sys/job/cpu.max": ""},
        {"sys/job/memory.max": "no number", "sys/job/cpu.max": "1 2 3"},
        {"sys/job/memory.max": "-5", "sys/job/cpu.max": "100000 0"},
        {"sys/job/memory.max": "0", "sys/job/cpu.max": "0 100000"},
        {"sys/job/memory.max": HUGE, "sys/job/cpu.max": "x y"},
        {"sys/job/memory.max/folder": "", "sys/job/cpu.max/folder": ""},
        {},
    ],
)
def test_what_is_odd_or_missing_is_no_limit(tmp_path: Path, odd: dict[str, str]) -> None:
    nothing = tmp_path / "nothing"
    proc = tree(tmp_path, "0::/job\n", [v2()], odd)
    for place in (proc, nothing):
        assert machine.cores(place) == AFFINITY
        assert machine.memory_bytes(place) == machine.memory_bytes(nothing)


@pytest.mark.parametrize("text", ["", "\n", "garbage\n", "::::\n", "0::\n", "1 2 3\n", "\0\xff\n"])
def test_files_of_proc_that_are_odd(tmp_path: Path, text: str) -> None:
    proc = tmp_path / "proc"
    proc.mkdir()
    for name in ("cgroup", "mountinfo"):
        (proc / name).write_text(text, encoding="latin-1")
    assert machine.cores(proc) == AFFINITY
    assert machine.memory_bytes(proc) > 0


def test_a_limit_of_the_process_itself() -> None:
    code = "import resource; resource.setrlimit(resource.{}, (3 << 30, 3 << 30))\n"
    code += "from a3c_fast.machine import memory_bytes; print(memory_bytes())"
    for kind in ("RLIMIT_AS", "RLIMIT_DATA"):
        done = subprocess.run([sys.executable, "-c", code.format(kind)], capture_output=True, text=True, check=True)
        assert int(done.stdout) <= 3 << 30


def needed(**settings: Any) -> float:
    config = Config(**{"num_workers": 2, **settings})
    return needed_bytes(config, envs.spec_of(config))


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"env_id": FAKE, "hidden_sizes": (65536, 65536)}, "hidden_sizes"),
        ({"env_id": FAKE, "hidden_sizes": (8192,), "num_workers": 4096}, "num_workers"),
        ({"env_id": FAKE_IMAGE, "model": "nature", "num_workers": 4096}, "num_workers"),
        ({"env_id": FAKE_IMAGE, "model": "paper", "t_max": 100_000}, "t_max"),
        ({"env_id": FAKE_IMAGE, "model": "paper", "envs_per_worker": 4096, "t_max": 20}, "envs_per_worker"),
        ({"env_id": FAKE, "lstm_size": 4096, "hidden_sizes": (8,), "num_workers": 64}, "lstm_size"),
    ],
)
def test_what_cannot_fit_is_refused_before_anything_is_made(
    settings: dict[str, Any], named: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(memory, "memory_bytes", lambda: 8 * GIB)
    with pytest.raises(
        ConfigError, match=r"the run would take about .* GiB, and this process may have 8\.0 GiB"
    ) as caught:
        Trainer(Config(**{"num_workers": 2, **settings}))
    others = (
        {"num_workers", "t_max", "envs_per_worker"} if named in ("t_max", "envs_per_worker", "num_workers") else set()
    )
    assert caught.value.field in {named, *others}
    assert caught.value.value == getattr(Config(**settings), caught.value.field) or caught.value.field == "num_workers"


def test_a_limit_is_what_decides(monkeypatch: Any) -> None:
    config = Config(env_id="Pong-v5", num_workers=2)
    spec = envs.spec_of(config)
    for limit, fits in ((GIB, True), (256 * 2**20, False)):
        monkeypatch.setattr(memory, "memory_bytes", lambda limit=limit: limit)
        if fits:
            check_memory(config, spec)
        else:
            with pytest.raises(ConfigError, match="GiB"):
                check_memory(config, spec)


def test_more_of_anything_needs_more() -> None:
    small = Config(env_id=FAKE, num_workers=2)
    more: dict[str, Any] = {
        "num_workers": 200,
        "envs_per_worker": 800,
        "t_max": 10_000,
        "hidden_sizes": (2000, 2000),
        "lstm_size": 1000,
    }
    for name, value in more.items():
        larger = dataclasses.replace(small, **{name: value})
        assert needed_bytes(larger, envs.spec_of(larger)) > 1.01 * needed(env_id=FAKE), name


_RESIDENT = """
import json, sys
from a3c_fast import Config, Trainer, envs
from a3c_fast.memory import needed_bytes
settings = json.loads(sys.argv[1])
config = Config(num_workers=2, total_steps=1, watchdog_seconds=1e6, **settings)
with Trainer(config) as trainer:
    trainer.run()
    trainer.save(sys.argv[2])
lines = open("/proc/self/status", encoding="utf-8").readlines()
peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
print(json.dumps([needed_bytes(config, envs.spec_of(config)), peak]))
"""


@pytest.mark.parametrize(
    "settings",
    [
        '{"env_id": "CartPole-v1"}',
        '{"env_id": "Pong-v5"}',
        '{"env_id": "a3c_fast/Fake-v0", "hidden_sizes": [3000, 3000]}',
        '{"env_id": "a3c_fast/FakeImage-v0", "model": "nature", "envs_per_worker": 32, "t_max": 64}',
        '{"env_id": "a3c_fast/FakeImage-v0", "model": "paper", "lstm_size": 512, "envs_per_worker": 16, "t_max": 20}',
    ],
)
def test_the_estimate_is_near_what_a_run_holds(tmp_path: Path, settings: str) -> None:
    command = [sys.executable, "-c", _RESIDENT, settings, str(tmp_path / "x.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    estimate, peak = json.loads(done.stdout)
    assert 0.6 * peak < estimate < 1.6 * peak, (estimate / 2**20, peak / 2**20)


def test_threads_that_the_system_does_not_give() -> None:
    # Stacks are address space: with 2 GiB of it more than it has, a process gets some 250 threads of 8 MiB each.
    result = run(
        "-c",
        f"""
import resource
from a3c_fast import Config, ConfigError, Trainer, machine, memory
memory.memory_bytes = lambda: 2**40  # the limit as such is another check's
size = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmSize"))
limits = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (size + 2**31, limits[1]))
for env_id in ("{FAKE}", "CartPole-v1"):
    try:
        Trainer(Config(env_id=env_id, num_workers=4000, envs_per_worker=1))
    except ConfigError as error:
        print(error.field, "needed" in str(error))
resource.setrlimit(resource.RLIMIT_AS, limits)
Trainer(Config(env_id="CartPole-v1", num_workers=2, total_steps=2000)).run()
""",
    )
    assert (result.status, result.stdout) == (0, "num_workers True\n" * 2), result


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become a user whose limit no other process shares")
def test_a_limit_of_the_users_threads(tmp_path: Path) -> None:
    result = run(
        "-c",
        """
import os, resource
from a3c_fast import Config, ConfigError, Trainer, envs
config = Config(env_id="CartPole-v1", num_workers=64)
resource.setrlimit(resource.RLIMIT_NPROC, (100, 100))
os.setuid(54321)
os.chdir("/")
try:
    Trainer(config)
except ConfigError as error:
    print(error.field, error.value)
try:
    envs.envpool.make_pool(config, [1, 2], training=False, num_threads=500)
except ConfigError as error:
    print(error.field, error.value)
""",
    )
    assert (result.status, result.stdout) == (0, "num_workers 64\nnum_threads 500\n"), result
