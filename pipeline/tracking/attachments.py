"""The report's figures in the parents of a study's final runs."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.results import STUDY
from pipeline.tracking.store import describe, experiment_name, sqlite_file, tracking_uri

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)


def studies(runs: pd.DataFrame) -> dict[str, str]:
    """Technique → the study digest in its rows of runs.csv; older files have none."""
    digests = runs.reindex(columns=["technique", STUDY]).dropna().drop_duplicates("technique")
    return dict(zip(digests["technique"], digests[STUDY], strict=True))


def log_figures(
    study: str, figures: Mapping[str, Sequence[Path]], studies: Mapping[str, str]
) -> int:
    """Logs files, technique → paths, under `report` in the parents of a study's final runs.

    `studies`: technique → study digest; a technique without one uses its newest parent. Files of
    the same name are replaced. Returns the number of files logged: 0 if the store does not have
    the study, and 0 with a warning if the store fails.
    """
    file = sqlite_file(tracking_uri())
    if file is not None and not file.exists():
        return 0
    from mlflow import MlflowClient

    try:
        client = MlflowClient(tracking_uri())
        experiment = client.get_experiment_by_name(experiment_name(study))
        if experiment is None:
            return 0
        return _log_figures(client, experiment.experiment_id, figures, studies)
    except Exception as error:
        _log.warning("%s: MLflow %s; the figures are in the result files", study, describe(error))
        return 0


def _log_figures(
    client: "MlflowClient",
    experiment_id: str,
    figures: Mapping[str, Sequence[Path]],
    studies: Mapping[str, str],
) -> int:
    logged = 0
    for technique, paths in figures.items():
        # No run of this name is a child, since the names of children end in a seed.
        query = f"attributes.run_name = '{technique} · train'"
        if technique in studies:
            query += f" and tags.{STUDY} = '{studies[technique]}'"
        for run in client.search_runs([experiment_id], query, max_results=1):
            for path in paths:
                client.log_artifact(run.info.run_id, str(path), "report")
                logged += 1
    return logged
