"""The claims of article B: five techniques on MNIST."""

from dataclasses import replace

from pipeline.analysis.statements import (
    NONE,
    Claim,
    Side,
    Statement,
    as_good,
    beats,
    does_not_beat,
)
from pipeline.datasets.task import KEPT, kept_name

IMAGES = "accuracy_of_images"
EVERYWHERE = ("mnist_article", "mnist", "digits")  # the article's own setting first
RUN = "one run, validation accuracy"
ARGUED = "an argument, no run"
L1, L2, DROPOUT = Side("l1"), Side("l2"), Side("dropout")
# Rows of `derived`:
FIXED, STOPPED = Side("dropout_fixed_epochs"), Side("dropout_stopped")
SECOND_FIT = Side("dropout_second_fit")
MASKS, NO_MASKS = Side("dropout_sampled"), Side("dropout_unsampled")


_L2_BEATS = Claim(
    id="B1",
    article="B",
    sentence="L2 (1e-4) beats the baseline.",
    explained="The network has five layers of 500 units and learns handwritten digits. L2 adds the"
    " squared weights, times 1e-4, to the loss, which keeps them small.",
    source=RUN,
    reading="Its test accuracy is higher.",
    studies=EVERYWHERE,
    statements=(beats(L2, NONE, IMAGES),),
)
_L1_DOES_NOT = Claim(
    id="B2",
    article="B",
    sentence="L1 (1e-4) does not beat the baseline.",
    explained="L1 adds the absolute size of the weights to the loss, which drives many of them"
    " towards zero. At the same strength the article saw no gain from it.",
    source=RUN,
    reading="Its test accuracy is not higher.",
    studies=EVERYWHERE,
    statements=(does_not_beat(L1, NONE, IMAGES),),
)
_DROPOUT_BEATS = Claim(
    id="B3",
    article="B",
    sentence="Dropout (0.25) beats the baseline.",
    explained="In training, dropout silences a quarter of each layer's units at random. So no unit"
    " can rely on another one.",
    source=RUN,
    reading="Its test accuracy is higher.",
    studies=EVERYWHERE,
    statements=(beats(DROPOUT, NONE, IMAGES),),
)
_WHITENING = Claim(
    id="B4",
    article="B",
    sentence="ZCA augmentation with dropout is a leap over both.",
    explained="ZCA whitening removes the correlations between neighbouring pixels. The article"
    " calls the gain from it a leap, but its code fits the whitening and never uses it.",
    source="one run, validation accuracy; its code never draws the whitened images",
    reading="As meant, at the default epsilon of Keras's generator, 1e-6: on whitened images the"
    " dropout network has a higher test accuracy than on plain ones, and than no regularization; a"
    " leap is at least half a point.",
    studies=("mnist_article",),
    statements=(
        beats(Side("zca_dropout"), DROPOUT, "leap_of_accuracy"),
        beats(Side("zca_dropout"), NONE, "leap_of_accuracy"),
    ),
)
_WHITENING_TUNED = replace(
    _WHITENING,
    id="B4 tuned",
    reading="As meant, with epsilon and rate chosen on validation data: as B4, against dropout and"
    " no regularization, tuned as well.",
    studies=("mnist", "digits"),
    statements=_WHITENING.at("tuned").statements,
)
_WHITENING_PRINTED = replace(
    _WHITENING,
    id="B4 printed",
    reading="As printed: the generator that whitens is fitted but never drawn from, so the dropout"
    " network trains on the plain images, as in the dropout run.",
    statements=(),
    refuted_by="it is the same network as dropout, so with equal seeds the difference is zero;"
    " B3 has its difference to no regularization",
)
_STOPPING = Claim(
    id="B5",
    article="B",
    sentence="Early stopping finds the right number of epochs.",
    explained="Early stopping ends the training when validation accuracy no longer improves. The"
    " article says that this optimises the number of epochs, which one would otherwise have to"
    " choose beforehand.",
    source="one run: stopped after 5 of 10 epochs",
    reading="As meant, from fresh weights: validation accuracy is not lower than that of the"
    " dropout network at the best fixed number of epochs. That number is chosen by the mean"
    " accuracy of the other replicates; on MNIST from 1 to 30, three times the article's. Early"
    " stopping keeps the best epoch's weights here, which the article's code does not.",
    studies=EVERYWHERE,
    statements=(Statement(STOPPED, FIXED, "val_accuracy", "not lower", IMAGES),),
)
_STOPPING_PRINTED = replace(
    _STOPPING,
    id="B5 printed",
    sentence="Early stopping saves epochs.",
    explained="The printed code calls fit a second time on the network that has just been trained."
    " So it starts from trained weights, and what stops early is an extra training.",
    reading="As printed, with the epochs of both fits counted: it runs fewer epochs than the"
    " dropout network alone.",
    studies=("mnist_article",),
    statements=(
        Statement(Side("dropout_early_stopping_again"), DROPOUT, "epochs_run", "lower", "size"),
    ),
)
_STOPPING_AS_LONG = replace(
    _STOPPING_PRINTED,
    id="B5 as long",
    sentence="Early stopping finds the right number of epochs.",
    reading="As printed: validation accuracy after the last epoch of the second fit, which begins"
    " with a new optimizer, is not lower than after as many epochs of one fit, with dropout and"
    " without regularization.",
    statements=tuple(
        Statement(SECOND_FIT, Side(f"{name}_as_long"), "val_accuracy", "not lower", IMAGES)
        for name in ("dropout", "none")
    ),
)
_ZEROS = Claim(
    id="B6",
    article="B, C, D",
    sentence="L1 drives weights exactly to zero, L2 only near zero.",
    explained="A weight of exactly zero can be left out of the model. The argument is that the pull"
    " of L1 stays the same down to zero, while that of L2 fades with the weight.",
    source=ARGUED,
    reading="By the plain gradient, as in the articles: more exact zeros under L1 than under L2,"
    " and more weights below 0.001 in absolute value under L2 than without regularization.",
    studies=EVERYWHERE,
    statements=(
        Statement(L1, L2, "zero_weights", "higher", "share_of_weights"),
        Statement(L2, NONE, "near_zero_weights", "higher", "share_of_weights"),
    ),
)
_NEAR_ZEROS = replace(
    _ZEROS,
    id="B6 near",
    sentence="L1 drives more weights near zero than L2.",
    reading="B6 without exact zeros, because the plain gradient steps over zero: more weights below"
    " 0.001 in absolute value.",
    statements=(Statement(L1, L2, "near_zero_weights", "higher", "share_of_weights"),),
)
_PROXIMAL_ZEROS = replace(
    _ZEROS,
    id="B6 proximal",
    reading="As B6, with L1 by its proximal step, whose thresholds add up to 0.1 over the run. No"
    " article gives a strength for it.",
    studies=("digits",),
    statements=(
        Statement(Side("proximal_l1"), L2, "zero_weights", "higher", "share_of_weights"),
        Statement(L2, NONE, "near_zero_weights", "higher", "share_of_weights"),
    ),
)
_COMPRESSION = Claim(
    id="B7",
    article="B",
    sentence="L1 is the choice for compressing a model.",
    explained="A model with many zeros takes less room on disk. What counts is how much accuracy"
    " is left when all but the largest weights are removed.",
    source=ARGUED,
    reading="Weights below 0.001 are set to zero first. Then the kernels take fewer bytes under"
    " gzip than without regularization, at no lower accuracy; and with only the largest 30 % of"
    " the weights left, accuracy is higher.",
    studies=EVERYWHERE,
    statements=(
        Statement(L1, NONE, "pruned_gzip_bytes", "lower", "size"),
        Statement(L1, NONE, kept_name(1.0), "not lower", IMAGES),
        Statement(L1, NONE, kept_name(0.3), "higher", IMAGES),
    ),
    curve=tuple(map(kept_name, KEPT)),
)
_AUGMENTATION = Claim(
    id="B8",
    article="B",
    sentence="Augmentation usually improves accuracy a lot.",
    explained="Augmentation trains on images that are moved or turned a little at random. So the"
    " network sees more variety than was collected.",
    source="a remark, no number",
    reading="Test accuracy is higher by at least half a point than without regularization: with"
    " shifts by up to a tenth of the sides, and with rotations by up to 14 degrees.",
    studies=("digits",),
    statements=tuple(beats(Side(name), NONE, "leap_of_accuracy") for name in ("shift", "rotation")),
)
_LINEAR = Claim(
    id="B9",
    article="B",
    sentence="A very large strength makes the network nearly linear, and it underfits.",
    explained="If weights are forced to be tiny, units stay in the range where they respond in"
    " proportion to their input. The network then fits no more than a linear model could.",
    source=ARGUED,
    reading="With L2 of 1 on the hidden kernel, 100 times article D's, train accuracy is lower than"
    " without regularization and not higher than that of the same network without its ReLU.",
    studies=("features",),
    statements=(
        Statement(Side("l2_strong"), NONE, "train_accuracy", "lower", "accuracy_of_few_points"),
        Statement(
            Side("l2_strong"),
            Side("activation_linear"),
            "train_accuracy",
            "not higher",
            "accuracy_of_few_points",
        ),
    ),
)
_MANY_NETWORKS = Claim(
    id="B10",
    article="B",
    sentence="Dropout trains an ensemble of networks.",
    explained="Each training step uses another random part of the network. Without dropout at the"
    " end, the network is said to predict what all these parts would on average.",
    source=ARGUED,
    reading="Of the trained dropout networks, the mean predicted probability over 50 random masks"
    " against the prediction without masks, on the same test examples: neither accuracy nor loss is"
    " higher or lower.",
    studies=EVERYWHERE,
    statements=(
        does_not_beat(MASKS, NO_MASKS, "mean_over_masks"),
        as_good(MASKS, NO_MASKS, "mean_over_masks"),
        Statement(MASKS, NO_MASKS, "test_loss", "not higher", "loss_over_masks"),
        Statement(MASKS, NO_MASKS, "test_loss", "not lower", "loss_over_masks"),
    ),
)

CLAIMS_B = (
    _L2_BEATS,
    _L1_DOES_NOT,
    _DROPOUT_BEATS,
    _WHITENING,
    _WHITENING_TUNED,
    _WHITENING_PRINTED,
    _STOPPING,
    _STOPPING_PRINTED,
    _STOPPING_AS_LONG,
    _ZEROS,
    _NEAR_ZEROS,
    _PROXIMAL_ZEROS,
    _COMPRESSION,
    _AUGMENTATION,
    _LINEAR,
    _MANY_NETWORKS,
)
