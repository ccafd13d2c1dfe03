"""The articles' claims as data: what they say, and which statements about runs say the same.

A claim consists of statements such as "the test accuracy of l2 is higher than that of none", each
with the name of a margin in margins.yaml: the smallest difference that matters. `verdict_rule` has
the rule, `judging` applies it.
"""

from dataclasses import dataclass, replace
from typing import Literal

from pipeline.analysis.margins import Margin, margin
from pipeline.analysis.verdict_rule import Stated

Setting = Literal["article", "tuned"]


@dataclass(frozen=True)
class Side:
    """One technique in one setting."""

    technique: str
    setting: Setting = "article"


NONE = Side("none")


@dataclass(frozen=True)
class Statement:
    """`first` has a higher or lower value of a measure than `second`; or it has not.

    `measure` is a column of runs.csv.
    """

    first: Side
    second: Side | None  # None: compared with zero
    measure: str
    stated: Stated
    matters: str  # the smallest difference that matters: its name in margins.yaml

    @property
    def margin(self) -> Margin:
        """The smallest difference that matters. Raises UserError if margins.yaml has no such."""
        return margin(self.matters)

    @property
    def relative(self) -> bool:
        """Whether the difference is a share of the second side's value."""
        return self.margin.kind == "ratio"

    @property
    def denies(self) -> bool:
        """Whether it states that there is no effect."""
        return self.stated.startswith("not")

    @property
    def falls(self) -> bool:
        """Whether the effect, stated or denied, is a lower value."""
        return self.stated.endswith("lower")

    @property
    def sides(self) -> tuple[Side, ...]:
        """The one or two sides that are compared."""
        return (self.first,) if self.second is None else (self.first, self.second)


@dataclass(frozen=True)
class Claim:
    """A sentence of an article, and the statements about runs that test it."""

    id: str
    article: str
    sentence: str
    source: str  # the article's own evidence
    reading: str  # how the sentence is judged here
    studies: tuple[str, ...]  # the first gives the verdict, the others are shown beside it
    statements: tuple[Statement, ...]  # empty: needs no runs
    refuted_by: str = ""  # why it does not hold, whatever the runs

    @property
    def setting(self) -> str:
        """The setting of its first side; empty if it has none."""
        return self.statements[0].first.setting if self.statements else ""

    def at(self, setting: Setting) -> "Claim":
        """The same claim about another setting."""
        statements = tuple(_at(statement, setting) for statement in self.statements)
        return replace(self, statements=statements)


def _at(statement: Statement, setting: Setting) -> Statement:
    first, second = statement.first, statement.second
    return replace(
        statement,
        first=replace(first, setting=setting),
        second=None if second is None else replace(second, setting=setting),
    )


def _beats(first: Side, second: Side, matters: str) -> Statement:
    return Statement(first, second, "test_accuracy", "higher", matters)


def _does_not_beat(first: Side, second: Side, matters: str) -> Statement:
    return Statement(first, second, "test_accuracy", "not higher", matters)


def _selects(first: Side) -> Statement:
    return Statement(
        first, Side("none", first.setting), "informative_recall", "higher", "share_of_inputs"
    )


def _drops(first: Side) -> Statement:
    return Statement(
        first, Side("none", first.setting), "noise_inputs_dropped", "higher", "share_of_inputs"
    )


def _sparser(technique: str) -> tuple[Statement, ...]:
    first = Side(technique)
    return (
        Statement(first, NONE, "zero_activations", "higher", "share_of_weights"),
        Statement(first, NONE, "mean_activation", "lower", "size"),
    )


def _leaves_no_negative_weights(technique: str, setting: Setting) -> tuple[Statement, ...]:
    first = Side(technique, setting)
    return (
        Statement(first, Side("none", setting), "negative_weights", "lower", "share_of_weights"),
        Statement(first, None, "negative_weights", "not higher", "share_of_weights"),
    )


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "A1",
        "A",
        "The circles network without regularization overfits.",
        "one run: train 100 %, test 78 % (75.7 % in a second printing)",
        "Its train accuracy is above its test accuracy.",
        ("circles",),
        (Statement(NONE, None, "gap", "higher", "accuracy_of_few_points"),),
    ),
    Claim(
        "A2",
        "A",
        "An activity L1 penalty before the ReLU lowers train and raises test accuracy.",
        "one run: train 96 %, test 82 %",
        "Both differences to no regularization are required.",
        ("circles",),
        (
            Statement(
                Side("activity_l1_before"),
                NONE,
                "train_accuracy",
                "lower",
                "accuracy_of_few_points",
            ),
            _beats(Side("activity_l1_before"), NONE, "accuracy_of_few_points"),
        ),
    ),
    Claim(
        "A3",
        "A",
        "After the ReLU the penalty does not help.",
        "one run: train 100 %, test 74 %",
        "Its test accuracy is not higher than without regularization.",
        ("circles", "digits"),
        (_does_not_beat(Side("activity_l1_after"), NONE, "accuracy_of_few_points"),),
    ),
    Claim(
        "A4",
        "A",
        "The activity penalty, before the ReLU, makes activations sparser.",
        "left to the reader",
        "After the ReLU, more activations are zero and their mean size is smaller.",
        ("circles", "digits"),
        _sparser("activity_l1_before"),
    ),
    Claim(
        "A4 after",
        "A",
        "The activity penalty, after the ReLU, makes activations sparser.",
        "left to the reader",
        "As A4, for the other variant.",
        ("circles", "digits"),
        _sparser("activity_l1_after"),
    ),
    Claim(
        "B1",
        "B",
        "L2 (1e-4) beats the baseline.",
        "one run, validation accuracy",
        "Its test accuracy is higher.",
        ("mnist", "digits"),
        (_beats(Side("l2"), NONE, "accuracy_of_images"),),
    ),
    Claim(
        "B2",
        "B",
        "L1 (1e-4) does not beat the baseline.",
        "one run, validation accuracy",
        "Its test accuracy is not higher.",
        ("mnist", "digits"),
        (_does_not_beat(Side("l1"), NONE, "accuracy_of_images"),),
    ),
    Claim(
        "B3",
        "B",
        "Dropout (0.25) beats the baseline.",
        "one run, validation accuracy",
        "Its test accuracy is higher.",
        ("mnist", "digits"),
        (_beats(Side("dropout"), NONE, "accuracy_of_images"),),
    ),
    Claim(
        "B4",
        "B",
        "ZCA augmentation with dropout is a leap over both.",
        "one run, validation accuracy; its code never draws the whitened images",
        "As meant: on whitened images the dropout network has a higher test accuracy than on plain"
        " ones, and than no regularization; a leap is at least half a point.",
        ("mnist",),
        (
            _beats(Side("zca_dropout"), Side("dropout"), "leap_of_accuracy"),
            _beats(Side("zca_dropout"), NONE, "leap_of_accuracy"),
        ),
    ),
    Claim(
        "B4 printed",
        "B",
        "ZCA augmentation with dropout is a leap over both.",
        "one run, validation accuracy; its code never draws the whitened images",
        "As printed: the generator that whitens is fitted but never drawn from, so the dropout"
        " network trains on the plain images, as in the dropout run.",
        ("mnist",),
        (),
        refuted_by="it is the same network as dropout, so with equal seeds the difference is zero;"
        " B3 has its difference to no regularization",
    ),
    Claim(
        "B5",
        "B",
        "Early stopping saves epochs at no loss.",
        "one run: stopped after 5 of 10 epochs",
        "As meant, from fresh weights: the dropout network runs fewer epochs when it is stopped,"
        " and its test accuracy is not lower.",
        ("mnist",),
        (
            Statement(
                Side("dropout_early_stopping"),
                Side("dropout"),
                "epochs_run",
                "lower",
                "size",
            ),
            Statement(
                Side("dropout_early_stopping"),
                Side("dropout"),
                "test_accuracy",
                "not lower",
                "accuracy_of_images",
            ),
        ),
    ),
    Claim(
        "B5 printed",
        "B",
        "Early stopping saves epochs at no loss.",
        "one run: stopped after 5 of 10 epochs",
        "As printed: fit continues from the weights and the optimizer's state of the dropout run,"
        " for at most as many epochs again. Its epochs are those of this second fit; in total it"
        " trains longer than the dropout run, with which it is compared. The printed code keeps the"
        " weights of the last epoch; here those of the best epoch are kept, as meant.",
        ("mnist",),
        (
            Statement(
                Side("dropout_early_stopping_again"),
                Side("dropout"),
                "last_fit_epochs",
                "lower",
                "size",
            ),
            Statement(
                Side("dropout_early_stopping_again"),
                Side("dropout"),
                "test_accuracy",
                "not lower",
                "accuracy_of_images",
            ),
        ),
    ),
    Claim(
        "B6",
        "B, C, D",
        "L1 drives weights exactly to zero, L2 only near zero.",
        "an argument, no run",
        "By the plain gradient, as in the articles: more exact zeros under L1 than under L2, and"
        " more weights below 0.001 in absolute value under L2 than without regularization.",
        ("mnist", "digits"),
        (
            Statement(Side("l1"), Side("l2"), "zero_weights", "higher", "share_of_weights"),
            Statement(Side("l2"), NONE, "near_zero_weights", "higher", "share_of_weights"),
        ),
    ),
    Claim(
        "B6 near",
        "B, C, D",
        "L1 drives more weights near zero than L2.",
        "an argument, no run",
        "B6 without exact zeros, because the plain gradient steps over zero: more weights below"
        " 0.001 in absolute value.",
        ("mnist", "digits"),
        (Statement(Side("l1"), Side("l2"), "near_zero_weights", "higher", "share_of_weights"),),
    ),
    Claim(
        "B6 proximal",
        "B, C, D",
        "L1 drives weights exactly to zero, L2 only near zero.",
        "an argument, no run",
        "As B6, with L1 by its proximal step, whose thresholds add up to 0.1 over the run. No"
        " article gives a strength for it.",
        ("digits",),
        (
            Statement(
                Side("proximal_l1"), Side("l2"), "zero_weights", "higher", "share_of_weights"
            ),
            Statement(Side("l2"), NONE, "near_zero_weights", "higher", "share_of_weights"),
        ),
    ),
    Claim(
        "B7",
        "B",
        "L1 is the choice for compressing a model.",
        "an argument, no run",
        "The kernels, stored in float32 and with nothing pruned, take fewer bytes under gzip than"
        " without regularization, and test accuracy is not lower.",
        ("mnist", "digits"),
        (
            Statement(Side("l1"), NONE, "kernel_gzip_bytes", "lower", "size"),
            Statement(Side("l1"), NONE, "test_accuracy", "not lower", "accuracy_of_images"),
        ),
    ),
    Claim(
        "C1",
        "C",
        "Without its penalties the article's model may do better in the same epochs.",
        "a remark, no number",
        "Test accuracy is higher without regularization.",
        ("fashion_mnist",),
        (_beats(NONE, Side("mixed_penalties"), "accuracy_of_images"),),
    ),
    Claim(
        "C2",
        "C",
        "L1 turns negative weights to zero (\N{MINUS SIGN}2 becomes 0).",
        "an argument, no run",
        "In the article's model, whose first layer has L1 0.01: fewer weights are negative than"
        " without regularization, and almost none are left.",
        ("fashion_mnist",),
        _leaves_no_negative_weights("mixed_penalties", "article"),
    ),
    Claim(
        "C2 alone",
        "C",
        "L1 turns negative weights to zero (\N{MINUS SIGN}2 becomes 0).",
        "an argument, no run",
        "As C2, with L1 alone on every layer, at the strength chosen on validation data.",
        ("fashion_mnist", "mnist", "digits"),
        _leaves_no_negative_weights("l1", "tuned"),
    ),
    Claim(
        "C3",
        "C",
        "A penalty costs nothing at inference.",
        "an argument, no run",
        "The exported models have no more parameters, and take no more time for a batch of test"
        " examples, measured in turn on one thread. Their layers are the same, because a penalty"
        " only changes the loss; times differ by measurement noise. A difference of 5 % would"
        " matter.",
        ("fashion_mnist", "mnist", "digits"),
        tuple(
            Statement(
                Side(technique, "tuned"),
                Side("none", "tuned"),
                measure,
                "not higher",
                matters,
            )
            for measure, matters in (("parameters", "parameters"), ("inference_seconds", "size"))
            for technique in ("l1", "l2")
        ),
    ),
    Claim(
        "D1",
        "D",
        "L1's sparse weights select features.",
        "an argument, no run",
        "Of 50 inputs 10 are informative: more of these are among the 10 with the largest first"
        " weights than without regularization.",
        ("features",),
        (_selects(Side("l1")),),
    ),
    Claim(
        "D1 exact",
        "D",
        "L1's sparse weights select features.",
        "an argument, no run",
        "By the plain gradient, as in the articles: of the 40 noise inputs, more have only zero"
        " weights than without regularization.",
        ("features",),
        (_drops(Side("l1")),),
    ),
    Claim(
        "D1 proximal",
        "D",
        "L1's sparse weights select features.",
        "an argument, no run",
        "As D1 and D1 exact, with L1 by its proximal step, at the strength chosen on validation"
        " data, because no article gives one.",
        ("features",),
        (_selects(Side("proximal_l1", "tuned")), _drops(Side("proximal_l1", "tuned"))),
    ),
    Claim(
        "D1 groups",
        "D",
        "L1's sparse weights select features.",
        "an argument, no run",
        "As D1 proximal, with the group lasso, which shrinks all weights of an input at once.",
        ("features",),
        (
            _selects(Side("proximal_group_lasso", "tuned")),
            _drops(Side("proximal_group_lasso", "tuned")),
        ),
    ),
    Claim(
        "D2",
        "D",
        "L2 prevents overfitting.",
        "an argument, no run",
        "The gap between train and test accuracy is smaller than without regularization: at article"
        " B's 1e-4, and on features at article D's 0.01.",
        ("mnist", "digits", "features"),
        (Statement(Side("l2"), NONE, "gap", "lower", "accuracy_of_images"),),
    ),
    Claim(
        "D3",
        "D",
        "Small weights make a model robust to changes of its input.",
        "an argument, no run",
        "With L2 at the strengths of D2, accuracy on noisy test inputs, averaged over noise up to"
        " 0.4, is higher.",
        ("mnist", "digits", "features"),
        (Statement(Side("l2"), NONE, "noise_accuracy", "higher", "noise_accuracy"),),
    ),
    Claim(
        "D4",
        "D",
        "Activity regularization keeps outputs small.",
        "an argument, no run",
        "The mean size of activations is smaller, with the penalty after the ReLU.",
        ("circles", "digits"),
        (Statement(Side("activity_l1_after"), NONE, "mean_activation", "lower", "size"),),
    ),
    Claim(
        "D4 bias",
        "D",
        "Bias regularization keeps biases small.",
        "an argument, no run",
        "The norm of the biases is smaller under an L2 penalty on them.",
        ("features",),
        (Statement(Side("bias_l2"), NONE, "bias_norm", "lower", "size"),),
    ),
    Claim(
        "D5",
        "D",
        "L0 limits the number of parameters.",
        "an argument, no run",
        "With hard concrete gates, at the strength of the article that introduced them, fewer"
        " parameters are not zero than without regularization, and test accuracy is not lower.",
        ("features",),
        (
            Statement(Side("l0"), NONE, "nonzero_parameters", "lower", "size"),
            Statement(Side("l0"), NONE, "test_accuracy", "not lower", "accuracy_of_few_points"),
        ),
    ),
    Claim(
        "D6",
        "D",
        "ReLU and GELU act like a random regularizer.",
        "an argument, no run",
        "ReLU sets units to zero where tanh does not, and the gap between train and test accuracy"
        " is smaller: with ReLU and GELU than with tanh, with ReLU than in a linear network.",
        ("features",),
        (
            Statement(
                NONE, Side("activation_tanh"), "zero_activations", "higher", "share_of_weights"
            ),
            Statement(NONE, Side("activation_tanh"), "gap", "lower", "accuracy_of_images"),
            Statement(
                Side("activation_gelu"),
                Side("activation_tanh"),
                "gap",
                "lower",
                "accuracy_of_images",
            ),
            Statement(NONE, Side("activation_linear"), "gap", "lower", "accuracy_of_images"),
        ),
    ),
)


def compared_by(measure: str, study: str) -> set[str]:
    """The techniques that any claim compares by `measure` in `study`."""
    return {
        side.technique
        for claim in CLAIMS
        if study in claim.studies
        for statement in claim.statements
        if statement.measure == measure
        for side in statement.sides
    }
