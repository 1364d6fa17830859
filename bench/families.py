"""`python -m bench.families`: the table of docs/environments.md, made from `a3c_fast.list_envs`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.command import errors_in_one_sentence

# What belongs to a family and no specification says.
_REMARKS = {
    "procgen": "needs the system's Qt 5 (`apt-get install libqt5gui5`)",
    "vizdoom": "its buttons as one choice; writes `_vizdoom.ini` and `_vizdoom/` into the working directory",
    "minigrid": "the mission is a text, which comes as its bytes",
    "gfootball": "milliseconds a step",
    "mujoco.myosuite": "up to 0.3 GB and some seconds to make each",
    "mujoco.playground": "up to 0.8 GB and many seconds to make each",
    "jumanji": "some call the end of their time a termination, as Jumanji itself does",
    "toy_text": "CliffWalking ends only at its goal",
}


def table(entries: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: a row for each family."""
    rows = ["| family | ids | an example | observation | action | |", "|---|---|---|---|---|---|"]
    for family in dict.fromkeys(entry["family"] for entry in entries):
        of_family = [entry for entry in entries if entry["family"] == family]
        there = [entry for entry in of_family if entry["trainable"]]
        refused = len(of_family) - len(there)
        count = f"{len(of_family)}" + (f", {refused} refused" if refused else "")
        example = min(there or of_family, key=lambda entry: (len(entry["observation"]), len(entry["id"]), entry["id"]))
        cells = [family, count, example["id"], example["observation"], example["action"], _REMARKS.get(family, "")]
        rows.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(rows)


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    from a3c_fast import list_envs

    print(table(list_envs()))


if __name__ == "__main__":
    main()
