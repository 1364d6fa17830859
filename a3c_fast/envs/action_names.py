"""What actions are called, where an environment's are known: for people who look on."""

from __future__ import annotations

from a3c_fast.envs.families import Family

_ALE = (
    *("noop", "fire", "up", "right", "left", "down", "up right", "up left", "down right", "down left", "up fire"),
    *("right fire", "left fire", "down fire", "up right fire", "up left fire", "down right fire", "down left fire"),
)
# The games' minimal sets of actions, as ALE 0.12.1 has them; all others take all 18.
_MINIMAL: dict[tuple[int, ...], str] = {
    (0, 1, 3, 4, 11, 12): "AirRaid Carnival DemonAttack Galaxian NameThisGame Pong SirLancelot SpaceInvaders",
    (0, 1, 2, 3, 4, 5, 10, 11, 12, 13): "Amidar MrDo TimePilot WizardOfWor",
    (0, 1, 2, 3, 4, 11, 12): "Assault",
    (0, 2, 3, 4, 5, 6, 7, 8, 9): "Asterix CrazyClimber Koolaid LostLuggage MsPacman",
    (0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15): "Asteroids",
    (0, 1, 11, 12): "Atlantis Atlantis2",
    (1, 3, 4): "Backgammon",
    (0, 1, 2, 3, 4, 5): "BasicMath KingKong Qbert",
    (0, 1, 2, 3, 4, 6, 7, 11, 12): "BeamRider",
    (0, 1, 2, 5): "Blackjack Casino",
    (0, 1, 2, 5, 10, 13): "Bowling Pooyan UpNDown",
    (0, 1, 3, 4): "Breakout Kaboom",
    (0, 1, 3, 4, 5, 8, 9, 11, 12): "Enduro",
    (0, 2, 5): "Freeway",
    (0, 2, 3, 4, 5): "Frogger Pacman Surround",
    (0, 1, 2, 3, 4, 10, 11, 12): "Gopher",
    (0, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 16, 17): "JourneyEscape",
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13): "KeystoneKapers",
    (0, 2, 3, 4, 5, 8, 9, 11, 12, 13, 14, 15, 16, 17): "KungFuMaster",
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9): "Othello VideoChess",
    (0, 1, 3, 4, 5, 11, 12, 13): "Phoenix",
    (0, 3, 4): "Skiing",
    (0, 1, 3, 4, 5): "Tetris",
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12): "Turmoil",
    (0, 2, 3, 4, 5, 10, 11, 12): "Tutankham",
    (1, 6, 7, 8, 9): "VideoCheckers",
    (0, 1, 2, 3, 4, 5, 10, 11, 12): "VideoPinball",
}
_OTHERS: dict[str, tuple[str, ...]] = {
    "CartPole": ("left", "right"),
    "MountainCar": ("left", "nothing", "right"),
    "LunarLander": ("nothing", "left engine", "main engine", "right engine"),
    "FrozenLake": ("left", "down", "right", "up"),
    "Taxi": ("down", "up", "right", "left", "pick up", "drop off"),
}
_MINIGRID = ("left", "right", "forward", "pick up", "drop", "toggle", "done")


def action_names(env_id: str, family: Family, count: int) -> tuple[str, ...]:
    """Of `count` choices; their numbers where they are not known."""
    game = env_id.rpartition(":")[2].rpartition("/")[2].partition("-")[0]
    if family == "atari":
        known = next((choices for choices, games in _MINIMAL.items() if game in games.split()), tuple(range(18)))
        names = tuple(_ALE[i] for i in known)
    else:
        names = _MINIGRID if family == "minigrid" else _OTHERS.get(game, ())
    return names if len(names) == count else tuple(map(str, range(count)))
