"""A trained policy behind HTTP. Needs `pip install fastapi uvicorn`.

uvicorn fastapi_policy:app --app-dir examples
curl -X POST localhost:8000/act -H 'content-type: application/json' -d '{"observations": [[0, 0, 0.02, 0]]}'
"""

from pathlib import Path

import numpy as np
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

import a3c_fast
from a3c_fast import Config, Trainer

RUN = Path("runs/served")
if not RUN.exists():
    with Trainer(Config("CartPole-v1", total_steps=200_000, run_dir=RUN)) as trainer:
        trainer.run()

policy = a3c_fast.load_policy(RUN)
app = FastAPI(title="CartPole")


class Observations(BaseModel):
    observations: list[list[float]]
    greedy: bool = True


@app.post("/act")
def act(asked: Observations) -> dict[str, list[int]]:  # no coroutine, so that FastAPI calls it in a thread
    try:
        actions, _ = policy.act(np.array(asked.observations, np.float32), greedy=asked.greedy)
    except (TypeError, ValueError) as error:  # another shape: the message says which it must be
        raise HTTPException(status_code=422, detail=str(error)) from error
    return {"actions": actions.tolist()}
