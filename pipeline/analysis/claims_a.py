"""The claims of article A, and of its readers: penalties on activations, on circles."""

from dataclasses import replace

from pipeline.analysis.statements import (
    NONE,
    Claim,
    Side,
    Statement,
    as_good,
    beats,
    does_not_beat,
    with_techniques,
)

FEW = "accuracy_of_few_points"
IMAGES = "accuracy_of_images"
BEFORE, AFTER = Side("activity_l1_before"), Side("activity_l1_after")
TODAY = {side.technique: f"{side.technique}_today" for side in (BEFORE, AFTER)}
THEN = "As run then, on Keras 2.3, whose l1(1e-4) is 3e-3 in today's terms."
READER = "a reader's question"


def today(claim: Claim) -> Claim:
    """The claim about what its line of code computes today, at a thirtieth of the strength."""
    return replace(
        claim,
        id=f"{claim.id} today",
        reading=claim.reading.replace(
            THEN, "As the code runs today, where l1(1e-4) is a thirtieth of what it was."
        ),
        statements=with_techniques(claim, TODAY),
    )


def _sparser(first: Side) -> tuple[Statement, ...]:
    return (
        Statement(first, NONE, "zero_activations", "higher", "share_of_weights"),
        Statement(first, NONE, "mean_activation", "lower", "size"),
    )


_OVERFITS = Claim(
    id="A1",
    article="A",
    sentence="The circles network without regularization overfits.",
    explained="The task is to tell two noisy circles apart from 30 points, with a network of 500"
    " hidden units. The article shows its accuracy on new points rise, then fall, while the"
    " training points are all learned.",
    source="one run: train 100 %, test 78 % (75.7 % in a second printing)",
    reading="Validation accuracy falls from its best epoch to the last one by more than luck gives"
    " the best of 4,000 epochs, and train accuracy ends above test accuracy.",
    studies=("circles",),
    statements=(
        Statement(NONE, None, "fall", "higher", "fall_of_accuracy"),
        Statement(NONE, None, "gap", "higher", FEW),
    ),
)
_BEFORE_HELPS = Claim(
    id="A2",
    article="A",
    sentence="An activity L1 penalty before the ReLU lowers train and raises test accuracy.",
    explained="The penalty makes the network pay for large outputs of its hidden units. Put before"
    " the ReLU, it pulls the values that the ReLU is about to cut off. The article sees it as the"
    " cure for overfitting.",
    source="one run: train 96 %, test 82 %",
    reading=f"{THEN} Both differences to no regularization are required.",
    studies=("circles", "digits"),
    statements=(Statement(BEFORE, NONE, "train_accuracy", "lower", FEW), beats(BEFORE, NONE, FEW)),
)
_AFTER_DOES_NOT = Claim(
    id="A3",
    article="A",
    sentence="After the ReLU the penalty does not help.",
    explained="The same penalty on what the ReLU lets through, which is the more common place for"
    " it. The article finds that it made test accuracy worse.",
    source="one run: train 100 %, test 74 %",
    reading=f"{THEN} Its test accuracy is not higher than without regularization.",
    studies=("circles", "digits"),
    statements=(does_not_beat(AFTER, NONE, FEW),),
)
_SPARSER = Claim(
    id="A4",
    article="A",
    sentence="The activity penalty, before the ReLU, makes activations sparser.",
    explained="A unit is inactive for an example if its output is exactly zero. The article"
    " suggests to check that the penalty makes more units inactive and the others quieter.",
    source="left to the reader",
    reading=f"{THEN} After the ReLU, more activations are zero and their mean size is smaller.",
    studies=("circles", "digits"),
    statements=_sparser(BEFORE),
)
_SPARSER_AFTER = replace(
    _SPARSER,
    id="A4 after",
    sentence="The activity penalty, after the ReLU, makes activations sparser.",
    reading=f"{THEN} As A4, for the other place.",
    statements=_sparser(AFTER),
)
_REPEATS = Claim(
    id="A5",
    article="A",
    sentence="Repeats of one setting barely vary.",
    explained="Two trainings of one network differ in their random initial weights. If their"
    " results differ by as much as two techniques do, a single run of each shows nothing. The"
    " article calls the variation small and reports single runs.",
    source="a remark; one run of each",
    reading="The standard deviation of test accuracy over repeats without regularization: over"
    " seeds on the article's points, over draws of points beyond them.",
    studies=("circles", "digits"),
    statements=(
        Statement(NONE, None, "test_accuracy", "not higher", "spread_of_repeats", of="deviation"),
    ),
)
_ZERO = Claim(
    id="A6",
    article="A",
    sentence="A strength of 0 is the same as no regularization.",
    explained="A search over strengths often includes 0, to have the plain network among its"
    " candidates. A reader asks whether a penalty of strength 0 does nothing at all.",
    source=READER,
    reading="With L1 of strength 0 on the kernels, test accuracy is neither higher nor lower.",
    studies=("digits",),
    statements=(
        does_not_beat(Side("l1_zero"), NONE, IMAGES),
        as_good(Side("l1_zero"), NONE, IMAGES),
    ),
)
_COLLAPSES = Claim(
    id="A7",
    article="A",
    sentence="Under a strong L1 penalty the network predicts one constant.",
    explained="A reader's network began to answer the same for every example once a penalty was"
    " added. That happens when the penalty outweighs the data: weights near zero pass nothing on.",
    source=READER,
    reading="At a strength of 1 on the hidden kernel, more runs predict a single class for all test"
    " examples than without regularization. The output layer has no penalty, and its weights can"
    " make up for small hidden ones.",
    studies=("features", "circles"),
    statements=(Statement(Side("l1_strong"), NONE, "collapsed", "higher", "share_of_runs"),),
)
_COLLAPSES_L2 = replace(
    _COLLAPSES,
    id="A7 L2",
    sentence="Under a strong L2 penalty the network predicts one constant.",
    statements=(Statement(Side("l2_strong"), NONE, "collapsed", "higher", "share_of_runs"),),
)
_ENSEMBLE = Claim(
    id="A8",
    article="A",
    sentence="An ensemble of an L1, an L2 and an L1-L2 model is better than each.",
    explained="An ensemble averages the predicted probabilities of several models. A reader asks"
    " whether three models, each with another penalty, are better together.",
    source=READER,
    reading="The mean of the three models' probabilities has a higher test accuracy than each of"
    " them alone, at the strengths chosen on validation data.",
    studies=("mnist", "fashion_mnist"),
    statements=tuple(
        beats(Side("ensemble", "tuned"), Side(member, "tuned"), IMAGES)
        for member in ("l1", "l2", "l1_l2")
    ),
)
_NORMS = Claim(
    id="A9",
    article="A",
    sentence="L2 and L1-L2 norms of the activations help as well.",
    explained="The article penalises the absolute size of activations (L1). It suggests their"
    " squared size (L2), which presses on large ones most, and both at once.",
    source="left to the reader",
    reading="Before the ReLU, at 3e-3 for each norm, as A2's strength is in today's terms: test"
    " accuracy is higher than without regularization, for both.",
    studies=("circles",),
    statements=tuple(
        beats(Side(name), NONE, FEW) for name in ("activity_l2_before", "activity_l1_l2_before")
    ),
)
_BOTH = Claim(
    id="A10",
    article="A",
    sentence="A penalty on kernels and one on activities are better together than alone.",
    explained="A layer can be penalised for its weights (kernel) or for its outputs (activity). A"
    " reader asks whether to use one of them or both at once.",
    source=READER,
    reading="L2 of 1e-4 on the kernels with activity L1 of 3e-3 before the ReLU: test accuracy is"
    " higher than with either alone.",
    studies=("digits",),
    statements=tuple(
        beats(Side("kernel_and_activity"), other, IMAGES) for other in (Side("l2"), BEFORE)
    ),
)
_FIRST = Claim(
    id="A11",
    article="A",
    sentence="To regularize the first layer is enough.",
    explained="In a network of several layers a penalty can be set for each. A reader asks whether"
    " every layer needs it or just the first.",
    source=READER,
    reading="L2 of 1e-4 on the kernel of the first of two hidden layers: test accuracy is not lower"
    " than with it on both.",
    studies=("digits",),
    statements=(as_good(Side("l2_first"), Side("l2"), IMAGES),),
)
_NEXT = Claim(
    id="A12",
    article="A",
    sentence="L1 on one layer and L2 on the next are better than one norm on both.",
    explained="L1 favours few large weights, L2 many small ones. A reader with two LSTM layers asks"
    " whether to give each its own norm.",
    source=READER,
    reading="On two dense layers, L1 of 1e-4 on the first kernel and L2 of 1e-4 on the second: test"
    " accuracy is higher than with L1 on both, and than with L2 on both.",
    studies=("digits",),
    statements=tuple(beats(Side("l1_then_l2"), Side(other), IMAGES) for other in ("l1", "l2")),
)

CLAIMS_A = (
    _OVERFITS,
    *(
        reading
        for claim in (_BEFORE_HELPS, _AFTER_DOES_NOT, _SPARSER, _SPARSER_AFTER)
        for reading in (claim, today(claim))
    ),
    _REPEATS,
    _ZERO,
    _COLLAPSES,
    _COLLAPSES_L2,
    _ENSEMBLE,
    _NORMS,
    _BOTH,
    _FIRST,
    _NEXT,
)
