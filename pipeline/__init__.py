"""Which regularization helps, how strong should it be, and how sure can we be?

The rooms of the package. A module imports from its own room and from those above it in this list,
never from those below:

- `errors`      the one error that a user sees without a traceback; removes passwords
- `files`       writes a file whole or not at all
- `formatting`  numbers as text
- `logs`        a stage's log file, and warnings on the terminal
- `engine`      trains populations of Keras models in compiled programs; knows nothing of the rest
- `datasets`    sources of data, their tasks, splits; fetches, prepares and loads them
- `techniques`  every regularization technique as a value: what it changes, and its search ranges
- `models`      an architecture and a technique's change as a plain Keras model
- `config`      params.yaml as frozen, checked sections, and overrides on the command line
- `results`     the files of a study
- `training`    one run as a value and its key; the trainer, measures and inspection of models
- `execution`   where runs are trained: worker processes, journal, devices, program cache
- `tuning`      Optuna: searches in rounds, and the values that they chose
- `analysis`    statistics, comparisons, claims and verdicts, ensembles, advice
- `report`      pages and figures
- `tracking`    MLflow, imported nowhere else
- `stages`      one thin `main()` each: fetch, prepare, tune, train, report and others
- `__main__`    `python -m pipeline STAGE`

Only worker processes import TensorFlow and Keras: no room but `engine`, `models` and
`training` imports them at module level. Importing the package imports none of the rooms.
"""
