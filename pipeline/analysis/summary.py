"""Final runs -> one row per technique, setting and outcome, and what they show.

Every difference is paired with the technique `none` of the same setting (`analysis.paired`). The
primary outcome is the task's score on test data; its family is the techniques of one setting. The
secondary outcomes are named before a study; all techniques and secondary outcomes of a setting are
one family more. Other measures are described: their mean and its interval, without a comparison.

A group follows from the simultaneous interval and the outcome's margin (`families.group`), and
`Finding` says what follows from the groups. Headline, advice and champion all read the one
`Finding` of a study.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.analysis import paired, statistics
from pipeline.analysis.by_example import Rows
from pipeline.analysis.check import against_article
from pipeline.analysis.families import Group, Member, family, group, simultaneous_level
from pipeline.analysis.margins import Margin, read_margins
from pipeline.analysis.outliers import Outliers, outliers
from pipeline.analysis.paired import Pairs
from pipeline.analysis.statistics import Estimate
from pipeline.datasets import task as tasks
from pipeline.datasets.task import Measure, Task
from pipeline.errors import UserError, nearest
from pipeline.formatting import aligned, counted, interval, p_text
from pipeline.results import SUMMARY_COLUMNS, task_of
from pipeline.techniques.registry import BASELINE

Role = Literal["primary", "secondary", "described", "check"]
Row = Mapping[Any, Any]  # of the summary

SIGNIFICANCE = 0.05
COUNTS = ("diverged", "collapsed")
GROUPS: tuple[Group, ...] = ("better", "worse", "no difference", "unresolved")
LOST = 0.5  # a share of runs that diverged; beyond it their mean says nothing of the technique
ARTICLES = ("article", "article_fresh")  # settings with values that no search chose
UNTUNED = "untuned"  # what a setting is called whose values were to be searched, but none was
UNEQUAL = 0.05  # a share of the baseline's epochs; a larger difference is told


# Rows


def outcomes(
    task: Task, measured: Collection[str], secondary: Sequence[str] = ()
) -> dict[str, Role]:
    """The outcomes of a task's runs and their roles; `measured` are the columns of the runs.

    Raises UserError for a secondary outcome that the runs lack, or of which neither more nor less
    is better.
    """
    known = {name: measure for name, measure in task.measures.items() if name in measured}
    for name in secondary:
        if name not in known:
            raise UserError(f"unknown outcome {name!r}{nearest(name, known)}")
        if not known[name].better:
            raise UserError(f"outcome {name!r} cannot be compared: neither more nor less is better")
    described = [task.train.name, task.val.name, task.gap_measure.name, "val_loss", "test_loss"]
    described += [task.of("test", score).name for score in task.scores]
    described += [name for name, measure in task.measures.items() if measure.averaged]
    roles: dict[str, Role] = {task.test.name: "primary"}
    for name in secondary:
        roles.setdefault(name, "secondary")
    for name in described:
        if name in known:
            roles.setdefault(name, "described")
    return roles


def summarize(
    runs: pd.DataFrame,
    secondary: Sequence[str] = (),
    seed: int = 0,
    rows: Rows | None = None,
    same_rows: bool = False,
    searched: bool = True,
) -> pd.DataFrame:
    """The table summary.csv: one row per setting, outcome and technique, each in its first order.

    Args:
        runs: final runs, as read by `results.read_runs`.
        secondary: columns of `runs` that are compared beside the score, named beforehand.
        seed: fixes random sign flips.
        rows: what runs say about each test example, from `by_example.read`.
        same_rows: whether the article's setting has the rows of the tuned one; see `check`.
        searched: whether a search chose any value; without it no setting is tuned.

    Shares are in [0, 1], differences technique minus `none`, in the outcome's own unit.
    `improvement` is the share of pairs in which the technique is better; `needed` the replicates
    that would show a difference of `margin`, at the family's level, in 80 % of studies. Columns
    that compare are empty in the rows of `none` and of described outcomes.

    Raises UserError for an outcome that cannot be compared, if a setting has no baseline, or if a
    technique has no run on a pair of the baseline.
    """
    task = task_of(runs)
    roles = outcomes(task, set(runs.columns), secondary)
    lines = [
        row
        for _, of_setting in runs.groupby("setting", sort=False)
        for row in _Setting.of(of_setting, task, rows or {}).rows(roles, seed)
    ]
    lines += _checks(runs, task, same_rows) if searched else []
    table = pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))
    by_search = searched & ~table["setting"].isin(ARTICLES)
    return table.assign(searched=by_search, best=table["best"].eq(True))


def _checks(runs: pd.DataFrame, task: Task, same_rows: bool) -> list[dict[str, Any]]:
    """A row of role `check` for each technique: tuned minus the article's values."""
    tuned = runs[runs["setting"] == "tuned"]
    return [
        _facts(tuned[tuned["technique"] == name])
        | {"outcome": task.test.name, "role": "check", "group": "", "limits": "", "n": replicates}
        | {"difference": effect.mean, "error": effect.error, "df": effect.df, "p": effect.p()}
        | _columns("difference", effect.interval())
        for name, effect, replicates in against_article(runs, task, same_rows)
    ]


@dataclass(frozen=True)
class _Setting:
    """The runs of one setting by technique, in their first order."""

    task: Task
    runs: Mapping[str, pd.DataFrame]
    facts: Mapping[str, Mapping[str, Any]]  # technique -> what all its rows have in common
    by_row: Rows  # empty unless all replicates have the same test examples

    @classmethod
    def of(cls, runs: pd.DataFrame, task: Task, by_row: Rows) -> "_Setting":
        groups = {str(name): own for name, own in runs.groupby("technique", sort=False)}
        _check_baseline(groups, str(runs["setting"].iloc[0]))
        return cls(task, groups, {name: _facts(own) for name, own in groups.items()}, by_row)

    @cached_property
    def outliers(self) -> Mapping[str, Outliers]:
        """The outliers of the test score; of runs that diverged or collapsed, counts are enough."""
        name = self.task.test.name
        values = {}
        for technique, runs in self.runs.items():
            counted_anyway = runs[[each for each in COUNTS if each in runs]].any(axis=1)
            values[technique] = runs[name][~counted_anyway]
        return outliers(values, self._margin(self.task.test))

    @cached_property
    def best(self) -> str | None:
        """The technique that is shown to have a better test score than each of the others.

        The intervals of its paired differences to them, and to the baseline, hold at once with
        those of all pairs, since it was chosen among them. None if none is shown.
        """
        score = self.task.test
        names = [
            name
            for name, runs in self.runs.items()
            if name != BASELINE and self._ranks(name) and not _is_reference(runs)
        ]
        if not names:
            return None
        gains = {name: score.sign * self._pairs(name, score.name).effect.mean for name in names}
        first = max(names, key=lambda name: gains[name])
        level = simultaneous_level(len(names) * (len(names) + 1) // 2)
        others = [name for name in (BASELINE, *names) if name != first]
        if all(self._is_better(first, other, level) for other in others):
            return first
        return None

    def _is_better(self, name: str, other: str, level: float) -> bool:
        """Whether a technique's paired differences in the test score to another one show it."""
        score = self.task.test
        try:
            pairs = self._pairs(name, score.name, other)
        except UserError:  # no pair is common
            return False
        return turned(score, pairs.effect.interval(level)).low > 0

    def rows(self, roles: Mapping[str, Role], seed: int) -> Iterator[dict[str, Any]]:
        """All rows of the setting."""
        for role in ("primary", "secondary"):
            yield from self._compared([name for name in roles if roles[name] == role], role, seed)
        for name in (name for name in roles if roles[name] == "described"):
            for technique in self.runs:
                yield self._described(technique, name, "described")

    def _compared(self, names: Sequence[str], role: Role, seed: int) -> Iterator[dict[str, Any]]:
        """The rows of outcomes that are compared as one family."""
        techniques = [name for name in self.runs if name != BASELINE and self._ranks(name)]
        compared = {
            (name, technique): self._pairs(technique, name)
            for name in names
            for technique in techniques
        }
        families = [
            {
                key: pairs
                for key, pairs in compared.items()
                if _is_reference(self.runs[key[1]]) == reference
            }
            for reference in (False, True)
        ]
        told = {
            key: (pairs, member, level)
            for pairs_of in families
            for level, members in [_family(pairs_of)]
            for key, member in members.items()
            for pairs in [pairs_of[key]]
        }
        for name in names:
            size = self._margin(self.task.measures[name])
            for technique in self.runs:
                row, key = self._described(technique, name, role), (name, technique)
                if key in told:
                    pairs, member, level = told[key]
                    measure = self.task.measures[name]
                    row |= _comparison(pairs, member, measure, size, level, seed)
                yield row | {"margin": size} if technique != BASELINE else row

    def _ranks(self, technique: str) -> bool:
        """Whether a technique is compared: neither it nor the baseline has mostly diverged runs."""
        both = (self.runs[name] for name in (technique, BASELINE))
        return all(runs["diverged"].mean() <= LOST for runs in both if "diverged" in runs)

    def _pairs(self, technique: str, name: str, other: str = BASELINE) -> Pairs:
        """Differences to the baseline, or to another technique."""
        try:
            both = self.runs[technique], self.runs[other]
            return paired.pairs(*both, name, rows=self.by_row.get(name))
        except ValueError as error:
            setting = self.runs[technique]["setting"].iloc[0]
            raise UserError(
                f"{technique} must have a run with the search, replicate and seed of a run of"
                f" {other!r} in the {setting} setting, but has none"
            ) from error

    def _described(self, technique: str, name: str, role: Role) -> dict[str, Any]:
        """A row without a comparison."""
        values = paired.pairs(self.runs[technique], None, name, rows=self.by_row.get(name))
        row = {**self.facts[technique], "outcome": name, "role": role, "group": "", "limits": ""}
        row |= {"n": values.replicates, "searches": values.searches}
        if role == "primary":
            row |= asdict(self.outliers[technique]) | {"best": technique == self.best}
        return row | _columns("mean", values.effect.interval()) | {"mean": values.effect.mean}

    def _margin(self, measure: Measure) -> float:
        """The smallest difference in a measure that matters, in its own unit."""
        margin = margin_of(measure)
        if margin.kind == "difference":
            return margin.value
        return margin.value * abs(paired.pairs(self.runs[BASELINE], None, measure.name).effect.mean)


def _is_reference(runs: pd.DataFrame) -> bool:
    """Whether a technique is not given what the others are, such as a search or as many epochs.

    It is compared in a family of its own, beside the others, and is never advised.
    """
    return bool(runs.get("reference", pd.Series(False, index=runs.index)).any())


def _family(
    compared: Mapping[tuple[str, str], Pairs],
) -> tuple[float, dict[tuple[str, str], Member]]:
    """Comparisons that are corrected for each other, and the level of each."""
    members = family({key: pairs.effect for key, pairs in compared.items()})
    known = sum(np.isfinite(member.p) for member in members.values())
    return 1 - simultaneous_level(max(known, 1)), members


def margin_of(measure: Measure) -> Margin:
    """The margin of an outcome: its own, or that of all shares, or of all other measures."""
    margins = _margins()
    return margins.get(measure.name) or margins["other_share" if measure.share else "other_measure"]


@cache
def _margins() -> Mapping[str, Margin]:
    return read_margins()


def _facts(runs: pd.DataFrame) -> dict[str, Any]:
    """What all rows of a technique and setting have in common."""
    names = ("study", "task", "technique", "setting")
    facts = {name: runs[name].iloc[0] for name in names}
    counts = {name: int(runs[name].sum()) for name in COUNTS if name in runs}
    facts |= {"reference": _is_reference(runs), "leaks": bool(runs["leaks"].any())}
    return facts | {"runs": len(runs)} | counts


def _check_baseline(groups: Mapping[str, pd.DataFrame], setting: str) -> None:
    if BASELINE not in groups:
        raise UserError(
            f"setting {setting!r} has no runs of the baseline {BASELINE!r}, only of"
            f" {', '.join(groups)}"
        )


def _comparison(
    pairs: Pairs, member: Member, measure: Measure, margin: float, level: float, seed: int
) -> dict[str, Any]:
    """The columns that compare a technique with the baseline."""
    effect, flips = member.effect, pairs.flips(np.random.default_rng(seed))
    return {
        "n": pairs.replicates,
        "searches": pairs.searches,
        "difference": effect.mean,
        **_columns("difference", effect.interval()),
        "error": effect.error,
        "df": effect.df,
        **_columns("simultaneous", member.interval),
        "p": member.p,
        "p_holm": member.p_holm,
        "p_simultaneous": member.p_simultaneous,
        "p_flips": flips.p() if flips else np.nan,
        **_columns("seeds", pairs.of_seeds.interval() if pairs.of_seeds else UNDEFINED),
        "improvement": statistics.improvement(measure.sign * pairs.values),
        "group": group(turned(measure, member.interval), max(margin, np.finfo(float).tiny)),
        "needed": pairs.needed(margin, level) or np.nan,
        "margin": margin,
        "limits": "; ".join(pairs.limits),
    }


UNDEFINED = Estimate(np.nan, np.nan, np.nan)


def _columns(name: str, estimate: Estimate) -> dict[str, float]:
    return {f"{name}_low": estimate.low, f"{name}_high": estimate.high}


def turned(measure: Measure, estimate: Estimate) -> Estimate:
    """An interval of a difference, turned so that more is better."""
    if measure.sign > 0:
        return estimate
    return Estimate(-estimate.mean, -estimate.high, -estimate.low)


# One row


def measure_of(row: Row) -> Measure:
    """The measure of a row's outcome."""
    return tasks.named(row["task"]).measures[row["outcome"]]


def gain(row: Row) -> Estimate:
    """How much better than `none` a row is, with its simultaneous interval."""
    ends = row["difference"], row["simultaneous_low"], row["simultaneous_high"]
    return turned(measure_of(row), Estimate(*ends))


def told_apart(row: Row) -> bool:
    """Whether the simultaneous interval of a row leaves out zero."""
    return bool(row["group"] in ("better", "worse"))


def told_better(row: Row) -> bool:
    """Whether a row is shown to be better than the baseline."""
    return bool(row["group"] == "better")


def ranks(row: Row) -> bool:
    """Whether a row is compared with the baseline; not if most runs of either diverged."""
    return bool(row["group"])


def flags(row: Row) -> list[str]:
    """What a reader must know of a technique's runs, whatever their mean."""
    diverged, collapsed = (int(np.nan_to_num(row.get(name, 0))) for name in COUNTS)
    lost = diverged > LOST * row["runs"]
    they = "it counts with" if diverged == 1 else "they count with"
    outlying = int(np.nan_to_num(row.get("outliers", 0)))
    found = {
        f"{diverged} of {counted(row['runs'], 'run')} diverged"
        + ("; no rank" if lost else f"; {they} their values before that"): diverged,
        f"{collapsed} of {counted(row['runs'], 'run')}"
        f" predict{'s' if collapsed == 1 else ''} the same for every example": collapsed,
        f"{outlying} of {counted(row['runs'], 'run')}"
        f" end{'s' if outlying == 1 else ''} far from the others: {_farthest(row)}": outlying,
    }
    return [text for text, count in found.items() if count]


def _farthest(row: Row) -> str:
    """The farthest outlier of a technique, and its median."""
    told = measure_of(row).told
    return f"{told(row.get('farthest', np.nan))}, median {told(row.get('median', np.nan))}"


def by_holm_alone(row: Row) -> bool:
    """Whether Holm shows a difference whose size the simultaneous interval does not bound."""
    return bool(row["p_holm"] < SIGNIFICANCE and not told_apart(row))


# What they show


@dataclass(frozen=True)
class Finding:
    """What one setting of a study shows. Techniques stand in the order of runs.csv throughout."""

    study: str
    setting: str
    primary: tuple[Row, ...]  # rows of the score, that of the baseline included
    secondary: tuple[Row, ...]  # rows of the secondary outcomes, of what `compared` has
    validation: Mapping[str, float]  # technique -> mean validation score, more being better
    epochs: Mapping[str, float]  # technique -> mean epochs that its runs trained
    checks: tuple[Row, ...] = ()  # tuned values against the article's, on the same rows and epochs

    @property
    def searched(self) -> bool:
        """Whether a search chose values of the setting."""
        return bool(self.primary[0]["searched"])

    @property
    def called(self) -> str:
        """The setting's name for readers: untuned, where it would be tuned, but nothing was."""
        return self.setting if self.searched or self.setting in ARTICLES else UNTUNED

    @property
    def lost(self) -> Row | None:
        """The check of the baseline, if its tuned values are shown to be worse: nothing follows."""
        for row in self.checks:
            ends = row["difference"], row["difference_low"], row["difference_high"]
            if row["technique"] == BASELINE and turned(measure_of(row), Estimate(*ends)).high < 0:
                return row
        return None

    @property
    def measure(self) -> Measure:
        """The score that is compared."""
        return measure_of(self.primary[0])

    @property
    def followed(self) -> Measure:
        """The score of the learning curves, such as accuracy, for no part of the data yet."""
        return tasks.named(self.primary[0]["task"]).followed

    @property
    def baseline(self) -> Row:
        """The row of the baseline."""
        return next(row for row in self.primary if row["technique"] == BASELINE)

    @property
    def compared(self) -> tuple[Row, ...]:
        """The rows of the score without those of baseline, references and diverged techniques."""
        return tuple(
            row
            for row in self.primary
            if row["technique"] != BASELINE and not row["reference"] and ranks(row)
        )

    @property
    def references(self) -> tuple[Row, ...]:
        """The rows of the score of techniques that are not given what the others are."""
        return tuple(row for row in self.primary if row["reference"])

    @property
    def n(self) -> int:
        """The smallest number of replicates of a technique."""
        return min(int(row["n"]) for row in self.primary)

    @property
    def margin(self) -> float:
        """The smallest difference in the score that matters; nan without a comparison."""
        return float(self.compared[0]["margin"]) if self.compared else np.nan

    @property
    def conclusive(self) -> bool:
        """Whether a technique has an interval at all, which takes two replicates."""
        return any(np.isfinite(row["simultaneous_low"]) for row in self.compared)

    def of_group(self, title: Group) -> tuple[str, ...]:
        """The techniques of one group, by their score."""
        return tuple(row["technique"] for row in self.compared if row["group"] == title)

    @property
    def groups(self) -> dict[Group, tuple[str, ...]]:
        """The techniques of each group; every technique but the baseline stands in one."""
        return {title: self.of_group(title) for title in GROUPS}

    @property
    def better(self) -> tuple[str, ...]:
        """The techniques that are shown to have a better score than the baseline."""
        return self.of_group("better")

    @property
    def worse(self) -> tuple[str, ...]:
        """The techniques that are shown to have a worse score than the baseline."""
        return self.of_group("worse")

    @property
    def by_holm_alone(self) -> tuple[Row, ...]:
        """The rows of the score that Holm alone tells apart."""
        return tuple(row for row in self.compared if by_holm_alone(row))

    @property
    def ruled_out(self) -> float:
        """Gains above it are ruled out for every technique, at once; nan if not for all."""
        highs = [gain(row).high for row in self.compared] or [np.nan]
        return float(np.maximum(np.max(highs), 0.0))

    @property
    def needed(self) -> float:
        """Replicates that would show a difference of `margin` in each unresolved technique.

        nan if nothing is unresolved; infinity if no number of replicates suffices.
        """
        needed = [row["needed"] for row in self.compared if row["group"] == "unresolved"]
        return float(np.max(np.nan_to_num(needed, nan=np.inf))) if needed else np.nan

    @property
    def limits(self) -> tuple[str, ...]:
        """Why no number of replicates suffices for what is unresolved, in words."""
        rows = (row for row in self.compared if row["group"] == "unresolved")
        words = (cause for row in rows for cause in row["limits"].split("; "))
        return tuple(dict.fromkeys(filter(None, words)))

    @property
    def by_outcome(self) -> dict[str, tuple[Row, ...]]:
        """Outcome -> the rows that compare in it, the score first."""
        names = dict.fromkeys(row["outcome"] for row in (*self.compared, *self.secondary))
        rows = (*self.compared, *self.secondary)
        return {name: tuple(row for row in rows if row["outcome"] == name) for name in names}

    @property
    def side_gains(self) -> dict[str, tuple[Row, ...]]:
        """Secondary outcome -> the rows of the techniques that are shown to be better in it."""
        rows = {
            name: tuple(
                row for row in self.secondary if row["outcome"] == name and told_better(row)
            )
            for name in dict.fromkeys(row["outcome"] for row in self.secondary)
        }
        return {name: better for name, better in rows.items() if better}

    @property
    def harmless(self) -> tuple[str, ...]:
        """Techniques better in a secondary outcome and worse in none, the score included."""
        gaining = {row["technique"] for rows in self.side_gains.values() for row in rows}
        losing = {
            row["technique"] for row in (*self.primary, *self.secondary) if row["group"] == "worse"
        }
        names = (row["technique"] for row in self.compared)
        return tuple(name for name in names if name in gaining - losing)

    @property
    def winner(self) -> str | None:
        """The technique that is shown to be the best; None if none is.

        It is better than none, and than each of the others, by intervals of paired differences
        that hold for all pairs at once.
        """
        best = (row["technique"] for row in self.compared if row["best"])
        return next((name for name in best if name in self.better), None)

    @property
    def champion(self) -> str | None:
        """The technique to use, by the one rule of headline, advice and registered model.

        The shown best; else, of those shown to have a better score, the one with the best mean
        validation score; else, of those that gain in a secondary outcome and lose in none, the same
        one. None if nothing is shown to help, if no values were tuned, or if the tuned baseline
        lost to the article's values.
        """
        if self.setting != "tuned" or self.lost:
            return None
        candidates = self.better or self.harmless
        best = max(candidates, key=lambda name: self.validation.get(name, -np.inf), default=None)
        return self.winner or best

    @property
    def registered(self) -> str | None:
        """The technique whose model is registered: the champion, or the baseline without one.

        None if the tuned baseline lost to the article's values: that model is known to be worse.
        """
        return None if self.lost else self.champion or BASELINE

    @property
    def unequal_epochs(self) -> tuple[str, ...]:
        """Techniques whose epochs differ from the baseline's by more than 5 %."""
        own = self.epochs.get(BASELINE, np.nan)
        return tuple(
            name for name, epochs in self.epochs.items() if abs(epochs - own) > UNEQUAL * own
        )


def find(summary: pd.DataFrame, setting: str | None = None) -> Finding:
    """The finding of a setting: by default of the tuned one, or the first that compares."""
    setting = setting or ordered_settings(summary)[0]
    primary = rows_of(summary, setting, "primary")
    secondary = rows_of(summary, setting, "secondary")
    task = tasks.named(primary[0]["task"])
    ranked = {row["technique"] for row in primary if ranks(row)}
    return Finding(
        study=str(primary[0]["study"]),
        setting=setting,
        primary=tuple(primary),
        secondary=tuple(
            row
            for row in secondary
            if row["technique"] != BASELINE and not row["reference"] and row["technique"] in ranked
        ),
        validation={
            name: round(task.val.sign * mean, 12)  # rounding errors make equal means differ
            for name, mean in means(summary, setting, task.val.name).items()
        },
        epochs=means(summary, setting, "epochs_run"),
        checks=tuple(rows_of(summary, setting, "check")),
    )


def ordered_settings(table: pd.DataFrame) -> list[str]:
    """The settings in a table; first the one that a study's finding is about.

    That is the first one that compares techniques, `tuned` before all others, because it answers
    the question of the study.
    """
    settings = sorted(table["setting"].unique(), key=lambda setting: setting != "tuned")
    compared = [name for name in settings if len(rows_of(table, name, "primary")) > 1]
    first = (compared or settings)[0]
    return sorted(settings, key=lambda setting: setting != first)


def rows_of(summary: pd.DataFrame, setting: str, role: Role) -> list[dict[str, Any]]:
    """The rows of one setting and role, in the order of the table."""
    chosen = summary[(summary["setting"] == setting) & (summary["role"] == role)]
    return [{str(name): value for name, value in row.items()} for row in chosen.to_dict("records")]


def means(summary: pd.DataFrame, setting: str, outcome: str) -> dict[str, float]:
    """Technique -> its mean in an outcome; empty if the summary lacks it."""
    chosen = summary[(summary["setting"] == setting) & (summary["outcome"] == outcome)]
    return {str(name): float(mean) for name, mean in chosen[["technique", "mean"]].to_numpy()}


# As text


def difference_text(row: Row, unit: bool = False) -> str:
    """A row's difference and simultaneous interval, such as +3.10 [+2.40, +3.80]."""
    measure = measure_of(row)
    shown = {
        "difference": row["difference"],
        "difference_low": row["simultaneous_low"],
        "difference_high": row["simultaneous_high"],
    }
    return interval(
        measure.difference, shown, "difference", measure.difference_unit if unit else ""
    )


def corrected_p(row: Row) -> str:
    """The p-value that agrees with the interval; Holm's, named so, where that alone is below 0.05.

    Between them is no contradiction: Holm shows that there is a difference, and gives no bounds.
    """
    if by_holm_alone(row):
        return f"{p_text(row['p_simultaneous'])} (Holm {p_text(row['p_holm'])})"
    return p_text(row["p_simultaneous"])


def table(summary: pd.DataFrame) -> str:
    """The summary as plain text: for each setting the score, then the secondary outcomes."""
    blocks = []
    for setting in ordered_settings(summary):
        finding = find(summary, setting)
        blocks += [_score_block(finding), *_side_block(finding)]
    return "\n\n".join(blocks)


def _score_block(finding: Finding) -> str:
    measure, rows = finding.measure, finding.primary
    leak = "; its validation data leak" if any(row["leaks"] for row in rows) else ""
    title = (
        f"{finding.study}, {finding.called} setting (95 % intervals, of differences"
        f" simultaneous{leak})"
    )
    difference = f"difference to none{', points' if measure.share else ''}"
    head = ("technique", measure.heading, difference, "corrected p", "group", "n")
    return aligned(title, [head, *map(_cells, rows)], notes(finding))


def _cells(row: Row) -> tuple[str, ...]:
    measure, name, n = measure_of(row), row["technique"], str(row["n"])
    score = interval(measure.value, row, "mean")
    if name == BASELINE:
        return (name, score, "baseline", "", "", n)
    if not ranks(row):
        return (name, score, "no rank", "", "", n)
    return (name, score, difference_text(row), corrected_p(row), row["group"], n)


def notes(finding: Finding) -> list[str]:
    """What a reader must know of single techniques: unequal epochs, and `flags`."""
    own = finding.epochs.get(BASELINE, np.nan)
    unequal = [
        f"{name} trained {finding.epochs[name]:,.0f} epochs, {BASELINE} {own:,.0f}"
        for name in finding.unequal_epochs
    ]
    flagged = [f"{row['technique']}: {flag}" for row in finding.primary for flag in flags(row)]
    check = [
        f"{BASELINE}, tuned minus the article's values: {check_text(row)}"
        for row in finding.checks
        if row["technique"] == BASELINE
    ]
    return [*unequal, *flagged, *check]


def check_text(row: Row) -> str:
    """A technique's tuned minus the article's values, with their interval."""
    measure = measure_of(row)
    return interval(measure.difference, row, "difference", measure.difference_unit)


def _side_block(finding: Finding) -> list[str]:
    """A block of the secondary outcomes: a column of differences for each; none without them."""
    names = list(dict.fromkeys(row["outcome"] for row in finding.secondary))
    if not names:
        return []
    by_key = {(row["technique"], row["outcome"]): row for row in finding.secondary}
    measures = [measure_of(next(r for r in finding.secondary if r["outcome"] == n)) for n in names]
    head = ("technique", *(f"{m.title}{', points' if m.share else ''}" for m in measures))
    cells = [
        (row["technique"], *(_marked(by_key[row["technique"], name]) for name in names))
        for row in finding.compared
    ]
    title = (
        f"{finding.study}, {finding.called} setting: difference to none in secondary outcomes"
        " (simultaneous 95 % intervals; *: shown)"
    )
    return [aligned(title, [head, *cells])]


def _marked(row: Row) -> str:
    return difference_text(row) + ("*" if told_apart(row) else "")
