"""The facts about the machine that stand beside every figure."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from a3c_fast.machine import cores
from a3c_fast.versions import versions


def machine() -> dict[str, Any]:
    """CPU, cores, caches, memory, vector extensions and versions, as far as Linux tells."""
    cpu: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        key, colon, value = line.partition(":")
        if colon and key.strip() not in cpu:
            cpu[key.strip()] = value.strip()
    flags = set(cpu.get("flags", "").split())
    memory = next(line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("MemTotal"))
    return {
        "cpu": cpu.get("model name", platform.processor()),
        "cpu_family": cpu.get("cpu family"),
        "cpu_model": cpu.get("model"),
        "cores": cores(),
        "memory_gib": round(int(memory.split()[1]) / 2**20, 1),
        "vector_extensions": sorted(flags & {"avx2", "fma", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16"}),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": versions(),
    }
