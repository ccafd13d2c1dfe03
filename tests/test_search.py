"""The search is decided by its seed and what it is told."""

from collections.abc import Mapping
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


def searched(trials: int = 12, seed: int = 3, size: int = 4, index: int = 0) -> Search:
    """A finished search whose best rate is 0.5."""
    search = Search("l2", index, RANGES, trials, size, seed)
    while asked := search.ask():
        search.tell(asked, [outcome(trial) for trial in asked])
    return search


def outcome(trial: optuna.Trial) -> Outcome:
    return of(trial.params, 1 - abs(trial.params["rate"] - 0.5))


def of(values: Mapping[str, float], score: float, loss: float = 1.0) -> Outcome:
    """The outcome of a trial with one run."""
    return Outcome(values, (score,), (loss,))


def test_same_seed_asks_the_same_and_another_seed_does_not() -> None:
    one, same = searched(), searched()
    assert one.outcomes == same.outcomes
    for other in (searched(seed=4), searched(index=1)):  # a technique's next search differs too
        assert one.outcomes[0].values != other.outcomes[0].values


def test_every_round_stays_within_the_ranges_and_the_budget() -> None:
    search = searched(trials=10)
    assert len(search.outcomes) == 10
    for found in search.outcomes.values():
        for name, value in found.values.items():
            assert RANGES[name].low <= value <= RANGES[name].high
        assert isinstance(found.values["patience"], int)


def test_first_trials_fill_a_log_range_evenly() -> None:
    search = Search("l2", 0, {"strength": RANGES["strength"]}, 10, 10, 0)
    decades = sorted(trial.params["strength"] for trial in search.ask())
    for low, high in [(1e-6, 1e-4), (1e-4, 1e-2), (1e-2, 1e-1)]:
        assert any(low <= value <= high for value in decades)


def test_the_search_finds_a_better_region() -> None:
    search = searched(trials=60)
    found = [abs(search.outcomes[number].values["rate"] - 0.5) for number in range(60)]
    early, late = found[:20], found[-20:]
    assert sum(late) < sum(early)


def test_ties_in_accuracy_are_broken_by_loss() -> None:
    search = Search("l2", 0, RANGES, 4, 4, 0)
    asked = search.ask()
    losses = [3.0, 1.0, 2.0, 1.5]
    search.tell(asked, [of(t.params, 0.9, x) for t, x in zip(asked, losses, strict=True)])
    assert search.best == 1


def test_nothing_to_search_takes_one_trial() -> None:
    search = Search("none", 0, {}, 24, 8, 0)
    asked = search.ask()
    search.tell(asked, [of({}, 0.9)])
    assert (len(asked), search.ask(), search.best, search.at_edge()) == (1, [], 0, [])


@pytest.mark.parametrize(
    ("rate", "edges"), [(0.1, ["rate"]), (0.13, ["rate"]), (0.5, []), (0.89, ["rate"])]
)
def test_a_best_value_at_the_end_of_its_range_is_flagged(rate: float, edges: list[str]) -> None:
    search = Search("dropout", 0, {"rate": RANGES["rate"]}, 1, 1, 0)
    search.tell(search.ask(), [of({"rate": rate}, 0.9)])
    assert search.at_edge() == edges


def test_stored_studies_open_in_optuna(tmp_path: Path) -> None:
    for _ in range(2):  # a second time replaces the first
        with storing(tmp_path / "optuna.db") as store:
            store(searched(trials=5))
    study = optuna.load_study(study_name="l2 0", storage=f"sqlite:///{tmp_path / 'optuna.db'}")
    assert len(study.trials) == 5
    assert all(trial.state.name == "COMPLETE" for trial in study.trials)
    assert study.best_trial.user_attrs["val_loss"] == 1.0


def test_pruning_lets_the_best_of_a_round_go_on_and_stores_the_others_as_pruned() -> None:
    search = Search("dropout", 0, {"rate": RANGES["rate"]}, 12, 6, 0)
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
    search = Search("none", 0, {}, 24, 8, 0)
    asked = search.ask()
    assert search.prune(asked, [of({}, 0.9)], epochs=1, factor=3) == asked


def test_a_race_leaves_the_best_so_far_and_the_winner_is_one_of_them() -> None:
    search = searched(trials=12)
    everything = list(search.racing)
    search.narrow(4)
    by_score = sorted(everything, key=lambda number: -search.outcomes[number].score)
    assert search.racing == sorted(by_score[:4])
    # The best so far falls behind on more draws, and one that has left is never the winner.
    first = search.best
    assert first == by_score[0]
    values = search.outcomes[first].values
    search.raced(first, Outcome(values, (1.0, 0.0, 0.0), (1.0, 1.0, 1.0)))
    assert search.best == by_score[1]
    search.narrow(2)
    assert search.racing == sorted(by_score[1:3])


def test_equal_candidates_stay_in_the_order_of_their_numbers() -> None:
    search = Search("l2", 0, RANGES, 5, 5, 0)
    asked = search.ask()
    search.tell(asked, [of(trial.params, 0.5) for trial in asked])
    search.narrow(3)
    assert search.racing == [0, 1, 2]
    search.narrow(9)  # of a race with more candidates than were trained to the end
    assert search.racing == [0, 1, 2]


def test_the_lowest_loss_is_read_on_the_draws_that_all_trials_have() -> None:
    search = Search("l2", 0, RANGES, 3, 3, 0)
    asked = search.ask()
    losses = [0.3, 0.2, 0.4]
    search.tell(asked, [of(t.params, x, x) for t, x in zip(asked, losses, strict=True)])
    search.narrow(1)
    assert search.racing == [2]  # the best by score, and the last by loss
    search.raced(2, Outcome(asked[2].params, (0.4, 0.4), (0.4, 0.0)))
    assert search.outcomes[2].val_loss == 0.2  # as the second trial's, on one draw more
    assert search.lowest_loss(1) == 1
