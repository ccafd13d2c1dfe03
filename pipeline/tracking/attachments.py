"""The parents of a study's final runs, and the report's figures in them."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.results import STUDY
from pipeline.tracking.opening import visit
from pipeline.tracking.records import parent_name

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


def studies(runs: pd.DataFrame) -> dict[str, str]:
    """Technique → the study digest in its rows of runs.csv; older files have none."""
    digests = runs.reindex(columns=["technique", STUDY]).dropna().drop_duplicates("technique")
    return dict(zip(digests["technique"], digests[STUDY], strict=True))


def parent_of(
    client: "MlflowClient",
    experiment_id: str,
    technique: str,
    studies: Mapping[str, str],
    asked: str,
) -> "Run | None":
    """The newest parent of a technique's final runs.

    `studies`: technique → study digest, without which any version will do. `asked`: see
    `context.asked`. With a digest the rest of the name does not count, since `dvc exp apply` makes
    a study that was asked for under a name the one of params.yaml.
    """
    if technique in studies:
        name = parent_name(technique, "train")
        query = f"attributes.run_name LIKE '{name}%' and tags.{STUDY} = '{studies[technique]}'"
    else:
        query = f"attributes.run_name = '{parent_name(technique, 'train', asked)}'"
    return next(iter(client.search_runs([experiment_id], query, max_results=1)), None)


def log_figures(
    study: str,
    figures: Mapping[str, Sequence[Path]],
    studies: Mapping[str, str],
    asked: str = "",
) -> bool:
    """Logs files, technique → paths, under `report` in the parents of a study's final runs.

    `studies` and `asked`: see `parent_of`. Files of the same name are replaced. A store without the
    study stays as it is. Returns whether the store works; if not, a warning is logged.
    """
    return visit(study, partial(_log_figures, figures=figures, studies=studies, asked=asked))


def _log_figures(
    client: "MlflowClient",
    experiment_id: str,
    figures: Mapping[str, Sequence[Path]],
    studies: Mapping[str, str],
    asked: str,
) -> None:
    for technique, paths in figures.items():
        run = parent_of(client, experiment_id, technique, studies, asked)
        if run is not None:
            for path in paths:
                client.log_artifact(run.info.run_id, str(path), "report")
