"""Two runs at once in an event loop: calls that wait let go of the GIL, so that a thread each is enough."""

import asyncio

from a3c_fast import Config, Trainer


async def train(seed: int) -> float | None:
    config = Config("CartPole-v1", total_steps=150_000, num_workers=1, seed=seed, run_dir=f"runs/asyncio_{seed}")
    with Trainer(config) as trainer:
        training = asyncio.create_task(asyncio.to_thread(trainer.run))
        while not training.done():
            await asyncio.sleep(0.5)
            print(f"seed {seed}: step {trainer.stats()['step']:,}")
        return (await training)["mean_return_100"]


async def main() -> None:
    print(await asyncio.gather(train(1), train(2)))


asyncio.run(main())
