"""The claims of article C: mixed penalties on Fashion-MNIST."""

from dataclasses import replace

from pipeline.analysis.statements import NONE, Claim, Side, Statement, beats

ARGUED = "an argument, no run"


def _leaves_no_negative_weights(first: Side) -> tuple[Statement, ...]:
    none = replace(NONE, setting=first.setting)
    return (
        Statement(first, none, "negative_weights", "lower", "share_of_weights"),
        Statement(first, None, "negative_weights", "not higher", "share_of_weights"),
    )


def _costs_nothing(measure: str, matters: str) -> tuple[Statement, ...]:
    none = replace(NONE, setting="tuned")
    return tuple(
        Statement(Side(technique, "tuned"), none, measure, "not higher", matters)
        for technique in ("l1", "l2")
    )


_WITHOUT = Claim(
    id="C1",
    article="C",
    sentence="Without its penalties the article's model may do better in the same epochs.",
    explained="The article's network has three hidden layers, each with another penalty, to show"
    " how they are written. It adds that the same network without them may classify better.",
    source="a remark, no number",
    reading="Test accuracy is higher without regularization.",
    studies=("fashion_article",),
    statements=(beats(NONE, Side("mixed_penalties"), "accuracy_of_images"),),
)
_NEGATIVE = Claim(
    id="C2",
    article="C",
    sentence="L1 turns negative weights to zero (\N{MINUS SIGN}2 becomes 0).",
    explained="The article describes L1 by an example in which negative weights are replaced by"
    " zero. If so, hardly any negative weight is left after training.",
    source=ARGUED,
    reading="In the article's model, whose first layer has L1 0.01: fewer weights are negative than"
    " without regularization, and almost none are left.",
    studies=("fashion_article",),
    statements=_leaves_no_negative_weights(Side("mixed_penalties")),
)
_NEGATIVE_ALONE = replace(
    _NEGATIVE,
    id="C2 alone",
    reading="As C2, with L1 alone on every layer, at the strength chosen on validation data.",
    studies=("fashion_mnist", "mnist", "digits"),
    statements=_leaves_no_negative_weights(Side("l1", "tuned")),
)
_INFERENCE = Claim(
    id="C3",
    article="C",
    sentence="A penalty costs nothing at inference.",
    explained="A penalty changes the loss in training. The trained model has the same layers as one"
    " without it, so predictions should take the same time.",
    source=ARGUED,
    reading="The exported models take no more time for a batch of test examples, measured in turn"
    " on one thread.",
    studies=("fashion_mnist", "mnist", "digits"),
    statements=_costs_nothing("inference_seconds", "size"),
)
_PARAMETERS = replace(
    _INFERENCE,
    id="C3 parameters",
    sentence="A penalty adds no parameters.",
    reading="The exported models have no more parameters. A penalty has none, so this cannot come"
    " out otherwise.",
    statements=_costs_nothing("parameters", "parameters"),
    standing="by construction",
)
_LARGER = Claim(
    id="C4",
    article="C",
    sentence="Regularization matters more in larger networks.",
    explained="A larger network can learn more by heart, so it should gain more from being held"
    " back. The article recommends regularization for networks with many parameters.",
    source=ARGUED,
    reading="With one hidden layer of 2,048 units, L2 and dropout gain more test accuracy over no"
    " regularization than with 32 units, each tuned at its width.",
    studies=("digits_width",),
    statements=tuple(
        Statement(
            Side(f"{name}_largest", "tuned"),
            Side(f"{name}_smallest", "tuned"),
            "test_accuracy",
            "higher",
            "accuracy_of_few_points",
        )
        for name in ("l2", "dropout")
    ),
)

CLAIMS_C = (_WITHOUT, _NEGATIVE, _NEGATIVE_ALONE, _INFERENCE, _PARAMETERS, _LARGER)
