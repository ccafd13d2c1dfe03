"""The search is decided by its seed and what it is told."""

from pathlib import Path

import optuna
import pytest

from pipeline.techniques.ranges import Range
from pipeline.tuning.search import Outcome, Search, storing

RANGES = {
    "strength": Range(1e-6, 1e-1, log=True),
    "rate": Range(0.1, 0.9),
    "patience": Range(1, 100, log=True, integer=True),
}


def searched(trials: int = 12, seed: int = 3, size: int = 4) -> Search:
    """A finished search whose best rate is 0.5."""
    search = Search("l2", RANGES, trials, size, seed)
    while asked := search.ask():
        search.tell(asked, [outcome(trial) for trial in asked])
    return search


def outcome(trial: optuna.Trial) -> Outcome:
    return Outcome(trial.params, 1 - abs(trial.params["rate"] - 0.5), val_loss=1.0)


def test_same_seed_asks_the_same_and_another_seed_does_not() -> None:
    one, same, other = searched(), searched(), searched(seed=4)
    assert one.outcomes == same.outcomes
    assert one.outcomes[0].values != other.outcomes[0].values


def test_every_round_stays_within_the_ranges_and_the_budget() -> None:
    search = searched(trials=10)
    assert len(search.outcomes) == 10
    for found in search.outcomes.values():
        for name, value in found.values.items():
            assert RANGES[name].low <= value <= RANGES[name].high
        assert isinstance(found.values["patience"], int)


def test_first_trials_fill_a_log_range_evenly() -> None:
    search = Search("l2", {"strength": RANGES["strength"]}, 10, 10, 0)
    decades = sorted(trial.params["strength"] for trial in search.ask())
    for low, high in [(1e-6, 1e-4), (1e-4, 1e-2), (1e-2, 1e-1)]:
        assert any(low <= value <= high for value in decades)


def test_the_search_finds_a_better_region() -> None:
    search = searched(trials=60)
    found = [abs(search.outcomes[number].values["rate"] - 0.5) for number in range(60)]
    early, late = found[:20], found[-20:]
    assert sum(late) < sum(early)


def test_ties_in_accuracy_are_broken_by_loss() -> None:
    search = Search("l2", RANGES, 4, 4, 0)
    asked = search.ask()
    losses = [3.0, 1.0, 2.0, 1.5]
    search.tell(asked, [Outcome(t.params, 0.9, x) for t, x in zip(asked, losses, strict=True)])
    assert search.best == 1


def test_nothing_to_search_takes_one_trial() -> None:
    search = Search("none", {}, 24, 8, 0)
    asked = search.ask()
    search.tell(asked, [Outcome({}, 0.9, 1.0)])
    assert (len(asked), search.ask(), search.best, search.at_edge()) == (1, [], 0, [])


@pytest.mark.parametrize(
    ("rate", "edges"), [(0.1, ["rate"]), (0.13, ["rate"]), (0.5, []), (0.89, ["rate"])]
)
def test_a_best_value_at_the_end_of_its_range_is_flagged(rate: float, edges: list[str]) -> None:
    search = Search("dropout", {"rate": RANGES["rate"]}, 1, 1, 0)
    search.tell(search.ask(), [Outcome({"rate": rate}, 0.9, 1.0)])
    assert search.at_edge() == edges


def test_stored_studies_open_in_optuna(tmp_path: Path) -> None:
    for _ in range(2):  # a second time replaces the first
        with storing(tmp_path / "optuna.db") as store:
            store(searched(trials=5))
    study = optuna.load_study(study_name="l2", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert len(study.trials) == 5
    assert all(trial.state.name == "COMPLETE" for trial in study.trials)
    assert study.best_trial.user_attrs["val_loss"] == 1.0


def test_pruning_lets_the_best_of_a_round_go_on_and_stores_the_others_as_pruned() -> None:
    search = Search("dropout", {"rate": RANGES["rate"]}, 12, 6, 0)
    while asked := search.ask():
        outcomes = [outcome(trial) for trial in asked]
        kept = search.prune(asked, outcomes, epochs=2, factor=3)
        assert [trial.number for trial in kept] == sorted(trial.number for trial in kept)
        by_value = sorted(zip(outcomes, asked, strict=True), key=lambda pair: pair[0].score)
        assert {trial.number for trial in kept} == {trial.number for _, trial in by_value[-2:]}
        search.tell(kept, [outcome(trial) for trial in kept])
    states = [trial.state.name for trial in search.study.trials]
    assert (states.count("PRUNED"), states.count("COMPLETE")) == (8, 4)
    assert search.study.trials[search.best].state.name == "COMPLETE"
    lost = next(trial for trial in search.study.trials if trial.state.name == "PRUNED")
    assert lost.intermediate_values == {2: pytest.approx(1 - abs(lost.params["rate"] - 0.5))}


def test_at_least_one_trial_of_a_round_goes_on() -> None:
    search = Search("none", {}, 24, 8, 0)
    asked = search.ask()
    assert search.prune(asked, [Outcome({}, 0.9, 1.0)], epochs=1, factor=3) == asked
