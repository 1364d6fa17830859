"""What the machine's processors take, where Linux tells: the counters of RAPL, for processes that may read them."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/class/powercap")


class Energy:
    """Energy of all packages since the object was made, of everything that runs on them.

    A counter that turns over is right once, which is minutes to hours.
    """

    def __init__(self, root: Path = _ROOT) -> None:
        self._zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _text(zone / "name").startswith("package")]
        self._before = [_number(zone / "energy_uj") for zone in self._zones]

    def joules(self) -> float | None:
        """None where the machine does not tell."""
        taken = 0
        for zone, before in zip(self._zones, self._before, strict=True):
            after, range_ = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
            if before is None or after is None or range_ is None:
                return None
            taken += after - before if after >= before else after + range_ - before
        return taken / 1e6 if self._zones else None


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text else None
