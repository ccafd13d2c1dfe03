"""Which regularization helps, how strong should it be, and how sure can we be?

A map, in the order in which the rooms may import each other:

- `errors`      the one error shown to a user without a traceback
- `files`       writes a file whole or not at all
- `techniques`  every regularization technique, as data: what it changes and which values to search
- `params`      params.yaml as frozen, checked sections; its only reader
- `request`     what a command line replaces in params.yaml, for one study
- `datasets`    circles, digits, MNIST, Fashion-MNIST: fetch, prepare, load
- `statistics`  intervals, paired tests, corrections
- `models`      an architecture and a technique's change as a plain Keras model
- `engine`      trains a population of Keras models in one compiled program
- `units`       one training run as a value, and the key that names it
- `trainer`     turns units into members of a population, and what came out into measures
- `devices`     which core or GPU a worker gets, and how much memory
- `workers`     where units run: one single-threaded process per core
- `journal`     what has been finished, kept through interruptions
- `search`      Optuna: asks for trials in rounds, tells what they gave
- `tracking`    the only importer of mlflow
- `measures`    what is measured of a trained model
- `claims`, `verdicts`  the articles' claims as data; their verdicts as tables
- `comparison`, `trials`, `advice`  two techniques compared; what was tried; what to use
- `summary`, `figures`, `report`  tables and pages from the result files
- `stages`      fetch, prepare, tune, train, report, overview, publish; study runs them all

Importing the package imports none of them.
"""
