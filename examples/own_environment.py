"""An environment of one's own, in a wrapper. Child processes step it, and workers wait for them without the GIL."""

import gymnasium
import numpy as np
from gymnasium.wrappers import TimeLimit

from a3c_fast import Config, Trainer


class Follow(gymnasium.Env):
    """A point on a line follows another one, which moves at random. Shown: both places; actions: left, stay, right."""

    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.places = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.places.copy(), {}

    def step(self, action):
        moves = [0.1 * (int(action) - 1), self.np_random.uniform(-0.1, 0.1)]
        self.places = np.clip(self.places + moves, -1, 1).astype(np.float32)
        distance = float(abs(self.places[0] - self.places[1]))
        return self.places.copy(), 1.0 - distance, False, False, {}


def make_env():
    return TimeLimit(Follow(), max_episode_steps=100)


with Trainer(Config(total_steps=200_000, run_dir="runs/follow"), env=make_env) as trainer:
    line = trainer.run()
    print(f"mean return of the last 100 episodes: {line['mean_return_100']}")
