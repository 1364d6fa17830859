"""A trained policy: its score in whole episodes by the project's protocol, and a loop of one's own beside it."""

from pathlib import Path

import gymnasium

import a3c_fast
from a3c_fast import Config, Trainer, checkpoint
from a3c_fast.evaluate import evaluate, load_policy

with Trainer(Config("CartPole-v1", total_steps=300_000, run_dir="runs/evaluated")) as trainer:
    trainer.run()

newest = checkpoint.load_newest(Path("runs/evaluated/checkpoints"))
policy, config = load_policy(newest)
for greedy in (False, True):
    scores = evaluate(policy, config, episodes=20, greedy=greedy)
    kind, mean, least = scores["protocol"]["policy"], scores["mean_return"], scores["min_return"]
    print(f"{kind}: mean return {mean:.1f}, least {least:g}")

policy = a3c_fast.load_policy("runs/evaluated")  # needs PyTorch and NumPy alone
env = gymnasium.make("CartPole-v1")
observation, _ = env.reset(seed=1)
total, state, over = 0.0, None, False
while not over:
    action, state = policy.act(observation, state, greedy=True)
    observation, reward, terminated, truncated, _ = env.step(int(action))
    total, over = total + float(reward), terminated or truncated
print(f"one episode of gymnasium's: {total:g}")
