"""Run whole studies, with the values of params.yaml or others; `mlflow run` calls this.

With the values of params.yaml it runs `dvc repro`. With other values it leaves params.yaml as it is
and creates a folder under studies/ with its own params.yaml and results. Prepared data and finished
runs are shared, so no run is trained twice.
"""

import argparse
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import chdir
from hashlib import sha256
from importlib import import_module
from math import isnan
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pipeline import logs
from pipeline.analysis import chosen, summary
from pipeline.analysis.chosen import Chosen
from pipeline.config import loading
from pipeline.config.overrides import NAMES, Request
from pipeline.datasets import about
from pipeline.datasets.task import Measure, named
from pipeline.errors import CommandError, UserError
from pipeline.execution import processes
from pipeline.files import STUDIES, check_place, replace_text
from pipeline.formatting import counted
from pipeline.report import sentences
from pipeline.results import RESULTS, read_summary, read_tuned, varies
from pipeline.stages import STAGES, overview, publish, timing
from pipeline.tracking.project import Outcome, ProjectRun
from pipeline.tracking.store import tracking_uri

_log = logging.getLogger(__name__)

LAST = (*(name for name, stage in STAGES.items() if stage.files), "overview")
LONGEST = 120  # characters of a request in a folder's name
SHARED = ("data", ".journal")  # their content has the same names in every study


def main(argv: list[str]) -> None:
    """Runs the studies that `argv` asks for. Raises UserError for mistakes and failed stages."""
    with ProjectRun() as run:
        until, request = arguments(argv)
        raw = loading.read()
        loading.parse(raw)  # so that mistakes in the file itself are reported as such
        wanted = request.applied(raw)
        loading.parse(wanted, f"{loading.FILE} with {request}")
        names, text = list(wanted["studies"]), _text(wanted, request)
        run.asked({"studies": ",".join(names), "until": until}, text)
        folder = _own_folder(request, text) if request.replaces else Path()
        if not request.replaces and _in_dvc():
            _repro([] if request.studies is None else names, until)
            _publish(names)
        else:
            _run(names, until, folder)
        run.found([_outcome(folder, name, until) for name in names], folder.absolute())
        print(f"results of {', '.join(names)}: {folder / RESULTS}")


class _Parser(argparse.ArgumentParser):
    """Raises its errors as UserError, so that the run of `mlflow run` shows them."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"command line: {message}; expected --{' --'.join(('until', *NAMES))}")


def arguments(argv: list[str]) -> tuple[str, Request]:
    """The last stage to run, and the request. Raises UserError for invalid options."""
    parser = _Parser(
        prog="python -m pipeline study",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"Every option but --until defaults to the word {loading.FILE}: "
        "use the value in that file.",
        allow_abbrev=False,
    )
    helps = {
        "studies": "studies to run, such as circles,digits",
        "techniques": "such as l1,l2; `none`, the baseline, is always included",
        "trials": "trials per search",
        "seeds": "replicates: draws, splits or seeds of the final runs",
        "workers": "processes, or auto",
        "executor": "local, or ray for a cluster (docs/cluster.md)",
        "address": "the cluster's, host:port or auto",
    }
    for name in NAMES:
        parser.add_argument(f"--{name}", default=loading.FILE, help=helps[name])
    parser.add_argument("--until", choices=LAST, default=LAST[-1], help="last stage to run")
    words = vars(parser.parse_args(argv))
    return words.pop("until"), Request.of(words)


def _text(wanted: Mapping[str, Any], request: Request) -> str:
    """The content of a request's params.yaml."""
    note = f"# {loading.FILE} with {str(request) or 'nothing replaced'}\n"
    return note + yaml.safe_dump(wanted, sort_keys=False)


def _own_folder(request: Request, text: str) -> Path:
    """The folder of studies with other values; the same request always has the same folder."""
    folder = Path(STUDIES, _folder_name(request.name.replace(" ", "_")))
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in SHARED:
        Path(name).mkdir(exist_ok=True)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..", "..", name), target_is_directory=True)
    replace_text(folder / loading.FILE, text)
    return folder


def _folder_name(name: str) -> str:
    """The name, or its beginning and a digest if it is too long for a file system."""
    if len(name) <= LONGEST:
        return name
    return f"{name[:LONGEST]}-{sha256(name.encode()).hexdigest()[:8]}"


def _in_dvc() -> bool:
    """Whether this folder is a DVC project in git; an unpacked archive is not in git."""
    return Path(".dvc").is_dir() and Path(".git").exists()


def _repro(names: Sequence[str], until: str) -> None:
    """`dvc repro` of some studies, or of everything. Raises UserError if it fails."""
    whole = until == "overview"
    stages = ("report", "timing") if whole else (until,)
    targets = [f"{stage}@{name}" for stage in stages for name in names]
    _dvc("repro", *(targets or ([] if whole else [until])))
    if whole and targets:
        overview.main([])


def _publish(names: Sequence[str]) -> None:
    """Adds results that came from DVC's cache to MLflow; without MLflow there is a warning."""
    try:
        publish.main([*names])
    except UserError as error:
        _log.warning("%s", error)


def _dvc(*arguments: str) -> None:
    # `python` in dvc.yaml must be this interpreter even if its environment is not active.
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    command = [sys.executable, "-m", "dvc", *arguments]
    # In its own process group, so that an interruption reaches the stage, and only once.
    process = subprocess.Popen(command, env=os.environ | {"PATH": path}, process_group=0)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        process.wait()
        raise
    if code:
        shown = " ".join(("dvc", *arguments))
        raise CommandError(f"`{shown}` failed with exit code {code}; see its output above")


def _run(names: Sequence[str], until: str, folder: Path) -> None:
    """Runs the stages one after the other, in a folder without DVC."""
    processes.begin_preload()
    os.environ["MLFLOW_TRACKING_URI"] = tracking_uri()  # the same store in the other folder
    with chdir(folder):
        for study in names:
            for name in _steps(until):
                with logs.stage_file(name, study):
                    import_module(f"pipeline.stages.{name}").main([study])
        if until == "overview":
            for study in names:
                with logs.stage_file("timing", study):
                    timing.main([study])
            overview.main([])


def _steps(until: str) -> list[str]:
    """The stages to run for each study."""
    steps = [name for name, stage in STAGES.items() if stage.step]
    return steps[: steps.index(until) + 1] if until in steps else steps


def _outcome(folder: Path, study: str, until: str) -> Outcome:
    """The results of one study, as MLflow's run shows them."""
    home = folder / RESULTS / study
    steps = _steps(until)
    files = [home / name for step in steps for name in STAGES[step].files]
    tuned = read_tuned(home)
    val, choices = named(tuned["task"]).val, _chosen(tuned)
    metrics = {
        f"{val.name}/{name}": choice.score
        for name, choice in choices.items()
        if choice.score is not None
    }
    if "report" not in steps:
        searched = counted(tuned["trials"], "trial")
        headline = f"{counted(len(choices), 'technique')}, each searched in {searched}."
        return Outcome(study, _choices(study, choices, val), headline, metrics, files)
    table = read_summary(home)
    if varies(tuned):
        gains, told = sentences.told(home)
        return Outcome(study, gains, told, {}, files)
    finding = summary.find(table)
    for row in finding.primary:
        metrics[f"{finding.measure.name}/{row['technique']}"] = row["mean"]
    for row in finding.compared:
        metrics[f"difference/{row['technique']}"] = row["difference"]
    known = {name: value for name, value in metrics.items() if not isnan(value)}
    headline = sentences.headline(finding, about.read(home).title)
    return Outcome(study, summary.table(table), headline, known, files)


def _chosen(tuned: Mapping[str, Any]) -> dict[str, Chosen]:
    """What the searches chose, by technique, and by size where the study varies one."""
    if not varies(tuned):
        return chosen.choices(tuned)
    return {
        f"{name} at {size}": choice
        for size in tuned["sizes"]
        for name, choice in chosen.choices(tuned, int(size)).items()
    }


def _choices(study: str, choices: Mapping[str, Chosen], val: Measure) -> str:
    """The values that the searches chose, as plain text."""
    lines = [
        f"{name:<24}{val.told(choice.score)}  {choice.text}" for name, choice in choices.items()
    ]
    return "\n".join([f"{study}: {val.title} of the best trials, and their values", *lines])
