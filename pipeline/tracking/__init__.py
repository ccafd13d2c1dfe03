"""MLflow as a view of the result files: a run per trial and per final run, and none of them twice.

The only importer of mlflow. A live stage and `publish` take the same path: rows of trials.csv and
runs.csv become `Record`s, and a `Tracker` writes those whose key the experiment does not hold yet.
Training never waits for the tracking server and never stops with it. mlflow takes seconds to
import: that is done inside functions, on the tracker's thread, so that nothing waits for it.

- `records`     rows of result files as records: parameters, metrics, a curve, a model
- `context`     what all records of a data set share, and the digest that names a study
- `tracker`     takes records, writes them in the background, survives the store's absence
- `experiment`  what is in the experiment already, and what a record adds to it
- `findings`    what parents say of their children, and which run is the champion
- `drawing`     figures and curves of the parents, drawn in processes beside the writer
- `packages`, `entities`  models and numbers in MLflow's forms
- `figures`     the report's figures, in the parents
- `project`     the run that `mlflow run` opens
- `store`       which store, what things are called there, what went wrong with it

    experiment        regularization/<dataset>
      parent run      a technique's search, or its final runs      tags: phase, technique, study
        child run     a trial, or a final run                      tag: unit_key
    registered model  regularization-<study>                       alias: champion

A child's metrics have the names of the columns; `curve/…` are its learning curves by epoch and
`best_…` the values at the best epoch. A parent's metrics are the best trial's values, or means over
its children, of each setting too: MLflow's charts have a section for each name before a slash, so
`test_accuracy/article` and `test_accuracy/tuned` are side by side, and above all other charts. Its
artifacts are figures, the report's under `report`, and curves.parquet, in which the thinned curves
of the children are complete.

Other params or other data make another study, with parents of its own. A run that two studies have
in common stays with the parent that had it first, and counts in the figures of both.
"""
