"""MLflow as a view of the result files: a run per trial and per final run, and none of them twice.

The only room that imports mlflow. Live stages and `publish` use the same code: rows of trials.csv
and runs.csv become `Record`s, and a `Tracker` writes those whose key the experiment does not have
yet. Training neither waits for the tracking server nor fails with it. Importing mlflow takes
seconds, so functions import it, on the tracker's thread.

- `records`     rows of result files as records: parameters, metrics, a curve, a model
- `context`     what all records of a study share, and the digest of its values and data
- `tracker`     takes records and writes them in the background, as long as the store works
- `experiment`  what the experiment has already, and what a record adds to it
- `restoring`   artifacts of its runs that were removed
- `findings`    metrics and descriptions of parents
- `drawing`     figures and curves of the parents, drawn in a process beside the writer
- `packages`, `entities`  models, parameters and metrics as MLflow's types
- `attachments` the report's figures, in the parents
- `comparison`  what a report found, on the parents and on the experiment; `view` shows it
- `renewal`     a new run in the place of a parent whose curves have changed
- `champion`    the registered model: a run of the technique that the report advises
- `project`     the run that `mlflow run` opens
- `store`       address of the store, names in it, and words for its errors
- `opening`     a client of the store, after one brief look; makes and migrates a SQLite file

    experiment        regularization/<study>
      parent run      a technique's search, or its final runs      tags: phase, technique, study
        child run     a trial, or a final run                      tag: unit_key
    registered model  regularization-<study>                       alias: champion

A child's metrics have the names of the columns; `curve/…` are its learning curves by epoch and
`best_…` the values at the best epoch. A parent's metrics are those of the best trial, or means over
its children, also per setting: MLflow's charts have a section for each name before a slash, so
`test_accuracy/article` and `test_accuracy/tuned` are side by side, above all other charts. Its
artifacts are figures, those of the report under `report`, and curves.parquet with the complete
curves of its children, which themselves have thinned ones.

Other parameters or other data get new parents. A run that two versions of a study share stays under
the parent that had it first, and counts in the figures of both.
"""
