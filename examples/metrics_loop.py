"""A loop of one's own: looks at the numbers every 50,000 steps, and halves the learning rate where they stand still."""

from a3c_fast import Config, Trainer

best, waited = 0.0, 0
with Trainer(Config("CartPole-v1", total_steps=400_000, run_dir="runs/loop")) as trainer:
    for line in trainer.metrics(every_steps=50_000):
        mean = line["mean_return_100"] or 0.0
        print(f"{line['step']:>9,} steps  {line['steps_per_second']:>7,.0f} steps/s  return {mean:6.1f}")
        waited = 0 if mean > best else waited + 1
        best = max(best, mean)
        if waited == 2:
            trainer.set(learning_rate=trainer.config.learning_rate / 2)
            waited = 0
    for step, name, value in trainer.changes:
        print(f"{name} was set to {value:g} at step {step:,}")
