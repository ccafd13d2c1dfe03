"""The stages, one thin `main(argv)` each, and their properties, readable without importing them."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """The properties of a stage, and what `study` does with it."""

    of_study: bool = False  # its first argument is a study, for which it writes a log
    workers: bool = False  # trains in workers, whose imports start at once
    step: bool = False  # `study` runs it for each of its studies, in this order
    ends_in: float = 2.0  # seconds that it may take to close after an interruption
    files: tuple[str, ...] = ()  # in results/<study>, shown in MLflow's run of `study`


STAGES: Mapping[str, Stage] = {
    "new-study": Stage(),
    "fetch": Stage(of_study=True, step=True),
    "prepare": Stage(of_study=True, step=True),
    "article": Stage(of_study=True, workers=True),
    "tune": Stage(of_study=True, workers=True, step=True, files=("tuned.json", "trials.csv")),
    "train": Stage(of_study=True, workers=True, step=True, files=("runs.csv",)),
    "timing": Stage(of_study=True),
    "report": Stage(of_study=True, step=True, files=("summary.csv", "report.html")),
    "overview": Stage(),
    "publish": Stage(of_study=True),
    "apply": Stage(),
    "study": Stage(ends_in=5.0),  # after the stage that it waits for
    "compare": Stage(),
    "techniques": Stage(),
    "journal": Stage(),
}
