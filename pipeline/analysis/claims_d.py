"""The claims of article D, which argues where a penalty can sit, and of Keras's own behaviour."""

from dataclasses import replace

from pipeline.analysis.claims_a import AFTER, THEN, today
from pipeline.analysis.statements import NONE, Claim, Side, Statement, as_good

ARGUED = "an argument, no run"
IMAGES = "accuracy_of_images"
EVERYWHERE = ("features", "digits", "mnist")


def _selects(first: Side) -> Statement:
    none = replace(NONE, setting=first.setting)
    return Statement(first, none, "informative_recall", "higher", "share_of_inputs")


def _drops(first: Side, second: Side | None = None) -> Statement:
    second = second or replace(NONE, setting=first.setting)
    return Statement(first, second, "noise_inputs_dropped", "higher", "share_of_inputs")


def _prevents_overfitting(first: Side) -> tuple[Statement, ...]:
    return (Statement(first, NONE, "gap", "lower", IMAGES), as_good(first, NONE, IMAGES))


_SELECTS = Claim(
    id="D1",
    article="D",
    sentence="L1's sparse weights select features.",
    explained="An input that does not help to tell the classes apart should end with weights near"
    " zero under L1. To see it, the data have 50 inputs of which only 10 are informative.",
    source=ARGUED,
    reading="More of the 10 informative inputs are among the 10 with the largest first weights than"
    " without regularization.",
    studies=("features",),
    statements=(_selects(Side("l1")),),
)
_SELECTS_EXACTLY = replace(
    _SELECTS,
    id="D1 exact",
    reading="By the plain gradient, as in the articles: of the 40 noise inputs, more have only zero"
    " weights than without regularization.",
    statements=(_drops(Side("l1")),),
)
_SELECTS_LINEAR = replace(
    _SELECTS,
    id="D1 linear",
    reading="As the article means it, in a linear model: L1 logistic regression by scikit-learn,"
    " strength chosen on validation data, drops more noise inputs exactly than logistic regression"
    " without penalty, and its test accuracy is not lower.",
    statements=(
        _drops(Side("linear_l1"), Side("linear")),
        as_good(Side("linear_l1"), Side("linear"), IMAGES),
    ),
)
_SELECTS_PROXIMAL = replace(
    _SELECTS,
    id="D1 proximal",
    reading="As D1 and D1 exact, with L1 by its proximal step, at the strength chosen on validation"
    " data, because no article gives one.",
    statements=(_selects(Side("proximal_l1", "tuned")), _drops(Side("proximal_l1", "tuned"))),
)
_SELECTS_GROUPS = replace(
    _SELECTS,
    id="D1 groups",
    reading="As D1 proximal, with the group lasso, which shrinks all weights of an input at once.",
    statements=(
        _selects(Side("proximal_group_lasso", "tuned")),
        _drops(Side("proximal_group_lasso", "tuned")),
    ),
)
_L2_PREVENTS = Claim(
    id="D2",
    article="D",
    sentence="L2 prevents overfitting.",
    explained="A network overfits if it does much better on its training examples than on new ones."
    " A technique that only makes it worse on the training examples prevents nothing.",
    source=ARGUED,
    reading="The gap between train and test accuracy is smaller than without regularization, and"
    " test accuracy is not lower: on features at article D's 0.01, on images at article B's 1e-4.",
    studies=EVERYWHERE,
    statements=_prevents_overfitting(Side("l2")),
)
_L1_PREVENTS = replace(
    _L2_PREVENTS,
    id="D2 L1",
    sentence="L1 prevents overfitting.",
    reading="As D2: on features at article D's 0.001, on images at article B's 1e-4.",
    statements=_prevents_overfitting(Side("l1")),
)
_ROBUST = Claim(
    id="D3",
    article="D",
    sentence="Small weights make a model robust to changes of its input.",
    explained="If weights are small, a small change of an input should change the output little. A"
    " robust model keeps its accuracy when noise is added to the test inputs.",
    source=ARGUED,
    reading="With L2 at the strengths of D2, the drop of test accuracy under noise of up to 0.4, on"
    " average over the noise, is smaller.",
    studies=EVERYWHERE,
    statements=(Statement(Side("l2"), NONE, "noise_drop", "lower", "noise_accuracy"),),
)
_SMALL_OUTPUTS = Claim(
    id="D4",
    article="D",
    sentence="Activity regularization keeps outputs small.",
    explained="The penalty is on the size of a layer's outputs, and training lowers the penalty. So"
    " outputs must become smaller; only by how much is open.",
    source=ARGUED,
    reading=f"{THEN} The mean size of activations is smaller, with the penalty after the ReLU.",
    studies=("circles", "digits"),
    statements=(Statement(AFTER, NONE, "mean_activation", "lower", "size"),),
    standing="by construction",
)
_SMALL_BIASES = replace(
    _SMALL_OUTPUTS,
    id="D4 bias",
    sentence="Bias regularization keeps biases small.",
    explained="The penalty is on the size of the biases, and training lowers the penalty. So biases"
    " must become smaller; only by how much is open.",
    reading="The norm of the biases is smaller under an L2 penalty on them.",
    studies=("features",),
    statements=(Statement(Side("bias_l2"), NONE, "bias_norm", "lower", "size"),),
)
_FEWER_PARAMETERS = Claim(
    id="D5",
    article="D",
    sentence="L0 limits the number of parameters.",
    explained="L0 counts the weights that are not zero. Since a count has no gradient, random gates"
    " that learn to close take its place.",
    source=ARGUED,
    reading="With hard concrete gates, at the strength of the article that introduced them, fewer"
    " parameters are not zero than without regularization, and test accuracy is not lower.",
    studies=("features",),
    statements=(
        Statement(Side("l0"), NONE, "nonzero_parameters", "lower", "size"),
        as_good(Side("l0"), NONE, "accuracy_of_few_points"),
    ),
)
_RANDOM = Claim(
    id="D6",
    article="D",
    sentence="ReLU and GELU act like a random regularizer.",
    explained="Both set many outputs to zero or near it, as dropout does, though by the input and"
    " not at random. The article takes the likeness for an effect.",
    source=ARGUED,
    reading="An argument about likeness, which runs can only support: ReLU sets units to zero where"
    " tanh does not, and the gap between train and test accuracy is smaller, with ReLU and GELU"
    " than with tanh, with ReLU than in a linear network. These networks also differ in what they"
    " can fit.",
    studies=("features",),
    statements=(
        Statement(NONE, Side("activation_tanh"), "zero_activations", "higher", "share_of_weights"),
        Statement(NONE, Side("activation_tanh"), "gap", "lower", IMAGES),
        Statement(Side("activation_gelu"), Side("activation_tanh"), "gap", "lower", IMAGES),
        Statement(NONE, Side("activation_linear"), "gap", "lower", IMAGES),
    ),
    standing="by argument",
)
_NEAR_INPUT = Claim(
    id="D7",
    article="D",
    sentence="Bias regularization suits a network whose output should be close to its input.",
    explained="A bias shifts a layer's output whatever the input. The article recommends to"
    " penalise biases where such a shift is unwanted.",
    source=ARGUED,
    reading="The squared error of an autoencoder on test images, which is its loss, is lower with"
    " L2 of 0.01 on the biases of its hidden layers than without.",
    studies=("digits_autoencoder",),
    statements=(Statement(Side("bias_l2"), NONE, "test_loss", "lower", "test_loss"),),
)
_ONE_ORDER = Claim(
    id="K1",
    article="K",
    sentence="After set_random_seed, fit repeats one order of the rows in every epoch.",
    explained="Stochastic training shuffles the examples anew in every epoch. With a seed, Keras 3"
    " on TensorFlow shuffles them once and repeats that order, and the model ends less accurate.",
    source="printed batches; no article",
    reading="The repeated order is a fact, shown by printing batches (docs/shuffling.md). Judged is"
    " its effect: article C's network without penalties has a lower test accuracy by a seeded fit"
    " than by an unseeded one, and than by this project's engine, whose order is fresh each epoch.",
    studies=("shuffling",),
    statements=tuple(
        Statement(Side("seeded"), Side(other), "test_accuracy", "lower", IMAGES)
        for other in ("unseeded", "engine")
    ),
)

CLAIMS_D = (
    _SELECTS,
    _SELECTS_EXACTLY,
    _SELECTS_LINEAR,
    _SELECTS_PROXIMAL,
    _SELECTS_GROUPS,
    _L2_PREVENTS,
    _L1_PREVENTS,
    _ROBUST,
    _SMALL_OUTPUTS,
    today(_SMALL_OUTPUTS),
    _SMALL_BIASES,
    _FEWER_PARAMETERS,
    _RANDOM,
    _NEAR_INPUT,
)
CLAIMS_K = (_ONE_ORDER,)
