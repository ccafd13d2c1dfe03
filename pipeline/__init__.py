"""Which regularization helps, how strong should it be, and how sure can we be?

A map, in the order in which the rooms may import each other:

- `errors`      the one error shown to a user without a traceback
- `logs`        a stage's log file, and warnings on the terminal
- `files`       writes a file whole or not at all
- `texts`       numbers as text
- `objectives`  what models are trained for, and the measure by which techniques are compared
- `changes`     what a technique can change in a model or its training, as values that can be joined
- `techniques`  every regularization technique, as data: what it changes and which values to search
- `params`      params.yaml as frozen, checked sections; its only reader
- `request`     what a command line replaces in params.yaml, for one study
- `datasets`    circles, digits, features, MNIST, Fashion-MNIST: fetch, prepare, load
- `statistics`  intervals, paired tests, corrections
- `layers`      hard concrete gates, which Keras lacks
- `whitening`   a linear layer that whitens, fitted on training rows
- `models`      an architecture and a technique's change as a plain Keras model
- `engine`      trains a population of Keras models in one compiled program
- `units`       one training run as a value, and the key that names it
- `trainer`     turns units into members of a population, and what came out into measures
- `devices`     which core or GPU a worker gets, and how much memory
- `starting`    what a process imports, and how fast
- `compiled`    XLA programs on disk, so that no stage compiles what another has
- `workers`     where units run: one single-threaded process per core
- `journal`     what has been finished, kept through interruptions
- `tuned`       reads what the searches chose
- `search`      Optuna: asks for trials in rounds, tells what they gave
- `charts`      figures of one technique for MLflow: its search, its learning curves
- `tracking`    the only importer of mlflow
- `measures`    what is measured of a trained model
- `inspection`  what a trained model looks like inside, as arrays for figures
- `claims`, `verdicts`  the articles' claims as data; their verdicts as tables
- `timing`      what predicting takes, of models in turn
- `comparison`, `trials`, `advice`  two techniques compared; what was tried; what to use
- `readme`      the blocks of README.md that are written by code
- `ensembles`   mean probabilities of several final runs, against single ones
- `summary`, `figures`, `report`  tables and pages from the result files
- `interior`, `galleries`  figures of trained models, and all figures of single techniques
- `stages`      fetch, prepare, tune, train, timing, report, overview, publish; study runs them all

Importing the package imports none of them.
"""
