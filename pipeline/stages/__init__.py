"""The stages, one thin `main(argv)` each, and their properties, readable without importing them."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """The properties of a stage, and what `study` does with it."""

    of_study: bool = False  # its first argument is a study, for which it writes a log
    workers: bool = False  # trains in workers, whose imports start at once
    step: bool = False  # `study` runs it for each of its studies, in this order
    ends_in: float = 2.0  # seconds that it may take to close after an interruption
    files: tuple[str, ...] = ()  # in results/<study>, shown in MLflow's run of `study`
    writes: tuple[str, ...] = ()  # folders; {} stands for the study

    def folders(self, study: str) -> list[Path]:
        """The folders that it writes to."""
        return [Path(folder.format(study)) for folder in self.writes]


_KEPT = (".journal/{}", "logs")  # what every stage that trains writes to

STAGES: Mapping[str, Stage] = {
    "new-study": Stage(writes=(".", "data/own")),
    "fetch": Stage(of_study=True, step=True, writes=("data/raw/{}", "logs")),
    "prepare": Stage(of_study=True, step=True, writes=("data/prepared", "logs")),
    "article": Stage(of_study=True, workers=True, writes=_KEPT),
    "tune": Stage(
        of_study=True,
        workers=True,
        step=True,
        files=("tuned.json", "trials.csv"),
        writes=("results/{}", *_KEPT),
    ),
    "train": Stage(
        of_study=True,
        workers=True,
        step=True,
        files=("runs.csv",),
        writes=("results/{}", "models/{}", *_KEPT),
    ),
    "timing": Stage(of_study=True, writes=("results/{}", "logs")),
    "report": Stage(
        of_study=True,
        step=True,
        files=("summary.csv", "report.html"),
        writes=("results/{}", "logs"),
    ),
    "overview": Stage(writes=("reports",)),
    "publish": Stage(of_study=True, writes=(".journal", "logs")),
    "apply": Stage(writes=(".",)),
    "study": Stage(
        ends_in=5.0,  # after the stage that it waits for
        writes=(".", ".journal", "data", "results", "models", "studies", "logs"),
    ),
    "compare": Stage(),
    "techniques": Stage(),
    "journal": Stage(),
}
