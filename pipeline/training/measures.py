"""Measures of a trained Keras model: of its predictions, weights and activations.

On a network with five layers of 500 units and 10,000 test examples of 784 inputs, all measures but
accuracies and losses take 0.9 s of one core: gzip, twice, and passes over noisy examples and
through pruned kernels. With dropout, passes with masks take two and a half times as
long as these.

Sources: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599 (calibration error);
Han et al. 2015, arXiv 1506.02626 (pruning by magnitude).
"""

import gzip
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from pipeline.datasets.task import CLASSIFICATION, KEPT, SIGMAS, Task, kept_name
from pipeline.engine import backend
from pipeline.models.building import CODE
from pipeline.models.stack import HIDDEN, below_output
from pipeline.training.scores import Told, further

# Bounds of a layer's output at a time, so that it fits a cache and memory does not grow with data.
ROWS_AT_ONCE = 2048
VALUES_AT_ONCE = 2**24  # 64 MB
ACTIVATION_ROWS = 2000  # examples on which activations are measured
NOISE_ROWS = 2000  # examples to which noise is added, at most
NOISE_SEED = 20_150_614  # the same for every run, so that techniques are tested with the same noise
PASSES = 50  # with dropout, over which predictions are averaged
SAMPLED_SEED = 20_161_130  # of the dropout masks, the same for every run
NEAR_ZERO = 1e-3  # weights of smaller size are near zero
BIASES = ("bias", "beta")  # batch normalization's beta takes the place of the layer's bias
BINS = 15  # of confidence, in the calibration error

Labelled = tuple[np.ndarray, np.ndarray]  # x (n, ...) float32 and y (n,) int32 or float32
Weights = Mapping[Any, np.ndarray]  # of the examples of each part, (n,) > 0; empty: all the same
EQUAL: Weights = {}
Classify = Callable[[np.ndarray], np.ndarray]  # examples (n, ...) → their classes (n,)


class Predicted(NamedTuple):
    """A classifier's predictions for n examples."""

    losses: np.ndarray  # (n,) float32, unpenalised
    outputs: np.ndarray  # (n, classes) float32, or (n, 1) of one sigmoid unit: probabilities

    @property
    def classes(self) -> np.ndarray:
        """The likeliest class of each example, (n,)."""
        return _likeliest(self.outputs)

    @property
    def confidences(self) -> np.ndarray:
        """The probability of that class, (n,) float32."""
        largest: np.ndarray = self.outputs.max(axis=1)
        return np.maximum(largest, 1 - largest) if self.outputs.shape[1] == 1 else largest


def _likeliest(outputs: np.ndarray) -> np.ndarray:
    """The classes (n,) of outputs as `Predicted.outputs`."""
    return np.asarray(outputs[:, 0] > 0.5 if outputs.shape[1] == 1 else outputs.argmax(axis=1))


class Measured(NamedTuple):
    """The measures of a model, and its predictions for the last part of the data, if it has any."""

    measures: dict[str, float]
    # As `Predicted.outputs`; of a regression the predicted numbers, (n, 1) float32.
    probabilities: np.ndarray | None


def measure(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task = CLASSIFICATION,
    weights: Weights = EQUAL,
) -> Measured:
    """Measures of a classifier: of its predictions on each part of the data, and of its weights.

    Of each part: the task's scores, such as `<part>_accuracy` and `<part>_loss` (unpenalised). Of
    the last part: `collapsed`, whether it predicts a single class; `calibration_error`;
    `noise_accuracies`; `kept_accuracies`; `sampled_scores`, if the model has dropout;
    `zero_activations`, the share of the hidden layers' outputs h that are 0, and `mean_activation`,
    the mean of |h| over examples and units. `parameters` is the number of all weights,
    `nonzero_parameters` of those that are not exactly 0. Those of `weights` are of trained weights.
    Examples count by their weights in the task's scores alone.
    """
    scores: dict[str, float] = {}
    for name, (x, y) in parts.items():
        predicted = predict(model, x, y)
        classes = predicted.classes
        scores |= _of_part(name, predicted, y, task, weights.get(name))
    stride = -(-len(x) // NOISE_ROWS)  # over the whole part: MNIST's first test images are easier
    sample = x[::stride], y[::stride]
    measures = scores | {
        "collapsed": len(np.unique(classes)) == 1,
        "calibration_error": calibration_error(predicted.confidences, classes == y),
        **noise_accuracies(partial(_classes, model), *sample, classes[::stride]),
        **kept_accuracies(model, *sample),
        **sampled_scores(model, *sample, predicted.losses[::stride]),
        **_inside(model, x),
    }
    return Measured(measures, predicted.outputs)


def _of_part(
    part: str, predicted: Predicted, y: np.ndarray, task: Task, weights: np.ndarray | None
) -> dict[str, float]:
    """A classifier's scores on a part of the data."""
    told = Told(y, predicted.classes, predicted.outputs, weights)
    others = further(task.scores, told)
    return {
        f"{part}_accuracy": _mean(predicted.classes == y, weights),
        f"{part}_loss": _mean(predicted.losses, weights),
        **{f"{part}_{name}": value for name, value in others.items()},
    }


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    """The mean of values (n,) by their weights."""
    if weights is None:
        return float(np.mean(values, dtype=np.float64))
    return float(np.average(values.astype(np.float64), weights=weights))


def score(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task = CLASSIFICATION,
    weights: Weights = EQUAL,
) -> dict[str, float]:
    """A classifier's scores on each part, as `measure` names them."""
    return {
        name: value
        for part, (x, y) in parts.items()
        for name, value in _of_part(part, predict(model, x, y), y, task, weights.get(part)).items()
    }


def score_reconstruction(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task,
    weights: Weights = EQUAL,
) -> dict[str, float]:
    """The mean squared error on each part, as `measure_reconstruction` names it."""
    return {
        f"{part}_loss": _reproduced(outputs(model, x), x, weights.get(part))
        for part, (x, _) in parts.items()
    }


def _reproduced(outputs: np.ndarray, x: np.ndarray, weights: np.ndarray | None) -> float:
    """The mean squared error of outputs for examples x, both (n, ...)."""
    squared = np.square(outputs - x)
    if weights is None:
        return float(np.mean(squared, dtype=np.float64))
    return _mean(squared.reshape(len(x), -1).mean(axis=1), weights)


def measure_reconstruction(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task,
    weights: Weights = EQUAL,
) -> Measured:
    """Measures of a model that reproduces its input; labels are not read.

    As `measure`, without those that need labels. `<part>_loss` is the mean squared error.
    `collapsed`: whether all outputs for the last part are equal. `code_zero_activations` and
    `code_mean_activation` are of the layer named code alone.
    """
    scores: dict[str, float] = {}
    for name, (x, _) in parts.items():
        reproduced = outputs(model, x)
        scores[f"{name}_loss"] = _reproduced(reproduced, x, weights.get(name))
    code = _activations(model, x[:ACTIVATION_ROWS], {CODE})
    measures = scores | {
        "collapsed": bool(np.all(reproduced == reproduced[0])),
        **_inside(model, x),
        **{f"{CODE}_{name}": value for name, value in code.items()},
    }
    return Measured(measures, None)


def measure_regression(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task,
    weights: Weights = EQUAL,
) -> Measured:
    """Measures of a model that predicts a number in its own unit, by a last layer that rescales.

    As `measure`, without those that need labels. Of each part: `<part>_rmse` and `<part>_mae`, in
    that unit; `<part>_r2`, `1 - sum((y - prediction)**2) / sum((y - mean(y))**2)`, nan if all y are
    equal; and `<part>_loss`, the mean squared error of the standardized target. Of the last part:
    `noise_rmse`, and `collapsed`, whether all predictions are equal.
    """
    scores: dict[str, float] = {}
    for name, (x, y) in parts.items():
        told = outputs(model, x)
        predicted = told[:, 0]
        scores |= errors(name, predicted, y, model.layers[-1].scale, weights.get(name))
    stride = -(-len(x) // NOISE_ROWS)
    measures = scores | {
        "collapsed": bool(np.all(predicted == predicted[0])),
        "noise_rmse": noise_rmse(model, x[::stride], y[::stride], predicted[::stride]),
        **_inside(model, x),
    }
    return Measured(measures, told)


def score_regression(
    model: keras.Sequential,
    parts: Mapping[Any, Labelled],
    task: Task,
    weights: Weights = EQUAL,
) -> dict[str, float]:
    """The errors on each part, as `measure_regression` names them."""
    return {
        name: value
        for part, (x, y) in parts.items()
        for name, value in errors(
            part, outputs(model, x)[:, 0], y, model.layers[-1].scale, weights.get(part)
        ).items()
    }


def errors(
    part: str,
    predicted: np.ndarray,
    y: np.ndarray,
    scale: float,
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """A regression's scores on a part of the data, from predictions (n,) for targets y (n,).

    Both are in the target's own unit; `scale`: its standard deviation, as a run is trained.
    """
    missed = predicted.astype(np.float64) - y
    squared, mean = _mean(np.square(missed), weights), _mean(y, weights)
    spread = _mean(np.square(y.astype(np.float64) - mean), weights)
    return {
        f"{part}_rmse": float(np.sqrt(squared)),
        f"{part}_mae": _mean(np.abs(missed), weights),
        f"{part}_r2": 1 - squared / spread if spread else float("nan"),
        f"{part}_loss": squared / scale**2,
    }


# By the kind of the task.
MEASURED: Mapping[
    str, Callable[[keras.Sequential, Mapping[Any, Labelled], Task, Weights], Measured]
] = {
    "classification": measure,
    "regression": measure_regression,
    "reconstruction": measure_reconstruction,
}

SCORED: Mapping[
    str, Callable[[keras.Sequential, Mapping[Any, Labelled], Task, Weights], dict[str, float]]
] = {
    "classification": score,
    "regression": score_regression,
    "reconstruction": score_reconstruction,
}


def _inside(model: keras.Sequential, x: np.ndarray) -> dict[str, float]:
    """Measures of the weights, and of the activations for these examples."""
    trained = [(weight.name, np.asarray(weight)) for weight in model.trainable_weights]
    kernels = [weight for _, weight in trained if weight.ndim > 1]
    biases = [weight for name, weight in trained if name in BIASES]
    return {
        **weights(kernels, biases),
        "parameters": model.count_params(),
        "nonzero_parameters": sum(int(np.count_nonzero(array)) for array in model.get_weights()),
        **_activations(model, x[:ACTIVATION_ROWS]),
    }


def weights(kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> dict[str, float]:
    """Measures of all kernels together, including recurrent ones, and of the biases.

    `zero_weights`, `near_zero_weights` and `negative_weights` are shares. `kernel_norm` and
    `bias_norm` are `sqrt(sum(w**2))`. `kernel_gzip_bytes` is the size of the concatenated float32
    kernels under gzip at its default level, 6; `pruned_gzip_bytes` with near-zero weights set to 0.
    """
    flat = np.concatenate([kernel.ravel() for kernel in kernels])
    return {
        "zero_weights": float(np.mean(flat == 0)),
        "near_zero_weights": float(np.mean(np.abs(flat) < NEAR_ZERO)),
        "negative_weights": float(np.mean(flat < 0)),
        "kernel_norm": _norm(kernels),
        "bias_norm": _norm(biases),
        "kernel_gzip_bytes": _gzip_bytes(flat),
        "pruned_gzip_bytes": _gzip_bytes(pruned([flat], share=1.0)[0]),
    }


def _gzip_bytes(flat: np.ndarray) -> int:
    return len(gzip.compress(flat.astype("<f4").tobytes(), 6, mtime=0))


def pruned(kernels: Sequence[np.ndarray], share: float) -> list[np.ndarray]:
    """Kernels of the same shapes in which at most `share` of all weights are left, the largest.

    Weights below 0.001 in absolute value become 0 whatever the share; equal weights at the
    threshold all stay. Raises ValueError unless `share` lies in (0, 1]. Han et al. 2015.

    >>> pruned([np.array([[0.5, -0.2], [0.0004, 0.1]])], share=0.5)[0].tolist()
    [[0.5, -0.2], [0.0, 0.0]]
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must lie in (0, 1], but got {share}")
    sizes = np.abs(np.concatenate([kernel.ravel() for kernel in kernels]))
    dropped = sizes.size - max(1, round(share * sizes.size))
    threshold = max(NEAR_ZERO, np.partition(sizes, dropped)[dropped])
    return [np.where(np.abs(kernel) < threshold, 0, kernel) for kernel in kernels]


def kept_accuracies(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Accuracy on examples x (n, ...) with labels y (n,) after pruning: `kept_30_accuracy`.

    For each of the shares `KEPT`, in percent in the name, of the weights of all trained kernels
    together; `pruned` says which are left.
    """
    kernels = [np.asarray(variable) for variable in _kernels(model)]
    by_share = zip(*(pruned(kernels, share) for share in KEPT), strict=True)
    stacks = [np.stack(arrays) for arrays in by_share]  # of each kernel, (shares, *its shape)
    score = _pruned_scorer(model)
    parts = [score(x[rows], *stacks) for rows in _parts(model, len(x))]
    classes = (_likeliest(np.concatenate(outputs)) for outputs in zip(*parts, strict=True))
    return {
        kept_name(share): float(np.mean(c == y)) for share, c in zip(KEPT, classes, strict=True)
    }


def _kernels(model: keras.Sequential) -> list[Any]:
    """The variables of the trained kernels, including recurrent ones."""
    return [weight for weight in model.trainable_weights if len(weight.shape) > 1]


@lru_cache(maxsize=1)
def _pruned_scorer(model: keras.Sequential) -> Callable[..., list[Any]]:
    """`_pruned_outputs` of this model, compiled: to assign kernels takes longer than to predict."""
    return backend.compiled(partial(_pruned_outputs, model), "graph")


def _pruned_outputs(model: keras.Sequential, x: Any, *stacks: Any) -> list[Any]:
    """For each share the outputs (n, units), with that share's kernels in the model's place."""
    variables, outputs = _kernels(model), []
    for index in range(len(KEPT)):
        kernels = [(v, stack[index]) for v, stack in zip(variables, stacks, strict=True)]
        with keras.StatelessScope(state_mapping=kernels):
            outputs.append(model(x, training=False))
    return outputs


def sampled_scores(
    model: keras.Sequential, x: np.ndarray, y: np.ndarray, plain: np.ndarray
) -> dict[str, float]:
    """Accuracy and loss of the mean probability over `PASSES` passes with dropout switched on.

    Args:
        x, y: examples (n, ...) and their labels (n,).
        plain: (n,), the losses of these examples without dropout, as of `Predicted`.

    `sampled_accuracy`; `sampled_loss`, `mean(-log(p))` over the labels' mean probabilities p; and
    `unsampled_loss`, the mean of `plain`. All other layers are in inference. Empty for a model
    without layers of the class Dropout. The masks are the same for every run of an architecture,
    and the model is left as it is. Gal and Ghahramani 2016, arXiv 1506.02142.
    """
    dropout = _dropout(model)
    if not dropout:
        return {}
    rng, sampler = np.random.default_rng(SAMPLED_SEED), _sampler(model)
    parts = [
        sampler(x[rows], y[rows], rng.integers(2**31, size=(PASSES, len(dropout), 2)))
        for rows in _parts(model, len(x))
    ]
    losses, outputs = (np.concatenate(each, axis=1) for each in zip(*parts, strict=True))
    mean = outputs.mean(axis=0, dtype=np.float64)
    log_p = np.logaddexp.reduce(-losses.astype(np.float64), axis=0) - np.log(PASSES)
    return {
        "sampled_accuracy": float(np.mean(_likeliest(mean) == y)),
        "sampled_loss": float(-np.mean(log_p)),
        "unsampled_loss": float(np.mean(plain, dtype=np.float64)),
    }


def _dropout(model: keras.Sequential) -> list[keras.layers.Dropout]:
    return [layer for layer in model.layers if isinstance(layer, keras.layers.Dropout)]


@lru_cache(maxsize=1)
def _sampler(model: keras.Sequential) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """`_sampled` of this model, compiled once for any number of examples."""
    examples = np.empty((0, *model.input_shape[1:]), np.float32), np.empty(0, np.int32)
    seeds = np.empty((0, len(_dropout(model)), 2), np.int64)
    return backend.compiled(partial(_sampled, model), "graph", (*examples, seeds))


def _sampled(model: keras.Sequential, x: Any, y: Any, seeds: Any) -> tuple[Any, Any]:
    """Losses (passes, n) and outputs (passes, n, units); seeds: (passes, dropout layers, 2)."""
    dropout = _dropout(model)
    first = model.layers.index(dropout[0])
    for layer in model.layers[:first]:  # once, since nothing before it is random
        x = layer(x, training=False)

    def one_pass(seeds: Any) -> tuple[Any, Any]:
        masked = [(index, layer) for index, layer in enumerate(dropout) if layer.rate]
        states = [
            (state := layer.seed_generator.state, ops.cast(seeds[index], state.dtype))
            for index, layer in masked  # a layer of rate 0 has no generator
        ]
        h = x
        with keras.StatelessScope(state_mapping=states):
            for layer in model.layers[first:]:
                h = layer(h, training=layer in dropout)
        return _losses(y, h), h

    passes: tuple[Any, Any] = ops.map(one_pass, seeds)
    return passes


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(
        np.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays))
    )


def selection(norms: np.ndarray, informative: np.ndarray) -> dict[str, float]:
    """How well the weights separate informative inputs from noise.

    Args:
        norms: (inputs,), of each input's weights, from `input_norms`.
        informative: (k,), the columns that determine the class, k < inputs.

    `informative_recall` is the share of informative inputs among the k with the largest norms; an
    input with norm 0 does not count. Since k are chosen out of k, recall equals precision, and a
    random choice has k / inputs. `noise_inputs_dropped` is the share of the other inputs with norm
    exactly 0.
    """
    heaviest = np.argsort(-norms, kind="stable")[: len(informative)]
    chosen = heaviest[norms[heaviest] > 0]
    return {
        "informative_recall": float(np.isin(informative, chosen).mean()),
        "noise_inputs_dropped": float(np.mean(np.delete(norms, informative) == 0)),
    }


def input_norms(model: keras.Sequential) -> np.ndarray:
    """(inputs,) norms of the rows of the first trained kernel, of a model of points.

    After a frozen linear layer, such as whitening, those of the product of both kernels.
    """
    kernel = np.eye(model.input_shape[-1], dtype=np.float32)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            kernel = kernel @ np.asarray(layer.kernel)
            if layer.trainable:
                break
    return np.asarray(np.linalg.norm(kernel, axis=1))


def calibration_error(confidences: np.ndarray, hits: np.ndarray) -> float:
    """Expected calibration error: `sum over bins of n_bin / n * |accuracy - mean confidence|`.

    Both have shape (n,); the 15 bins of confidence are equally wide. The result is nan if a
    confidence is not finite.
    """
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    surplus = hits.astype(np.float64) - confidences.astype(np.float64)
    return float(np.abs(np.bincount(np.digitize(confidences, edges), surplus)).sum() / len(hits))


def noise_accuracies(
    classify: Classify,
    x: np.ndarray,
    y: np.ndarray,
    clean: np.ndarray,
    sigmas: Sequence[float] = SIGMAS,
) -> dict[str, float]:
    """Accuracy on inputs with added Gaussian noise, `noise_<sigma>_accuracy` for 0 and each sigma.

    `clean`: the predicted classes (n,) of x without noise. `noise_accuracy` is the mean height of
    the curve of accuracy against sigma: its area by trapezoids, from 0 to the largest sigma,
    divided by that sigma. `noise_drop` is the accuracy without noise minus that. All sigmas scale
    one draw of noise, the same for every model.
    """
    by_sigma = clean, *np.split(classify(_noisy(x, sigmas)), len(sigmas))
    accuracies = [float(np.mean(classes == y)) for classes in by_sigma]
    area = _height(accuracies, sigmas)
    measures = {
        f"noise_{sigma:g}_accuracy": accuracy
        for sigma, accuracy in zip((0.0, *sigmas), accuracies, strict=True)
    }
    return measures | {"noise_accuracy": area, "noise_drop": accuracies[0] - area}


def noise_rmse(
    model: keras.Sequential,
    x: np.ndarray,
    y: np.ndarray,
    clean: np.ndarray,
    sigmas: Sequence[float] = SIGMAS,
) -> float:
    """The mean height of the curve of a regression's rmse against sigma; see `noise_accuracies`.

    `clean`: the predictions (n,) for x without noise.
    """
    by_sigma = clean, *np.split(outputs(model, _noisy(x, sigmas))[:, 0], len(sigmas))
    squares = (np.square(predicted.astype(np.float64) - y) for predicted in by_sigma)
    return _height([float(np.sqrt(np.mean(each))) for each in squares], sigmas)


def _noisy(x: np.ndarray, sigmas: Sequence[float]) -> np.ndarray:
    """x (n, ...) with each sigma's noise, one after the other."""
    noise = np.random.default_rng(NOISE_SEED).standard_normal(x.shape, np.float32)
    return np.concatenate([x + np.float32(sigma) * noise for sigma in sigmas])


def _height(values: Sequence[float], sigmas: Sequence[float]) -> float:
    """The mean height of a curve of values at sigma 0 and at each sigma."""
    return float(np.trapezoid(values, (0.0, *sigmas)) / sigmas[-1])


def _classes(model: keras.Sequential, x: np.ndarray) -> np.ndarray:
    return predict(model, x, np.zeros(len(x), np.int32)).classes


def predict(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> Predicted:
    """A classifier's predictions for examples x (n, ...) with labels y (n,).

    Losses are those of `evaluate`. They need the outputs as tensors, in which Keras finds the
    logits: from probabilities alone it would clip losses at 16.
    """
    score = _scorer(model)
    scored = [score(x[rows], y[rows]) for rows in _parts(model, len(x))]
    return Predicted(*(np.concatenate(arrays) for arrays in zip(*scored, strict=True)))


@lru_cache(maxsize=1)
def _scorer(model: keras.Sequential) -> Callable[[Any, Any], tuple[Any, Any]]:
    """`_score` of this model, compiled once for any number of examples: a tenth of the time.

    Runs that share a model follow one another, so one is enough. It is a partial, because for
    functions with the same code TensorFlow would warn of repeated tracing.
    """
    rows = np.empty((0, *model.input_shape[1:]), np.float32), np.empty(0, np.int32)
    return backend.compiled(partial(_score, model), "graph", rows)


def _score(model: keras.Sequential, x: Any, y: Any) -> tuple[Any, Any]:
    """Losses (n,) and outputs (n, units) for examples x (n, ...) with labels y (n,)."""
    outputs = model(x, training=False)
    return _losses(y, outputs), outputs


def _losses(y: Any, outputs: Any) -> Any:
    """The cross-entropy of each example, (n,)."""
    if outputs.shape[-1] == 1:
        target = ops.expand_dims(ops.cast(y, "float32"), 1)
        return ops.binary_crossentropy(target, outputs)[:, 0]
    return ops.sparse_categorical_crossentropy(y, outputs)


def outputs(model: keras.Sequential, x: np.ndarray) -> np.ndarray:
    """The model's outputs in inference for examples x (n, ...), (n, ...) float32."""
    model.jit_compile = False  # compiling with XLA takes longer than these few passes
    return np.concatenate([model.predict_on_batch(x[rows]) for rows in _parts(model, len(x))])


def _parts(model: keras.Sequential, rows: int) -> Iterator[slice]:
    """Slices of the rows that the model can take at once."""
    widest = max(_width(layer) for layer in model.layers)
    size = max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // widest))
    return (slice(start, start + size) for start in range(0, rows, size))


def _width(layer: keras.Layer) -> int:
    """The number of values that a layer computes for one example."""
    if isinstance(layer, keras.layers.LSTM):  # of every time step, even if it returns only the last
        return int(layer.input.shape[1] * layer.units)
    return int(np.prod(layer.output.shape[1:]))


def _activations(
    model: keras.Sequential, x: np.ndarray, layers: Collection[str] | None = None
) -> dict[str, float]:
    """Measures of the outputs of all hidden layers, or of those with these names."""
    count, zeros, size = 0, 0, 0.0
    for rows in _parts(model, len(x)):
        for name, hidden in _hidden_outputs(model, x[rows]):
            if layers is not None and name not in layers:
                continue
            count += hidden.size
            zeros += int(np.count_nonzero(hidden == 0))
            size += float(np.sum(np.abs(hidden), dtype=np.float64))
    return {"zero_activations": zeros / count, "mean_activation": size / count}


def active_shares(model: keras.Sequential, x: np.ndarray) -> list[np.ndarray]:
    """For each hidden layer, the shares (units,) of examples for which a unit's output is not 0.

    A convolution's units are its filters; its positions count as examples, as do an LSTM's steps.
    """
    x = x[:ACTIVATION_ROWS]
    parts = [
        [
            len(x[rows]) / len(x) * np.mean(hidden != 0, axis=tuple(range(hidden.ndim - 1)))
            for _, hidden in _hidden_outputs(model, x[rows])
        ]
        for rows in _parts(model, len(x))
    ]
    return [np.sum(layer, axis=0) for layer in zip(*parts, strict=True)]


def _hidden_outputs(model: keras.Sequential, x: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Each hidden layer's name and output after its non-linearity; an LSTM's as it returns it."""
    separate, name = (keras.layers.BatchNormalization, keras.layers.Activation), ""
    for layer, following in zip(below_output(model.layers), model.layers[1:], strict=False):
        x = layer(x)
        weighted = isinstance(layer, HIDDEN) and layer.trainable  # whitening is no hidden layer
        name = layer.name if weighted else name
        activated = isinstance(layer, keras.layers.Activation)
        if activated or (weighted and not isinstance(following, separate)):
            yield name, np.asarray(x)
