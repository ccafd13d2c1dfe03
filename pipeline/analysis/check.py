"""Tuned values against the article's, of the same technique on the same rows and epochs.

A search that finds worse values than those that somebody wrote down was too short or too noisy, and
nothing follows from what it compares. The baseline's rows decide about that; those of the other
techniques are shown beside.
"""

from collections.abc import Iterator

import pandas as pd

from pipeline.analysis import paired
from pipeline.analysis.effects import Effect
from pipeline.analysis.paired import PAIR
from pipeline.datasets.task import Task
from pipeline.results import PARAM

FRESH, ARTICLE, TUNED = "article_fresh", "article", "tuned"
EPOCHS = f"{PARAM}epochs"


def against_article(
    runs: pd.DataFrame, task: Task, same_rows: bool
) -> Iterator[tuple[str, Effect, int]]:
    """Each technique that has both, tuned minus the article's values in the score, replicates.

    Nothing if the two have other rows or other epochs.

    Args:
        runs: final runs of all settings.
        same_rows: whether the article's setting has the rows of the tuned one; on fresh draws it
            always has.
    """
    settings = [*runs["setting"].unique()]
    setting = FRESH if FRESH in settings else ARTICLE if same_rows else ""
    tuned, article = (runs[runs["setting"] == name] for name in (TUNED, setting))
    for name in dict.fromkeys(tuned["technique"]):
        first, second = (each[each["technique"] == name] for each in (tuned, article))
        if len(second) and EPOCHS in runs and {*first[EPOCHS]} == {*second[EPOCHS]}:
            aligned = _aligned(first, second)
            if len(aligned):
                pairs = paired.pairs(first, aligned, task.test.name)
                yield str(name), pairs.effect, pairs.replicates


def _aligned(tuned: pd.DataFrame, article: pd.DataFrame) -> pd.DataFrame:
    """The article's run of each tuned run's replicate and seed, under the tuned run's search."""
    own = tuned[list(PAIR)]
    return own.merge(article.drop(columns="search"), on=["replicate", "seed"])
