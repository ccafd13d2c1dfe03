"""What a table is for, what each column is, and what is refused; with the sentences users read."""

import doctest
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.datasets import inference
from pipeline.datasets.columns import Roles, typed
from pipeline.datasets.inference import Decision, Inferred, infer, target_values
from pipeline.datasets.task import SCORES
from pipeline.errors import UserError

ROWS = 60


def table(**columns: Any) -> pd.DataFrame:
    """Two inputs and a target of three classes in 60 rows, with further columns or other ones."""
    rng = np.random.default_rng(0)
    usual = {
        "size": rng.normal(size=ROWS).round(1),
        "colour": ["red", "blue", "green", "blue"] * (ROWS // 4),
        "kind": ["A", "B", "C"] * (ROWS // 3),
    }
    return pd.DataFrame(usual | columns)


def decision(column: str, inferred: Inferred) -> Decision:
    (found,) = [one for one in inferred.decisions if one.column == column]
    return found


def refusal(frame: pd.DataFrame, target: str = "kind", **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        infer(frame, target, **options)
    return str(caught.value)


def cells(value: Any, *others: Any) -> list[Any]:
    """60 cells, all the same but for the last ones."""
    return [value] * (ROWS - len(others)) + list(others)


NUMBERS = [f"{row}.5" for row in range(ROWS)]


def test_examples_of_the_documentation_run() -> None:
    assert doctest.testmod(inference).failed == 0


def test_every_column_gets_a_role_and_the_roles_are_those_of_typed() -> None:
    frame = table(day=pd.date_range("2023-01-01", periods=ROWS).astype(str), id=range(ROWS))
    result = infer(frame, "kind")
    assert [(one.column, one.role) for one in result.decisions] == [
        ("size", "number"),
        ("colour", "category"),
        ("kind", "target"),
        ("day", "date"),
        ("id", "left out"),
    ]
    assert result.roles == Roles(numbers=("size",), categories=("colour",), dates=("day",))
    assert result.drop == ("id",)
    assert (result.task, result.score) == ("classification", "accuracy")
    assert result.classes == ("A", "B", "C")
    assert (result.left_out_classes, result.notes) == ((), ())
    assert typed(frame, result.roles).shape == (ROWS, 3)


# Task


@pytest.mark.parametrize(
    ("values", "task", "classes", "why"),
    [
        (["b", "a"], "classification", ("a", "b"), "its values are text"),
        ([True, False], "classification", ("False", "True"), "its values are true or false"),
        (["TRUE", "false"], "classification", ("False", "True"), "its values are true or false"),
        ([10.0, 9.0], "classification", ("9", "10"), "it has 2 different whole numbers, up to 20"),
        (["1", "0"], "classification", ("0", "1"), "it has 2 different whole numbers, up to 20"),
        ([0.5, 1.5], "regression", (), "it has 2 different numbers"),
        (range(ROWS), "regression", (), "it has 60 different whole numbers"),
        (NUMBERS, "regression", (), "it has 60 different numbers"),
    ],
)
def test_the_task_follows_from_the_targets_values(
    values: Any, task: str, classes: tuple[str, ...], why: str
) -> None:
    target = list(values) * (ROWS // len(values))
    result = infer(table(kind=target), "kind")
    assert (result.task, result.classes) == (task, classes)
    assert decision("kind", result).why.startswith(f"{task}, since {why}")
    assert result.score == SCORES[task][0]


def test_a_task_that_is_given_is_taken() -> None:
    frame = table(kind=[1, 2, 3] * (ROWS // 3))
    assert infer(frame, "kind", task="regression").classes == ()
    assert infer(frame, "kind", task="classification").classes == ("1", "2", "3")
    assert refusal(table(), task="regression") == (
        "the target 'kind' of a regression must have numbers, but row 1 has 'A', row 2 has 'B', "
        "row 3 has 'C', and 57 more; mend these rows, or empty their cells to leave them out"
    )
    assert refusal(table(), task="clasification") == (
        "unknown task 'clasification' (--task); did you mean 'classification'? expected one of "
        "classification, regression"
    )


def test_the_second_of_two_classes_is_the_positive_one_and_it_can_be_chosen() -> None:
    frame = table(kind=["yes", "no"] * (ROWS // 2))
    result = infer(frame, "kind")
    assert result.classes == ("no", "yes")
    assert decision("kind", result).why == (
        "classification, since its values are text; classes 'no', 'yes', of which the second is "
        "the positive one, unless `--positive-class no` is given"
    )
    assert infer(frame, "kind", positive_class="no").classes == ("yes", "no")
    assert infer(table(kind=[1.0, 0.0] * 30), "kind", positive_class="0").classes == ("1", "0")
    assert refusal(frame, positive_class="yess") == (
        "unknown class 'yess' (--positive-class); did you mean 'yes'? expected one of no, yes"
    )
    assert refusal(table(), positive_class="A") == (
        "a positive class needs two classes, but there are 3 ('A', 'B', 'C'); leave "
        "--positive-class out"
    )
    assert refusal(table(kind=NUMBERS), positive_class="A").startswith("a regression has no posi")


@pytest.mark.parametrize(("rare", "balanced"), [(14, True), (15, False)])
def test_a_class_with_less_than_half_its_share_asks_for_balanced_accuracy(
    rare: int, balanced: bool
) -> None:
    frame = table(kind=["no"] * (ROWS - rare) + ["yes"] * rare)
    result = infer(frame, "kind")
    assert result.score == ("balanced_accuracy" if balanced else "accuracy")
    told = (
        "the score is balanced accuracy, since the rarest class, 'yes', has 23.3% of the rows; "
        "`--score accuracy` takes accuracy"
    )
    assert result.notes == ((told,) if balanced else ())
    assert infer(frame, "kind", score="f1").score == "f1"


def test_a_score_of_another_task_is_refused() -> None:
    assert refusal(table(), score="rmse") == (
        "unknown score 'rmse' of a classification (--score); expected one of accuracy, "
        "balanced_accuracy, log_loss, roc_auc, f1"
    )
    assert refusal(table(kind=NUMBERS), score="accuracy").startswith(
        "unknown score 'accuracy' of a regression (--score)"
    )


# Rows and labels


def test_rows_without_a_target_are_left_out_and_told() -> None:
    frame = table(kind=[None, "?", *(["A", "B"] * 29)])
    result = infer(frame, "kind")
    assert result.notes == ("2 rows without a value of 'kind' left out",)
    y, used = target_values(frame["kind"], result.task, result.classes)
    assert y.tolist() == [0, 1] * 29
    assert y.dtype == np.int32
    assert used.tolist() == [False] * 2 + [True] * 58
    numbers = table(kind=[np.nan, *range(ROWS - 1)])
    y, used = target_values(numbers["kind"], "regression", ())
    assert y.dtype == np.float32
    assert y.tolist() == list(range(ROWS - 1))
    assert infer(numbers, "kind").notes == ("1 row without a value of 'kind' left out",)


def test_classes_with_few_rows_are_left_out_and_told() -> None:
    frame = table(kind=cells("A", *["B"] * 25, "C", "C", "D"))
    result = infer(frame, "kind")
    assert (result.classes, result.left_out_classes) == (("A", "B"), ("C", "D"))
    assert result.notes == ("3 rows of classes with fewer than 6 rows left out ('C': 2, 'D': 1)",)
    y, used = target_values(frame["kind"], result.task, result.classes, result.left_out_classes)
    assert (len(y), int(used.sum())) == (57, 57)


def test_blanks_at_the_ends_of_labels_do_not_count_and_case_does() -> None:
    result = infer(table(kind=["A", "A ", " b", "b", "B", "A"] * (ROWS // 6)), "kind")
    assert result.classes == ("A", "B", "b")
    assert result.notes == (
        "blanks at the ends of 20 labels removed (such as 'A ')",
        "the labels 'B', 'b' differ in case alone and are different classes; mend the file if "
        "they are one",
    )


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (cells("A"), "the target 'kind' has one class, 'A', in all 60 rows; at least two are need"),
        (
            cells("A", "B", "C"),
            "the target 'kind' has 3 different values, but 1 of them in at least 6 rows ('A': 58, "
            "'B': 1, 'C': 1); at least two such classes are needed: is it the right column? "
            "`--task regression` predicts numbers",
        ),
        (cells(1.5), "the target 'kind' has the same value, 1.5, in all 60 rows; there is nothing"),
        (
            cells(None, *["A", "B"] * 5),
            "10 rows with a usable value of 'kind', but at least 30 are needed: validation and "
            "test would have a handful each, in which chance hides every difference between "
            "techniques; add rows",
        ),
        (cells(None), "0 rows with a usable value of 'kind', but at least 30 are needed"),
        (
            [*NUMBERS[:-1], "many"],
            "column 'kind' has numbers, but row 60 has 'many'; mend these rows (an empty cell is "
            "a missing value), or say what the column is: `--task classification` makes a class "
            "of each value",
        ),
        (
            [*range(ROWS - 1), np.inf],
            "the target 'kind' of a regression must have finite numbers, but row 60 has inf; mend",
        ),
    ],
)
def test_targets_from_which_nothing_can_be_learned_are_refused(kind: Any, message: str) -> None:
    assert refusal(table(kind=kind)).startswith(message)


def test_ten_rows_are_refused() -> None:
    assert refusal(table().head(10)).startswith("10 rows with a usable value of 'kind', but at l")


@pytest.mark.parametrize("label", ["D", "a", 3])
def test_a_label_that_is_no_class_is_refused_with_its_row(label: object) -> None:
    column = pd.Series(["A", "B", label], dtype=object, name="kind")
    with pytest.raises(UserError) as caught:
        target_values(column, "classification", ("A", "B"), ("C",))
    assert str(caught.value) == (
        f"column 'kind' must have the classes 'A', 'B', but row 3 has {label!r}; mend these rows, "
        "or infer the classes again"
    )


def test_classes_are_found_however_they_are_written() -> None:
    y, used = target_values(pd.Series([1.0, np.nan, 0.0]), "classification", ("0", "1.0"))
    assert (y.tolist(), used.tolist()) == ([1, 0], [True, False, True])


# Columns


@pytest.mark.parametrize(
    ("values", "role", "why"),
    [
        (cells(None), "left out", "has no value in any of 60 rows; `--keep x` keeps it"),
        (cells(9.0), "left out", "has the same value, '9', in all 60 rows; `--keep x` keeps it"),
        (cells("n/a"), "left out", "has no value in any of 60 rows; `--keep x` keeps it"),
        (
            range(ROWS),
            "left out",
            "has 60 different values in 60 rows, all whole numbers, as an identifier has; "
            "`--keep x` keeps it",
        ),
        (
            [f"r-{row}" for row in range(ROWS)],
            "left out",
            "has 60 different values in 60 rows, as an identifier or free text has; "
            "`--keep x` keeps it",
        ),
        (
            [f"{1 + row % 12}/{1 + row % 28}/2023" for row in range(ROWS)],
            "left out",
            "has dates such as '1/1/2023' whose day and month can be taken for one another "
            "(2023-01-31 cannot); `--keep x` keeps it",
        ),
        (
            [row + 0.5 for row in range(ROWS)],
            "number",
            "60 different numbers; `--category x` makes it categories, `--drop x` leaves it out",
        ),
        (
            [*range(50), *range(10)],
            "number",
            "50 different whole numbers; `--category x` makes it categories, `--drop x` leaves it "
            "out",
        ),
        (
            [*NUMBERS[:-4], None, "?", "n/a", "?"],
            "number",
            "56 different numbers, 4 without a value ('?', 'n/a') get the median and a flag; "
            "`--category x` makes it categories, `--drop x` leaves it out",
        ),
        (
            ["2023-01-05", "31.12.2022", None] * 20,
            "date",
            "2 different dates, as days since 1970, 20 without a value get the median and a flag; "
            "`--category x` makes it categories, `--drop x` leaves it out",
        ),
        ([True, False] * 30, "category", "2 categories; `--drop x` leaves it out"),
        (["TRUE", "FALSE"] * 30, "category", "2 categories; `--drop x` leaves it out"),
        (
            ["a", "b", None, "NA"] * 15,
            "category",
            "2 categories, 30 without a value ('NA') are one more; `--drop x` leaves it out",
        ),
        (
            [f"v{row % 40}" for row in range(ROWS)],
            "category",
            "40 categories, of which the 30 most frequent count; `--drop x` leaves it out",
        ),
        (["1", "2", "3+"] * 20, "category", "3 categories; `--drop x` leaves it out"),
        (
            cells(None, "a", "b", "c"),
            "category",
            "3 categories, 57 without a value are one more; `--drop x` leaves it out",
        ),
    ],
)
def test_what_a_column_is_and_why(values: Any, role: str, why: str) -> None:
    result = infer(table(x=list(values)), "kind")
    assert decision("x", result) == Decision("x", role, why)
    assert ("x" in result.drop) == (role == "left out")
    typed(table(x=list(values)), result.roles)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            [*NUMBERS[:-4], "unknown", "n/a", "--", "old"],
            "column 'x' has numbers, but row 57 has 'unknown', row 59 has '--', row 60 has 'old'; "
            "mend these rows (an empty cell is a missing value), or say what the column is: "
            "`--category x` makes it categories, `--drop x` leaves it out",
        ),
        (
            [*NUMBERS[:40], *["<5"] * 20],
            "column 'x' has numbers, but row 41 has '<5', row 42 has '<5', row 43 has '<5', and "
            "17 more; mend these rows (an empty cell is a missing value), or say what the column "
            "is: `--category x` makes it categories, `--drop x` leaves it out",
        ),
        (
            [*["2023-01-05"] * 58, "soon", "2023-02-30"],
            "column 'x' has dates, but row 59 has 'soon', row 60 has '2023-02-30'; mend these rows "
            "(an empty cell is a missing value), or say what the column is: `--category x` makes "
            "it categories, `--drop x` leaves it out",
        ),
        (
            [f"1,{row:03}" for row in range(ROWS)],
            "column 'x' has numbers in a form that can be read in two ways: row 1 has '1,000', "
            "row 2 has '1,001', row 3 has '1,002', and 57 more; write them with a decimal point "
            "and without a sign between thousands, or say what the column is: `--category x` "
            "makes it categories, `--drop x` leaves it out",
        ),
        (
            cells(1.5, np.inf),
            "column 'x' must have finite numbers, of magnitude up to 1e+150, but row 60 has inf; "
            "mend these rows, or empty their cells, or `--drop x` leaves the column out",
        ),
    ],
)
def test_cells_that_contradict_the_rest_of_their_column_are_refused(
    values: list[Any], message: str
) -> None:
    frame = table(x=values)
    assert refusal(frame) == message
    assert decision("x", infer(frame, "kind", drop=["x"])) == Decision("x", "left out", "as asked")
    assert decision("x", infer(frame, "kind", categories=["x"])).role == "category"


def test_columns_that_are_left_out_can_be_kept() -> None:
    frame = table(id=range(ROWS), same=9.0, text=[f"r-{row}" for row in range(ROWS)], none=None)
    assert infer(frame, "kind").drop == ("id", "same", "text", "none")
    result = infer(frame, "kind", keep=["id", "text", "same", "none"])
    assert result.drop == ()
    assert result.roles.numbers == ("size", "id", "same", "none")
    assert result.roles.categories == ("colour", "text")
    assert decision("same", result).why.startswith(
        "kept as asked, though it has the same value, '9', in all 60 rows; 1 different whole numb"
    )


def test_names_are_quoted_as_a_shell_needs_it() -> None:
    result = infer(table(**{"a b": cells(1), "": cells(1)}), "kind")
    assert decision("a b", result).why.endswith("`--keep 'a b'` keeps it")
    assert decision("", result).why.endswith("`--keep ''` keeps it")


def test_rows_that_are_not_used_do_not_count_for_what_a_column_is() -> None:
    """A column that is constant in all rows with a target is constant."""
    frame = table(kind=[None, *["A", "B"] * 29, "A"], x=[5.0, *[1.0] * 59])
    assert decision("x", infer(frame, "kind")).role == "left out"


def test_the_order_of_rows_decides_nothing() -> None:
    """Such as in files that are sorted by class."""
    frame = table(gaps=[np.nan, 1.5, 2.5] * (ROWS // 3), day=["2023-01-05", "2022-12-31"] * 30)
    by_class = frame.sort_values("kind", ignore_index=True)
    assert infer(by_class, "kind") == infer(frame, "kind")


def test_a_table_without_a_usable_column_is_refused() -> None:
    assert refusal(table(id=range(ROWS))[["id", "kind"]]) == (
        "the table has no column to predict the target from; left out: id (has 60 different "
        "values in 60 rows, all whole numbers, as an identifier has; `--keep id` keeps it)"
    )
    assert refusal(table()[["kind"]]) == "the table has no column to predict the target from"


# Options


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop": ["colors"]}, "unknown column 'colors' (--drop); did you mean 'colour'? expected"),
        ({"group": "x"}, "unknown column 'x' (--group); expected one of size, colour, kind"),
        ({"drop": ["kind"]}, "column 'kind' must have one role, but got both --target and --drop"),
        ({"time": "size", "weight": "size"}, "column 'size' must have one role, but got both --ti"),
        ({"drop": ["size"], "keep": ["size"]}, "column 'size' must have one role, but got both --"),
    ],
)
def test_options_that_do_not_fit_the_table_are_refused(
    options: dict[str, Any], message: str
) -> None:
    assert refusal(table(), **options).startswith(message)
    with pytest.raises(UserError, match=r"unknown column 'kinds' .--target.; did you mean 'kind'"):
        infer(table(), "kinds")


def test_group_time_and_weight_are_no_inputs() -> None:
    frame = table(
        patient=[f"p{row // 6}" for row in range(ROWS)],
        day=pd.date_range("2023-01-01", periods=ROWS).astype(str),
        w=[1, 2] * (ROWS // 2),
    )
    result = infer(frame, "kind", group="patient", time="day", weight="w")
    assert result.roles.all == ("size", "colour")
    assert result.drop == ()
    assert [(one.role, one.why) for one in result.decisions[3:]] == [
        ("group", "as asked; 10 groups, none of which is divided"),
        ("time", "as asked; rows are ordered by its dates"),
        ("weight", "as asked; weighs rows in loss and scores"),
    ]
    numbered = infer(table(step=range(ROWS)), "kind", time="step")
    assert decision("step", numbered).why == "as asked; rows are ordered by its numbers"


@pytest.mark.parametrize(
    ("option", "values", "message"),
    [
        ("group", cells("a", "b", None), "must have a group in every row, but row 60 has "),
        ("group", cells("a", "b"), "(--group) must have at least 3 groups, for training"),
        ("time", cells("2023-01-05", "soon"), "must have a date such as 2023-01-31 in every "),
        (
            "time",
            cells(1.5, "soon"),
            "must have a number in every row, but row 60 has 'soon'; mend",
        ),
        ("time", cells(1.5, np.nan), "must have a number in every row, but row 60 has nan; mend"),
        ("weight", cells(1.5, 0, "x"), "must have a positive, finite number in every row, but row"),
        ("weight", cells(1.5, np.inf), "must have a positive, finite number in every row, but row"),
    ],
)
def test_groups_times_and_weights_must_be_whole(option: str, values: Any, message: str) -> None:
    options: dict[str, Any] = {option: "x"}
    assert refusal(table(x=values), **options).startswith(f"column 'x' {message}")
