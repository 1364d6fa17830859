"""Metrics in Weights & Biases, by a callback. Needs `pip install wandb`; WANDB_MODE=offline sends nothing."""

import wandb

from a3c_fast import Config, Ended, Episode, Metrics, Trainer
from a3c_fast.events import Event

config = Config("CartPole-v1", total_steps=200_000, log_every_seconds=1, run_dir="runs/wandb")
run = wandb.init(project="a3c-fast", name="cartpole", config=config.to_json())
longest = 0


def log(event: Event) -> None:
    """Called by the thread that called `run`: no worker waits for it."""
    global longest
    match event:
        case Metrics(line):
            run.log({f"train/{name}": value for name, value in line.items() if value is not None}, step=line["step"])
        case Episode(length=length):
            longest = max(longest, length)
        case Ended(reason, step):
            run.summary.update({"ended": reason, "steps": step, "longest_episode": longest})


with Trainer(config) as trainer:
    trainer.run(on_event=log)
run.finish()
