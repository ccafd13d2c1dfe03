"""Searches race over draws, tell how sure they are, and final runs pair up; without training."""

import itertools
import json
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.config import loading, sections
from pipeline.config.sections import Heat, TechniqueParams
from pipeline.datasets import PARTS
from pipeline.datasets.sources import prepare
from pipeline.datasets.task import CLASSIFICATION, TASKS, Task
from pipeline.errors import UserError
from pipeline.execution.jobs import Program, Timed, Train
from pipeline.execution.journal import LINES, Content, Journal
from pipeline.execution.runner import Runner
from pipeline.training.runs import FIRST_TUNING_SEED, Plan, Result, Run
from pipeline.tuning import rounds
from pipeline.tuning.choice import choice_error

from .plans import chosen
from .test_runner import Instant

STUDIES = loading.load().studies
RACE = (Heat(6, 6), Heat(2, 15))


def plan_of(name: str) -> Plan:
    """The plan of a study of params.yaml."""
    return Plan(name, "digest", STUDIES[name], 1, sections.Engine())


def racing(name: str = "circles", searches: int | None = 2, task: Task = CLASSIFICATION) -> Plan:
    """Two techniques and the baseline, searched in the race of circles."""
    plan = plan_of(name)
    techniques = {each: TechniqueParams() for each in ("none", "l2", "dropout")}
    tuning = replace(plan.study.tuning, trials=24, seeds=2, round=10, race=RACE, pruning=None)
    final = sections.Final(3, searches=searches)
    study = replace(plan.study, tuning=tuning, techniques=techniques, final=final, outcomes=())
    return replace(plan, study=study, data_task=task)


def measures(run: Run) -> dict[str, float]:
    """Scores of which draw and values make a part, and chance of both another."""
    text = f"{run.technique} {run.seed} {sorted(run.hyperparameters.items())}"
    noise = np.random.default_rng(zlib.crc32(text.encode())).normal(scale=0.05)
    of_draw = np.random.default_rng(run.seed).normal(scale=0.1)
    good = -0.02 * np.log10(run.training.learning_rate) ** 2
    score = float(0.8 + good + noise + of_draw)
    return {
        run.task.val.name: score,
        "val_loss": 1 - score,
        run.task.train.name: 1.0,
        "diverged": False,
        "epochs_run": run.training.epochs,
        "seconds": 0.1,
    }


@dataclass
class Pool:
    """Trains at once; what was added last, or in some other order, is finished first."""

    order: int | None = None
    seen: list[Run] = field(default_factory=list)
    _added: list[Run] = field(default_factory=list)

    def add(self, runs: Sequence[Run], instead_of: Collection[Run] = ()) -> None:
        self.seen += runs
        self._added += runs

    def results(self, title: str, runs: int, epochs: int) -> Iterator[Result]:
        chance = np.random.default_rng(self.order)
        while self._added:
            run = self._added.pop(0 if self.order is None else chance.integers(len(self._added)))
            yield Result(run.key, self.measures(run))

    def measures(self, run: Run) -> dict[str, float]:
        return measures(run)


def searched(plan: Plan, pool: rounds.Pool | None = None) -> tuple[list[rounds.Ended], Any]:
    """The trials that ended, in the order of their numbers, and tuned.json."""
    searching = rounds.searches(plan)
    ended = list(rounds.tune(plan, searching, pool or Pool()))
    ended.sort(key=lambda trial: (trial.row["technique"], trial.row["search"], trial.row["trial"]))
    return ended, rounds.tuned(plan, searching)


def of(ended: Iterable[rounds.Ended], technique: str, search: int) -> pd.DataFrame:
    """The scores of one search on each draw, (trials, draws); nan: not trained there."""
    rows = [row for trial in ended for row in trial.run_rows()]
    table = pd.DataFrame(rows).query("technique == @technique and search == @search")
    return table.pivot_table(index="trial", columns="turn", values="val_accuracy")


# The race


@pytest.mark.parametrize(("name", "searches"), [("circles", 2), ("digits", None)])
def test_candidates_of_a_race_are_the_best_so_far_and_the_winner_had_most_draws(
    name: str, searches: int | None
) -> None:
    plan = racing(name, searches)
    ended, tuned = searched(plan)
    for technique, turn in itertools.product(("l2", "dropout", "none"), plan.study.final.turns):
        scores = of(ended, technique, turn)
        rows = {
            trial.row["trial"]: trial.row["draws"]
            for trial in ended
            if (trial.row["technique"], trial.row["search"]) == (technique, turn)
        }
        assert rows == scores.notna().sum(axis=1).to_dict()
        assert sorted(rows.values()) == [2] * 18 + [6] * 4 + [15] * 2
        for draws, further in ((2, 6), (6, 15)):
            reached = scores[scores[draws - 1].notna()].loc[:, : draws - 1].mean(axis=1)
            kept = scores.index[scores[further - 1].notna()]
            assert reached[kept].min() >= reached.drop(kept).max()
        choice = tuned["techniques"][technique]["searches"][turn]
        finalists = scores[scores[14].notna()].mean(axis=1)
        assert choice["draws"] == 15
        assert choice["trial"] == finalists.idxmax()
        assert choice["val_accuracy"] == pytest.approx(finalists.max())
    assert tuned["race"] == [[24, 2], [6, 6], [2, 15]]
    assert tuned["crossed"] == (name == "circles")


def test_every_technique_has_the_same_budget_in_every_search() -> None:
    plan, pool = racing(), Pool()
    searched(plan, pool)
    counts = pd.DataFrame([(run.technique, run.search) for run in pool.seen]).value_counts()
    assert {*counts} == {24 * 2 + 6 * 4 + 2 * 9}
    runs, epochs = rounds.budget(plan, rounds.searches(plan))
    assert runs == len(pool.seen) == len({run.key for run in pool.seen})
    assert epochs == sum(run.training.epochs for run in pool.seen)


@pytest.mark.parametrize("order", range(2))
def test_what_finishes_first_decides_nothing(order: int) -> None:
    usual, other = searched(racing()), searched(racing(), Pool(order))
    assert [trial.row for trial in usual[0]] == [trial.row for trial in other[0]]
    assert usual[1] == other[1]


class Scoring(Instant):
    """Trains with the scores of this file; may be interrupted after so many jobs."""

    def __init__(self, slots: int = 1, jobs: int = 10**9) -> None:
        super().__init__(slots)
        self.jobs, self.done, self.runs = jobs, 0, list[Run]()

    def _answer(self, job: Any) -> Any:
        if isinstance(job, Program):
            return job.asked.technique, 5
        assert isinstance(job, Train)
        if self.done == self.jobs:
            raise KeyboardInterrupt
        self.done += 1
        self.runs += job.runs
        return Timed([Result(run.key, measures(run)) for run in job.runs], 1.0)


@pytest.mark.parametrize("share", [0.7, 0.9])
def test_a_search_killed_amid_its_race_and_resumed_chooses_the_same(
    share: float, tmp_path: Path
) -> None:
    plan = racing()
    tuning = replace(plan.study.tuning, trials=6, round=3, race=(Heat(4, 8), Heat(2, 15)))
    plan = replace(plan, study=replace(plan.study, tuning=tuning))

    def search(executor: Scoring, folder: str) -> Any:
        with Runner(executor, Journal("circles", tmp_path / folder)) as runner:
            return searched(plan, runner)[1]

    whole = Scoring()
    expected = search(whole, "whole")
    with pytest.raises(KeyboardInterrupt):
        search(Scoring(jobs=int(share * whole.done)), "killed")
    begun = {*Content.of(tmp_path / "killed" / "circles" / LINES).entries}
    turns = {run.key: (run.seed - FIRST_TUNING_SEED) % 15 for run in whole.runs}
    raced = {key for key, turn in turns.items() if turn >= tuning.seeds}
    assert 0 < len(raced & begun) < len(raced)
    again = Scoring(slots=3)
    assert json.dumps(search(again, "killed")) == json.dumps(expected)
    assert {run.key for run in again.runs} == turns.keys() - begun  # nothing is trained twice


# How sure a choice is


def test_the_error_of_a_choice_is_that_of_two_finalists_on_the_same_draws() -> None:
    ended, tuned = searched(racing())
    choice = tuned["techniques"]["l2"]["searches"][1]
    scores = of(ended, "l2", 1)
    error = choice_error(scores.to_numpy())
    assert choice["error"] == pytest.approx(error.on(15))
    assert choice["df"] == error.df
    # The pool's noise is 0.05 for each candidate and draw; what a draw adds to all cancels.
    assert choice["error"] == pytest.approx(0.05 * np.sqrt(2 / 15), rel=0.25)


def test_what_does_no_better_than_the_baseline_reads_as_off() -> None:
    class Worse(Pool):
        l2 = -0.01

        def measures(self, run: Run) -> dict[str, float]:
            rate = replace(run.training, learning_rate=0.001)  # that of no trial
            found = measures(replace(run, technique="none", values={}, training=rate))
            found["val_accuracy"] += {"none": 0.0, "l2": self.l2}.get(run.technique, -0.01)
            return found

    class Better(Worse):
        l2 = 0.01

    for pool, expected in ((Worse(), True), (Better(), False)):
        _, tuned = searched(racing(), pool)
        found = tuned["techniques"]
        assert [each["as_good_as_off"] for each in found["l2"]["searches"]] == [expected] * 2
        assert [each["as_good_as_off"] for each in found["dropout"]["searches"]] == [True] * 2
        assert [each["as_good_as_off"] for each in found["none"]["searches"]] == [False] * 2


def test_the_lowest_loss_is_chosen_beside_the_best_score() -> None:
    class Apart(Pool):
        def measures(self, run: Run) -> dict[str, float]:
            rate = run.training.learning_rate
            return measures(run) | {"val_accuracy": rate, "val_loss": 1 + rate}

    ended, tuned = searched(racing(), Apart())
    rates = {
        trial.row["trial"]: trial.row["params.learning_rate"]
        for trial in ended
        if (trial.row["technique"], trial.row["search"]) == ("l2", 0)
    }
    choice = tuned["techniques"]["l2"]["searches"][0]
    assert choice["values"]["learning_rate"] == max(rates.values())
    assert choice["by_loss"]["values"]["learning_rate"] == min(rates.values())
    assert rates[choice["by_loss"]["trial"]] == min(rates.values())


@dataclass
class Lost(Pool):
    """In which every run of a technique diverges."""

    technique: str = "l2"

    def measures(self, run: Run) -> dict[str, float]:
        return measures(run) | {"diverged": run.technique == self.technique}


@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_a_technique_of_which_every_trial_diverged_has_no_tuned_setting(task: Task) -> None:
    plan = racing(task=task)
    ended, tuned = searched(plan, Lost())
    states = {trial.row["state"] for trial in ended if trial.row["technique"] == "l2"}
    assert states == {"failed"}
    assert {*tuned["techniques"]} == {"none", "dropout"}
    told = "every trial of the search 'l2 0' failed or diverged"
    assert tuned["failed"] == {"l2": {"why": told}}
    json.dumps(tuned, allow_nan=False)
    trained = {run.technique for run in rounds.final_runs(plan, tuned) if run.setting == "tuned"}
    assert trained == {"none", "dropout"}


def test_a_baseline_of_which_every_trial_diverged_is_refused() -> None:
    with pytest.raises(UserError) as refused:
        searched(racing(), Lost(technique="none"))
    assert str(refused.value).startswith("studies.circles: every trial of the search 'none 0' fail")
    assert "python -m pipeline tune circles" in str(refused.value)
    assert len(str(refused.value)) < 400


# Pairs


def final_runs(plan: Plan) -> list[Run]:
    values: dict[str, dict[str, float]] = {}
    for name in plan.study.searched:
        search = plan.study.technique(name).search
        values[name] = {each: found.low for each, found in search.items()}
    content = chosen(values, len(plan.study.final.turns))
    if plan.study.final.vary:
        sizes = map(str, plan.study.final.vary.sizes)
        content = {"sizes": dict.fromkeys(sizes, content["techniques"])}
    return rounds.final_runs(plan, content)


@pytest.mark.parametrize("name", STUDIES)
def test_techniques_share_draws_seeds_and_orders_within_a_search_and_a_replicate(
    name: str,
) -> None:
    plan = plan_of(name)
    study = plan.study
    trials = [
        plan.trial(technique, {each: found.low for each, found in ranges.items()}, search, turn)
        for technique in study.searched
        for ranges in [study.technique(technique).search]
        for search in study.final.turns
        for turn in range(study.tuning.draws)
    ]
    runs = [*trials, *final_runs(plan)]
    table = pd.DataFrame(
        {
            "technique": run.technique,
            "setting": run.setting,
            "search": run.search,
            "replicate": run.replicate,
            "seed": run.seed,
            "draw": run.draw,
            "weights": run.derived_seed("weights"),
            "order": run.derived_seed("order"),
        }
        for run in runs
    )
    pair = ["setting", "search", "replicate", "seed"]
    assert not table.duplicated(["technique", *pair]).any()
    assert (table.groupby(pair)[["draw", "weights", "order"]].nunique() == 1).all(axis=None)
    for _, own in table.groupby("setting"):
        pairs = {
            name: {*map(tuple, rows[pair].to_numpy())} for name, rows in own.groupby("technique")
        }
        assert all(each <= pairs["none"] for each in pairs.values())  # each pairs with the baseline
        fewer = {name for name in pairs if pairs[name] < pairs["none"]}
        assert fewer <= {name for name in study.techniques if study.final_of(name) != study.final}
        seeds = own.drop_duplicates(["search", "replicate", "seed"]).groupby("search")["weights"]
        assert (seeds.nunique() == seeds.size()).all()
    assert table.groupby("seed")[["weights", "order"]].nunique().max(axis=None) == 1
    assert not {*table.query("setting == 'trial'")["seed"]} & {
        *table.query("setting != 'trial'")["seed"]
    }


@pytest.mark.parametrize("name", [name for name, study in STUDIES.items() if study.final.crossed])
def test_crossed_searches_share_no_draw_with_final_runs_or_with_each_other(name: str) -> None:
    plan = plan_of(name)
    draws = getattr(plan.study.data, "draws", 1)
    of_searches = [
        [plan.trial("none", {}, search, turn).draw for turn in range(plan.study.tuning.draws)]
        for search in plan.study.final.turns
    ]
    final = {run.draw for run in final_runs(plan) if run.setting != "article"}
    if draws == 1:  # one split, of which a replicate is a seed
        assert {0} == final == {*itertools.chain(*of_searches)}
        return
    used = [*itertools.chain(*of_searches)]
    assert len({*used}) == len(used)
    assert not {*used} & final
    assert {*used} | final <= {*range(draws)}
    # Every chosen setting meets every common draw.
    tuned = {(run.search, run.draw) for run in final_runs(plan) if run.setting == "tuned"}
    assert tuned == {*itertools.product(plan.study.final.turns, range(plan.study.final.replicates))}


@pytest.mark.parametrize("name", ["digits", "features"])
def test_a_nested_search_never_meets_the_test_examples_of_its_replicate(name: str) -> None:
    plan = plan_of(name)
    data = prepare(name, plan.study.data, 1, Path("nowhere"))
    tuned = [run for run in final_runs(plan) if run.setting == "tuned"]
    for search in plan.study.final.turns:
        trials = [plan.trial("none", {}, search, turn) for turn in range(plan.study.tuning.draws)]
        final = [run for run in tuned if run.search == search]
        assert {run.replicate for run in final} == {search}
        (draw,) = {run.draw for run in [*trials, *final]}
        parts = {part: {*data.rows("leak_free", part, draw).tolist()} for part in PARTS}
        assert not parts["test"] & (parts["train"] | parts["val"])
        assert not parts["train"] & parts["val"]
    assert len({run.draw for run in tuned}) == 10


def test_values_of_another_search_are_trained_on_the_same_pairs() -> None:
    plan = plan_of("circles")
    values = {"none": {"learning_rate": 0.003}}
    rest: dict[str, dict[str, float]] = {name: {} for name in plan.study.searched if name != "none"}
    few = replace(
        plan.study,
        techniques={
            name: given
            for name, given in plan.study.techniques.items()
            if name in ("none", "best_epoch", "train_and_validation")
        },
    )
    runs = rounds.final_runs(replace(plan, study=few), chosen({**rest, **values}, 3))
    own = [run for run in runs if run.technique == "train_and_validation"]
    assert len(own) == 30
    assert {run.training.learning_rate for run in own} == {0.003}
    assert {run.setting for run in own} == {"tuned"}  # no article has it, and no search by loss


def test_an_article_has_a_learning_rate_and_a_momentum_of_its_own_for_a_technique() -> None:
    plan = plan_of("fashion_article")
    own = {"rate": 0.2, "learning_rate": 0.1, "momentum": 0.9}
    techniques = {
        "none": TechniqueParams(article={}),
        "dropout": TechniqueParams(article=own, tuned=False),
    }
    few = replace(plan, study=replace(plan.study, techniques=techniques))
    (baseline, *_), (dropout, *_) = (few.article(name) for name in techniques)
    assert dropout.values == {"rate": 0.2}
    assert dropout.training == replace(baseline.training, learning_rate=0.1, momentum=0.9)
    assert baseline.training == plan.study.training


def test_an_article_has_epochs_of_its_own_for_a_technique() -> None:
    plan = plan_of("mnist_article")
    runs = plan.article("none_longer")
    assert {run.training for run in runs} == {replace(plan.study.training, epochs=30)}


def test_nothing_goes_on_from_a_second_fit_whose_optimizer_is_new() -> None:
    runs = [run for run in final_runs(plan_of("mnist_article")) if run.seed == 0]
    by_key = {run.key: run for run in runs}
    of = {run.technique: run for run in runs}
    again, longer = of["dropout_early_stopping_again"], of["dropout_longer"]
    assert by_key[again.goes_on_from or ""].technique == "dropout"
    assert by_key[longer.goes_on_from or ""].technique == "dropout_early_stopping_longer"
    assert not again.resumable


@pytest.mark.parametrize(
    ("name", "searches"), [("circles", {0}), ("digits", {*range(10)}), ("digits_rows", set())]
)
def test_values_of_the_lowest_loss_are_trained_where_outcomes_are_named(
    name: str, searches: set[int]
) -> None:
    runs = [run for run in final_runs(plan_of(name)) if run.setting == "tuned_by_loss"]
    assert {run.search for run in runs} == searches
    assert {run.technique for run in runs} == ({*STUDIES[name].searched} if searches else set())


def test_a_search_that_is_missing_is_told_with_the_command() -> None:
    plan = plan_of("circles")
    values: dict[str, dict[str, float]] = {name: {} for name in plan.study.searched}
    with pytest.raises(UserError, match=r"no values for none, best_epoch.*pipeline tune circles"):
        rounds.final_runs(plan, chosen(values, 2))
