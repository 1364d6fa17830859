"""Settings by Optuna, in which trials that do badly are given up early. Needs `pip install optuna`."""

import optuna

from a3c_fast import Config, Trainer


def objective(trial: optuna.Trial) -> float:
    config = Config(
        "CartPole-v1",
        total_steps=100_000,
        learning_rate=trial.suggest_float("learning_rate", 1e-4, 1e-2, log=True),
        entropy_coef=trial.suggest_float("entropy_coef", 1e-3, 1e-1, log=True),
        update_epochs=trial.suggest_int("update_epochs", 1, 8),
        seed=trial.number,
    )
    mean = 0.0
    with Trainer(config) as trainer:
        for line in trainer.metrics(every_steps=20_000):
            mean = line["mean_return_100"] or 0.0
            trial.report(mean, line["step"])
            if trial.should_prune():
                raise optuna.TrialPruned  # leaving `with` ends the run
    return mean


study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=3))
study.optimize(objective, n_trials=10)
print(study.best_value, study.best_params)
