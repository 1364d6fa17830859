"""What the machine's processors take, where Linux tells: the counters of RAPL, for processes that may read them."""

from __future__ import annotations

from pathlib import Path

_ROOT = Path("/sys/class/powercap")


class Energy:
    """Energy of all packages since the object was made, of everything that runs on them.

    A counter turns over after minutes to hours: `look` must be called more often.
    """

    def __init__(self, root: Path = _ROOT) -> None:
        zones = [zone for zone in sorted(root.glob("intel-rapl:*")) if _text(zone / "name").startswith("package")]
        self._last: dict[Path, int | None] = {zone: _number(zone / "energy_uj") for zone in zones}
        self._taken: int | None = 0 if zones else None  # microjoules; None once it is not known

    def look(self) -> None:
        """Adds what was taken since the last look."""
        for zone, before in self._last.items():
            after, range_ = _number(zone / "energy_uj"), _number(zone / "max_energy_range_uj")
            if before is None or after is None or range_ is None:
                self._taken = None
            elif self._taken is not None:
                self._taken += after - before if after >= before else after + range_ - before
            self._last[zone] = after

    def joules(self) -> float | None:
        """None where the machine does not tell."""
        self.look()
        return None if self._taken is None else self._taken / 1e6


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text else None
