"""A run in Weights & Biases. Needs `pip install 'a3c-fast[wandb]'`; WANDB_MODE=offline sends nothing.

Where nothing is to be said, `--track wandb` or `Config(track="wandb")` does the same.
"""

import wandb

from a3c_fast import Config, Trainer
from a3c_fast.trackers.wandb import WandbTracker

config = Config("CartPole-v1", total_steps=200_000, log_every_seconds=1, run_dir="runs/wandb")
tracker = WandbTracker(project="a3c-fast", tags=["example"], settings=wandb.Settings(console="off"))

with Trainer(config, trackers=[tracker]) as trainer:
    trainer.run()
