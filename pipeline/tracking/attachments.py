"""The report's figures in the parents of a study's final runs."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline.results import STUDY
from pipeline.tracking.store import visit

if TYPE_CHECKING:
    from mlflow import MlflowClient


def studies(runs: pd.DataFrame) -> dict[str, str]:
    """Technique → the study digest in its rows of runs.csv; older files have none."""
    digests = runs.reindex(columns=["technique", STUDY]).dropna().drop_duplicates("technique")
    return dict(zip(digests["technique"], digests[STUDY], strict=True))


def log_figures(
    study: str, figures: Mapping[str, Sequence[Path]], studies: Mapping[str, str]
) -> bool:
    """Logs files, technique → paths, under `report` in the parents of a study's final runs.

    `studies`: technique → study digest; a technique without one uses its newest parent. Files of
    the same name are replaced. A store without the study stays as it is. Returns whether the store
    works; if not, a warning is logged.
    """
    return visit(study, partial(_log_figures, figures=figures, studies=studies))


def _log_figures(
    client: "MlflowClient",
    experiment_id: str,
    figures: Mapping[str, Sequence[Path]],
    studies: Mapping[str, str],
) -> None:
    for technique, paths in figures.items():
        # No run of this name is a child, since the names of children end in a seed.
        query = f"attributes.run_name = '{technique} · train'"
        if technique in studies:
            query += f" and tags.{STUDY} = '{studies[technique]}'"
        for run in client.search_runs([experiment_id], query, max_results=1):
            for path in paths:
                client.log_artifact(run.info.run_id, str(path), "report")
