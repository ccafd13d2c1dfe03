"""The search for hyperparameters: Optuna, rounds, pruning; what was chosen."""
