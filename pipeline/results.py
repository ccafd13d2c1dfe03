"""The result files of a study: their names, their columns, one writer and one reader of each.

Readers take the study's folder. Files that are missing, damaged or not as their stage wrote them,
missing columns, and names that are none are reported with the command that makes them. pandas is
imported where a table is read or written, so that stages which only need a path start without it.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from pipeline import files
from pipeline.datasets import Dataset
from pipeline.datasets import Protocol as SplitProtocol
from pipeline.datasets import task as tasks
from pipeline.datasets.task import Task
from pipeline.errors import UserError
from pipeline.files import manifest, replace, replace_csv, replace_text

if TYPE_CHECKING:
    import pandas as pd

Row = dict[str, Any]
Arrays = Mapping[str, np.ndarray]

RESULTS = Path("results")
MODELS = Path("models")
PREPARED = Path("data/prepared")

TRIALS, TUNED = "trials.csv", "tuned.json"
TRIAL_RUNS = "trial_runs.csv"  # validation scores of each trial on each draw
CHOICES = "choices.csv"  # what the choices were worth on test examples
YARDSTICKS = "yardsticks.csv"  # what simple models reach; without rows but for people's own data
HOSTS = "hosts.csv"  # where each final run was trained; read by people alone
RUNS, CURVES, ABOUT = "runs.csv", "curves.parquet", "about.json"
PREDICTIONS, INSPECTIONS = "predictions.npz", "inspections.npz"
TIMES = "inference.csv"
SUMMARY, ADVICE = "summary.csv", "advice.json"
REPORT = ("summary.csv", "ensembles.csv", "advice.json", "report.html", "metrics.json")
DRAWN = ("plots", "figures")  # the report's folders
PLOTTED = "plots/curves.csv"
MADE_BY: Mapping[str, str] = {
    **dict.fromkeys((TRIALS, TRIAL_RUNS, TUNED), "tune"),
    **dict.fromkeys((RUNS, CURVES, ABOUT, PREDICTIONS, INSPECTIONS, CHOICES, YARDSTICKS), "train"),
    TIMES: "timing",
    **dict.fromkeys((SUMMARY, ADVICE), "report"),
}

WEIGHTS = "weights"  # in the file of predictions, of test examples; no run has this key
SAME_TEST = "same_test"  # a column of runs.csv: whether all replicates have the same test examples
SIZE = "size"  # a column of trials: of what the study varies, such as training rows
FAILED = "failed"  # in tuned.json: technique -> why it has no tuned setting
STUDY = "study_digest"  # a column: digest of the params and data that decide a technique's runs
PARAM = (
    "params."  # prefix of the columns of hyperparameters, which distinguishes them from measures
)
TRIAL_COLUMNS = ("task", "technique", "search", "trial", "state", "draws", "val_loss")
TRIAL_RUN_COLUMNS = ("task", "technique", "search", "trial", "turn", "key", "val_loss")
CHOICE_COLUMNS = (
    *("technique", "search", "trials", "rank_correlation", "rank_low", "rank_high"),
    *("practitioner_lost", "practitioner_lost_error"),
)
YARDSTICK_COLUMNS = (
    *("key", "task", "yardstick", "estimator", "draw"),
    *("rows", "of_rows"),  # trained on, of those that the draw has for training
    *("overlap", SAME_TEST),
)
RUN_COLUMNS = (
    *("key", "study", "task", "technique", "setting", "leaks"),
    *("search", "replicate", "seed", "overlap", SAME_TEST),  # see `analysis.paired`
    *("val_loss", "diverged"),
)
SUMMARY_COLUMNS = (
    *("study", "task", "technique", "reference", "setting", "leaks"),
    "searched",  # whether a search chose values of this setting
    *("outcome", "role"),  # a column of runs.csv; primary, secondary or described
    *("n", "searches", "runs"),  # replicates, and of how many searches and runs
    *("mean", "mean_low", "mean_high"),
    *("difference", "difference_low", "difference_high", "error", "df"),  # technique minus none
    *("simultaneous_low", "simultaneous_high"),  # of the difference, within its family
    *("p", "p_holm", "p_simultaneous", "p_flips"),
    *("seeds_low", "seeds_high"),  # of the difference, if seeds alone varied
    *("improvement", "group", "needed", "margin"),
    "limits",  # what no number of replicates takes away from the error; see `Pairs.limits`
    *("diverged", "collapsed"),  # runs
    *("outliers", "farthest", "median"),  # runs that end far from the others; see `outliers`
    "best",  # whether a technique is shown to be better than each of the others
)
# A key may consist of digits alone, and so may a digest.
TEXTS = {"key": str, STUDY: str}
# Names become files, ids and addresses, and result files can come from others.
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
NAMES = ("key", "study", "technique", "setting", "reference", "outcome", "mlflow_run_id")
NUMBERS = ("search", "trial", "turn", "replicate", "seed", "draw", "draws", "val_loss", "overlap")


class Predictor(Protocol):
    """What the files need to know of what predicts: a final run or a yardstick."""

    @property
    def key(self) -> str:
        """Its key, by which all files name it."""

    @property
    def protocol(self) -> SplitProtocol:
        """The protocol whose split it uses."""

    @property
    def draw(self) -> int:
        """The index of the draw that it uses."""


class FinalRun(Predictor, Protocol):
    """What the files need to know of a final run."""

    @property
    def technique(self) -> str:
        """The name of a registered technique or of a combination."""

    @property
    def setting(self) -> str:
        """`article` or `tuned`."""


# Paths


def prepared(study: str) -> Path:
    """The file with a study's prepared data."""
    return PREPARED / f"{study}.npz"


def model_path(study: str, technique: str, setting: str, search: int, seed: int) -> Path:
    """A final run's model, such as models/circles/l2/tuned-0-3.keras: search 0, seed 3."""
    return MODELS / study / technique / f"{setting}-{search}-{seed}.keras"


def command(path: Path) -> str:
    """The command that makes a study's file, such as `python -m pipeline train circles`.

    >>> command(RESULTS / "circles" / RUNS)
    'python -m pipeline train circles'
    """
    return f"python -m pipeline {MADE_BY[path.name]} {path.parent.name}"


# Files as their stages wrote them


def seal(
    folder: Path, stage: str, names: Iterable[str], written: Mapping[Path, Path] | None = None
) -> None:
    """Writes the manifest of the files that a stage has written to a study's folder.

    `written`: where files and manifest are written before they are moved into the folder.
    """
    target = manifest(folder, stage)
    places = {path: path for path in (target, *(folder / name for name in names))} | {
        **(written or {})
    }
    listed = {name: places[folder / name] for name in names}
    files.write_manifest(places[target], listed)


def seal_report(folder: Path) -> None:
    """Writes the manifest of a report: of its tables, its page, its plots and its figures."""
    drawn = [path for name in DRAWN for path in (folder / name).rglob("*") if path.is_file()]
    names = [name for name in REPORT if (folder / name).is_file()]
    seal(folder, "report", [*names, *(path.relative_to(folder).as_posix() for path in drawn)])


def check_stage(folder: Path, stage: str) -> None:
    """Raises UserError if a file that a stage has written is missing, damaged or changed."""
    made_by = f"python -m pipeline {stage} {folder.name}"
    listed = manifest(folder, stage)
    for name in files.read_manifest(listed, made_by):
        files.check_listed(folder / name, listed, made_by)


def check_model(path: Path) -> None:
    """Raises UserError if a final run's model is missing, damaged or changed."""
    parts = path.parts
    study = parts[1] if len(parts) > 2 else ""
    made_by = f"python -m pipeline train {study}"
    if parts[:1] != MODELS.parts or ".." in parts or path.suffix != ".keras":
        raise UserError(
            f"{RUNS} must name models as {MODELS}/<study>/<technique>/<file>.keras, but names"
            f" {str(path)[:80]!r}; run `python -m pipeline train <study>` again"
        )
    if not path.is_file():
        raise UserError(f"{path} is missing; run `{made_by}`, or `dvc checkout` if DVC has it")
    files.check_listed(path, manifest(MODELS / study, "train"), made_by)
    with files.reading(path, made_by):
        files.check_archive(path)


# Hyperparameters and the task in tables


def param_columns(values: Mapping[str, float]) -> dict[str, float]:
    """Hyperparameters under the names of their columns.

    >>> param_columns({"strength": 0.01})
    {'params.strength': 0.01}
    """
    return {f"{PARAM}{name}": value for name, value in values.items()}


def params_of(row: Mapping[Any, Any]) -> dict[str, Any]:
    """The hyperparameters of a row, under their own names: the inverse of `param_columns`.

    >>> params_of({"params.strength": 0.01, "val_loss": 0.3})
    {'strength': 0.01}
    """
    return {
        name.removeprefix(PARAM): value for name, value in row.items() if name.startswith(PARAM)
    }


def task_of(table: "pd.DataFrame") -> Task:
    """The one task in a table of runs, trials or a summary.

    Raises UserError for an unknown task, or for more than one.
    """
    names = list(table["task"].unique())
    if len(names) != 1:
        raise UserError(f"results of one study must have one task, but have {', '.join(names)}")
    return tasks.named(names[0])


# Missing files, columns and runs


def _present(path: Path) -> Path:
    """The path of a file that is there and as its stage wrote it. Raises UserError."""
    if not path.is_file():
        raise UserError(f"{path} is missing; run `{command(path)}`")
    files.check_listed(path, manifest(path.parent, MADE_BY[path.name]), command(path))
    return path


@contextmanager
def reading(path: Path) -> Iterator[Path]:
    """Within the block a study's file is read. Raises UserError if it is missing or damaged."""
    with files.reading(_present(path), command(path)):
        yield path


def _check_names(path: Path, names: Iterable[object]) -> None:
    """Raises UserError if one of the names from a file is none. Those that are no text may be."""
    for name in names:
        if isinstance(name, str) and not NAME.fullmatch(name):
            raise UserError(
                f"{path} must have names of letters, digits and _ . -, but has {name[:40]!r}; it is"
                f" damaged or not from this project: run `{command(path)}` again"
            )


def _check_table(path: Path, table: "pd.DataFrame") -> None:
    """Raises UserError if names are none, or numbers are none."""
    from pandas.api.types import is_numeric_dtype

    for column in table.columns.intersection([*NAMES]):
        _check_names(path, table[column].unique())
    for column in table.columns.intersection([*NUMBERS]):
        if len(table) and not is_numeric_dtype(table[column]):
            raise UserError(
                f"{path} must have numbers in the column {column}, but has others; it is damaged:"
                f" run `{command(path)}` again"
            )


def _check_columns(path: Path, names: Iterable[str], columns: Iterable[str]) -> None:
    names = list(names)
    if missing := [column for column in dict.fromkeys(columns) if column not in names]:
        raise UserError(
            f"{path} lacks the columns {', '.join(missing)}; it has"
            f" {', '.join(names)}; run `{command(path)}` again"
        )


def check_keys(path: Path, content: str, runs: "pd.DataFrame", keys: Iterable[str]) -> None:
    """Raises UserError if a file lacks the `content`, such as curves, of any of these runs."""
    if absent := sorted(set(runs["key"]) - set(keys)):
        raise UserError(
            f"{path} lacks the {content} of {len(absent)} of the {len(runs)} runs in {RUNS}, the"
            f" first with key {absent[0]}; run `{command(path)}` again"
        )


# Tables


def _read_table(
    path: Path,
    columns: Sequence[str],
    of_task: Callable[[Task], Iterable[str]],
    may_be_empty: bool = False,
) -> "pd.DataFrame":
    """A CSV file with these columns, those of its task, and, unless it may be empty, a row."""
    import pandas as pd

    with reading(path):
        table = pd.read_csv(path, dtype=TEXTS)
        task_columns = of_task(task_of(table)) if "task" in table and len(table) else ()
    _check_columns(path, table.columns, [*columns, *task_columns])
    _check_table(path, table)
    if table.empty and not may_be_empty:
        raise UserError(f"{path} has no rows; run `{command(path)}` again")
    return table


def read_trials(folder: Path) -> "pd.DataFrame":
    """The trials of a study's searches, one row each.

    Raises UserError if the file or a column is missing.
    """
    return _read_table(folder / TRIALS, TRIAL_COLUMNS, lambda task: [task.val.name])


def read_trial_runs(folder: Path) -> "pd.DataFrame":
    """The runs of the trials, one row each.

    Raises UserError if the file or a column is missing.
    """
    return _read_table(folder / TRIAL_RUNS, TRIAL_RUN_COLUMNS, lambda task: [task.val.name])


def read_choices(folder: Path) -> "pd.DataFrame":
    """What each search's choice was worth; no rows, if no trial was small enough to be kept.

    Raises UserError if the file or a column is missing.
    """
    return _read_table(folder / CHOICES, CHOICE_COLUMNS, lambda task: [], may_be_empty=True)


def write_yardsticks(rows: Sequence[Row], path: Path) -> None:
    """Writes rows with the columns `YARDSTICK_COLUMNS`, all scores, and seconds; maybe no row."""
    import pandas as pd

    columns = dict.fromkeys([*YARDSTICK_COLUMNS, *(name for row in rows for name in row)])
    replace_csv(path, pd.DataFrame(rows, columns=[*columns]), digits=10)


def read_yardsticks(folder: Path) -> "pd.DataFrame":
    """What simple models reach, a row for each and draw; no rows but for people's own data.

    Raises UserError if the file, a column or a score of the task is missing.
    """
    return _read_table(
        folder / YARDSTICKS,
        YARDSTICK_COLUMNS,
        lambda task: [task.of("test", score).name for score in task.scores],
        may_be_empty=True,
    )


def read_runs(folder: Path) -> "pd.DataFrame":
    """The final runs of a study, one row each, without failed runs and their pairs.

    Columns of scores, gap and model are always present, those of other measures may be missing.
    Raises UserError if the file or a required column is missing, if there are no rows, if a
    technique has two runs on one seed, or if no seed is without a failed run.
    """
    path = folder / RUNS
    runs = _read_table(path, RUN_COLUMNS, lambda task: task.headlines)
    repeated = runs[runs.duplicated(["setting", "technique", "search", "seed"])]
    if len(repeated):
        first = repeated.iloc[0]
        raise UserError(
            f"{path} must have one run per technique, setting, search and seed, but"
            f" {first['technique']!r} ({first['setting']}) has more than one on seed"
            f" {first['seed']} of search {first['search']}"
        )
    complete = _without_failed(runs) if "failed" in runs else runs
    if complete.empty:
        reason = runs["failed"].dropna().iloc[0]
        raise UserError(f"{path}: every seed has a failed run ({reason})")
    # A study that varies a size keeps no models.
    return complete if "model" in complete else complete.assign(model=None)


def _without_failed(runs: "pd.DataFrame") -> "pd.DataFrame":
    """The runs of complete pairs.

    A technique that failed on every seed of a setting is dropped there. Then every seed on which
    another one failed is dropped for all techniques and searches, so that they stay paired.
    """
    failed = runs["failed"].notna()
    hopeless = failed.groupby([runs["setting"], runs["technique"]]).transform("all")
    remaining, failed = runs[~hopeless], failed[~hopeless]
    lost = failed.groupby([remaining["setting"], remaining["seed"]]).transform("any")
    return remaining[~lost].drop(columns="failed").infer_objects()


def read_rows(path: Path) -> list[Row]:
    """The rows of trials.csv or runs.csv, with any columns; none if the file is missing.

    Raises UserError if the file is damaged or a name in it is none.
    """
    import pandas as pd

    if not path.exists():
        return []
    with reading(path):
        table = pd.read_csv(path, dtype=TEXTS)
    _check_table(path, table)
    records = table.to_dict("records")
    return [{str(name): value for name, value in row.items()} for row in records]


_LAST = (f"{PARAM}epochs", "epochs_run", "seconds", "mlflow_run_id", "model")


def write_rows(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Writes rows as CSV, whole or not at all; a value that a row lacks stays empty."""
    import pandas as pd

    columns = list(dict.fromkeys(name for row in rows for name in row))
    columns = [column for column in columns if column not in _LAST] + [
        column for column in _LAST if column in columns
    ]
    frame = pd.DataFrame(rows, columns=columns)
    # A patience of 3 in a column with gaps would be read back as 3.0.
    frame = frame.convert_dtypes()
    replace(path, lambda scratch: frame.to_csv(scratch, index=False))


def read_summary(folder: Path) -> "pd.DataFrame":
    """The table of `analysis.summary`. Raises UserError if the file or a column is missing."""
    table = _read_table(folder / SUMMARY, SUMMARY_COLUMNS, lambda task: ())
    texts = {name: table[name].astype(object).fillna("") for name in ("group", "limits")}
    return table.assign(**texts)


def write_summary(summary: "pd.DataFrame", folder: Path) -> None:
    """Writes the table as CSV, rounded to ten digits so that machines agree on it."""
    replace_csv(folder / SUMMARY, summary, digits=10)


def read_times(folder: Path, column: str) -> "pd.DataFrame | None":
    """The times of final runs' models, in the columns key and `column`; None without the file."""
    import pandas as pd

    path = folder / TIMES
    if not path.is_file():
        return None
    with reading(path):
        times = pd.read_csv(path, dtype=TEXTS)
    _check_columns(path, times.columns, ["key", column])
    return times[["key", column]]


# Curves


def write_curves(curves: "Mapping[str, pd.DataFrame]", path: Path) -> None:
    """Writes the curves of final runs, by key, as Parquet: key, epoch and a column per curve.

    Curves seldom repeat a value: split by bytes instead of encoded by a dictionary, circles' 1.2
    million rows are written in half the time, to two thirds of the size.
    """
    import pandas as pd

    frame = pd.concat(curves.values(), ignore_index=True)
    indices = np.repeat(np.arange(len(curves)), [len(curve) for curve in curves.values()])
    keys = pd.Categorical.from_codes(indices, pd.Index([*curves]))
    frame.insert(0, "key", pd.Series(keys))
    write = partial(
        frame.to_parquet,
        index=False,
        compression="zstd",
        use_dictionary=["key"],
        use_byte_stream_split=[*frame.columns[2:]],
    )
    replace(path, write)


def read_curves(folder: Path, runs: "pd.DataFrame", names: Sequence[str]) -> "pd.DataFrame":
    """The learning curves `names` of final runs: key, epoch and a column per curve.

    Raises UserError if the file, a column or the curve of a run is missing.
    """
    import pandas as pd
    from pyarrow import parquet

    path, columns = folder / CURVES, ["key", "epoch", *names]
    with reading(path):
        _check_columns(path, parquet.read_schema(path).names, columns)
        curves = pd.read_parquet(path, columns=columns)
    check_keys(path, "curves", runs, curves["key"].unique())
    return curves[curves["key"].isin(runs["key"])].reset_index(drop=True)


def read_each_curve(folder: Path) -> "dict[str, pd.DataFrame]":
    """All curves of each run, by its key; empty if the file is missing."""
    import pandas as pd

    path = folder / CURVES
    if not path.exists():
        return {}
    with reading(path):
        frame = pd.read_parquet(path)
        groups = frame.drop(columns="key").groupby(frame["key"], observed=True)
        return {str(key): curve for key, curve in groups}


# Arrays


def write_inspections(inspected: Iterable[tuple[FinalRun, Arrays]], path: Path) -> None:
    """Writes arrays from inside the inspected models, named setting/technique/name."""
    arrays: dict[str, Any] = {
        f"{run.setting}/{run.technique}/{name}": array
        for run, by_name in inspected
        for name, array in by_name.items()
    }
    replace(path, lambda scratch: np.savez_compressed(scratch, **arrays))


def read_inspections(folder: Path) -> Iterator[tuple[str, str, str, np.ndarray]]:
    """Setting, technique, name and array of each. Raises UserError if the file is missing."""
    path = folder / INSPECTIONS
    with reading(path), files.arrays(path) as arrays:
        for label in arrays:
            setting, technique, name = label.split("/")
            _check_names(path, (setting, technique, name))
            yield setting, technique, name, arrays[label]


def write_predictions(
    runs: Iterable[tuple[Predictor, np.ndarray]], data: Dataset, path: Path
) -> None:
    """Writes what is predicted for the test examples, and the labels of these, as .npz.

    `<sample>/<key>` has a run's probabilities, (n, units), or a regression's numbers, (n, 1);
    `<sample>/labels` has the labels or the targets, (n,), and `<sample>/weights` the weights of the
    examples, (n,) of mean 1, unless all count the same. Runs of one sample share their training,
    validation and test examples. Yardsticks are written as runs are. Probabilities stay float32:
    float16 rounds 0.9999 to 1, which changes the loss. They are not compressed: for circles that
    takes fifteen times as long as writing, for a quarter of the size.
    """
    arrays: dict[str, Any] = {}
    for run, probabilities in runs:
        sample = data.sample(run.protocol, run.draw)
        rows = data.rows(run.protocol, "test", run.draw)
        arrays[f"{sample}/labels"] = data.y[rows]
        weights = data.weights_of(rows)
        if weights is not None:
            arrays[f"{sample}/{WEIGHTS}"] = weights
        arrays[f"{sample}/{run.key}"] = probabilities
    replace(path, lambda scratch: np.savez(scratch, **arrays))


def read_predictions(
    folder: Path, runs: "pd.DataFrame"
) -> Iterator[tuple[str, str | None, np.ndarray]]:
    """Sample, key and predictions of each run, and, with the key None, each sample's labels.

    With the key `WEIGHTS` the weights of a sample's examples, if they have some. `runs`: final
    runs, or yardsticks.

    Raises UserError if the file or the predictions of one of `runs` are missing.
    """
    path = folder / PREDICTIONS
    wanted = {"labels", WEIGHTS, *runs["key"]}
    with reading(path), files.arrays(path) as arrays:
        labelled = [(name, *name.split("/")) for name in arrays]
        check_keys(path, "predictions", runs, (key for _, _, key in labelled))
        for name, sample, key in labelled:
            if key in wanted:
                yield sample, None if key == "labels" else key, arrays[name]


# JSON


def write_json(content: Mapping[str, Any], path: Path) -> None:
    """Writes indented JSON, whole or not at all."""
    text = json.dumps(content, indent=2, allow_nan=False) + "\n"
    replace_text(path, text)


def _read_json(path: Path) -> dict[str, Any]:
    with reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise TypeError(f"expected an object, got {type(content).__name__}")
    return content


def read_tuned(folder: Path) -> dict[str, Any]:
    """What the searches chose. Raises UserError if the file, its task or techniques are missing."""
    path = folder / TUNED
    tuned = _read_json(path)
    _check_columns(path, tuned, ["task", "sizes" if varies(tuned) else "techniques"])
    with reading(path):
        for by_name in tuned["sizes"].values() if varies(tuned) else [tuned["techniques"]]:
            _check_names(path, by_name)
            for name, found in by_name.items():
                if not all(isinstance(each["values"], dict) for each in found["searches"]):
                    raise TypeError(f"{name}: expected searches with values")
    return tuned


def varies(tuned: Mapping[str, Any]) -> bool:
    """Whether tuned.json is of a study that varies a size."""
    return "sizes" in tuned


def techniques_at(tuned: Mapping[str, Any], size: int | None) -> dict[str, Any]:
    """Technique -> what its searches chose, at a size of what the study varies, if it does.

    Empty if tuned.json lacks it.
    """
    found = tuned.get("techniques") if size is None else tuned.get("sizes", {}).get(str(size))
    return dict(found or {})


def read_advice(folder: Path) -> dict[str, Any]:
    """The advice of a study's report. Raises UserError if the file is missing or damaged."""
    advised = _read_json(folder / ADVICE)
    _check_columns(folder / ADVICE, advised, ["text", "by_validation"])
    return advised


def read_plotted_curves(folder: Path) -> "pd.DataFrame":
    """The mean curves that the report plots. Raises UserError if they are missing or damaged."""
    import pandas as pd

    check_stage(folder, "report")
    path = folder / PLOTTED
    with files.reading(path, f"python -m pipeline report {folder.name}"):
        return pd.read_csv(path)


# Models


def place_models(models: Iterable[tuple[Path, Path]]) -> None:
    """Makes each source available as its target: as a hard link, or as a copy where none can be."""
    for source, target in models:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:
            shutil.copyfile(source, target)
