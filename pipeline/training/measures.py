"""What is measured of a trained Keras model: its predictions, weights and activations.

On a network of five layers of 500 and 10,000 test rows of 784 inputs, what goes beyond accuracies
and losses takes 0.35 s of one core: half of it gzip, half passes over noisy rows.

Sources: Naeini, Cooper and Hauskrecht 2015; Guo et al. 2017, arXiv 1706.04599 (calibration error).
"""

import gzip
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import ops

from pipeline.datasets.task import SIGMAS
from pipeline.engine import backend
from pipeline.models.building import CODE
from pipeline.models.stack import HIDDEN, below_output

# What a layer puts out at a time, at most: what a cache holds, and memory does not grow with data.
ROWS_AT_ONCE = 2048
VALUES_AT_ONCE = 2**24  # 64 MB
ACTIVATION_ROWS = 2000  # rows on which activations are measured
NOISE_ROWS = 2000  # rows to which noise is added, at most
NOISE_SEED = 20_150_614  # the same for every run, so that techniques meet the same noise
NEAR_ZERO = 1e-3  # weights of smaller size are near zero
BIASES = ("bias", "beta")  # batch normalization's beta takes the place of the layer's bias
BINS = 15  # of confidence, in the calibration error

Labelled = tuple[np.ndarray, np.ndarray]  # x (n, ...) float32 and y (n,) int32
Classify = Callable[[np.ndarray], np.ndarray]  # rows (n, ...) -> their classes (n,)


class Predicted(NamedTuple):
    """What a model says of n rows."""

    losses: np.ndarray  # (n,) float32, unpenalised
    outputs: np.ndarray  # (n, classes) float32, or (n, 1) of one sigmoid unit: probabilities

    @property
    def classes(self) -> np.ndarray:
        """The likeliest of each row, (n,)."""
        one_unit = self.outputs.shape[1] == 1
        return np.asarray(self.outputs[:, 0] > 0.5 if one_unit else self.outputs.argmax(axis=1))

    @property
    def confidences(self) -> np.ndarray:
        """The probability of that class, (n,) float32."""
        sure: np.ndarray = self.outputs.max(axis=1)
        return np.maximum(sure, 1 - sure) if self.outputs.shape[1] == 1 else sure


class Measured(NamedTuple):
    """What is measured of a model, and what a classifier puts out for each row of the last part."""

    numbers: dict[str, float]
    probabilities: np.ndarray | None  # as `Predicted.outputs`


def measure(model: keras.Sequential, parts: Mapping[Any, Labelled]) -> Measured:
    """What the model gives on each part, how sure and how robust it is, and its weights.

    `<part>_accuracy` and `<part>_loss` (unpenalised) for each part. Of the last part:
    `collapsed`, whether a single class is predicted, `calibration_error`, the accuracies under
    input noise of `noise_accuracies`, `zero_activations`, a share, and `mean_activation`, of |h|
    over rows and units of the hidden layers. `parameters` is the number of all weights,
    `nonzero_parameters` of those that are not exactly 0; `weights` tells the rest, of those that
    are trained.
    """
    found: dict[str, float] = {}
    for name, (x, y) in parts.items():
        predicted = predict(model, x, y)
        classes = predicted.classes
        found[f"{name}_accuracy"] = float(np.mean(classes == y))
        found[f"{name}_loss"] = float(np.mean(predicted.losses, dtype=np.float64))
    every = -(-len(x) // NOISE_ROWS)  # spread over the part: MNIST's first test images are easier
    some = x[::every], y[::every]
    numbers = found | {
        "collapsed": len(np.unique(classes)) == 1,
        "calibration_error": calibration_error(predicted.confidences, classes == y),
        **noise_accuracies(partial(_classes, model), *some, classes[::every]),
        **_inside(model, x),
    }
    return Measured(numbers, predicted.outputs)


def measure_reconstruction(model: keras.Sequential, parts: Mapping[Any, Labelled]) -> Measured:
    """The same of a model that reproduces its input, as far as it has a meaning; no label is read.

    `<part>_loss` is the mean squared error of the rows' values. `collapsed`: whether the last part
    gives one output only. `code_zero_activations` and `code_mean_activation` are of the layer
    named code alone.
    """
    found: dict[str, float] = {}
    for name, (x, _) in parts.items():
        given = outputs(model, x)
        found[f"{name}_loss"] = float(np.mean(np.square(given - x), dtype=np.float64))
    code = _activations(model, x[:ACTIVATION_ROWS], {CODE})
    numbers = found | {
        "collapsed": bool(np.all(given == given[0])),
        **_inside(model, x),
        **{f"{CODE}_{name}": value for name, value in code.items()},
    }
    return Measured(numbers, None)


# By the name of the task.
MEASURED: Mapping[str, Callable[[keras.Sequential, Mapping[Any, Labelled]], Measured]] = {
    "classification": measure,
    "reconstruction": measure_reconstruction,
}


def _inside(model: keras.Sequential, x: np.ndarray) -> dict[str, float]:
    """Of weights, and of activations for these rows."""
    trained = [(weight.name, np.asarray(weight)) for weight in model.trainable_weights]
    kernels = [weight for _, weight in trained if weight.ndim > 1]
    biases = [weight for name, weight in trained if name in BIASES]
    return {
        **weights(kernels, biases),
        "parameters": model.count_params(),
        "nonzero_parameters": sum(int(np.count_nonzero(w)) for w in model.get_weights()),
        **_activations(model, x[:ACTIVATION_ROWS]),
    }


def weights(kernels: Sequence[np.ndarray], biases: Sequence[np.ndarray]) -> dict[str, float]:
    """Of all kernels together, recurrent ones too: zeros, near zeros, signs, norm, gzip size.

    `kernel_norm` and `bias_norm` are `sqrt(sum(w**2))`. `kernel_gzip_bytes` is the size of the
    float32 kernels, one after another, under gzip at its default of level 6.
    """
    flat = np.concatenate([kernel.ravel() for kernel in kernels])
    return {
        "zero_weights": float(np.mean(flat == 0)),
        "near_zero_weights": float(np.mean(np.abs(flat) < NEAR_ZERO)),
        "negative_weights": float(np.mean(flat < 0)),
        "kernel_norm": _norm(kernels),
        "bias_norm": _norm(biases),
        "kernel_gzip_bytes": len(gzip.compress(flat.astype("<f4").tobytes(), 6, mtime=0)),
    }


def _norm(arrays: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(a, dtype=np.float64))) for a in arrays)))


def selection(norms: np.ndarray, informative: np.ndarray) -> dict[str, float]:
    """How well weights tell informative inputs from noise.

    `norms`, (inputs,), is what each input weighs, as `input_norms` has it; `informative`, (k,),
    the columns of those that tell the class, k < inputs. `informative_recall` is the share of
    these that are among the k heaviest; an input without weight is not. As both are k, recall is
    precision too, and a choice at random has k / inputs. `noise_inputs_dropped` is the share of
    the other inputs whose weight is exactly 0.
    """
    heaviest = np.argsort(-norms, kind="stable")[: len(informative)]
    chosen = heaviest[norms[heaviest] > 0]
    return {
        "informative_recall": float(np.isin(informative, chosen).mean()),
        "noise_inputs_dropped": float(np.mean(np.delete(norms, informative) == 0)),
    }


def input_norms(model: keras.Sequential) -> np.ndarray:
    """The norms of the rows of the first trained kernel, (inputs,), of a model of points.

    Behind a frozen linear layer, such as one that whitens, those of the product of both kernels.
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

    Both of shape (n,); the 15 bins of confidence are equally wide. A confidence that is not
    finite gives nan.
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

    `clean`: the classes (n,) of x without noise. `noise_accuracy` is the area under the curve of
    accuracy against sigma, from no noise to the largest by trapezoids, divided by that sigma: the
    mean height of the curve. The noise of all sigmas is one draw, scaled; it is the same for every
    model.
    """
    noise = np.random.default_rng(NOISE_SEED).standard_normal(x.shape, np.float32)
    noisy = classify(np.concatenate([x + np.float32(sigma) * noise for sigma in sigmas]))
    classes = clean, *np.split(noisy, len(sigmas))
    accuracies = [float(np.mean(each == y)) for each in classes]
    area = np.trapezoid(accuracies, (0.0, *sigmas)) / sigmas[-1]
    found = {
        f"noise_{sigma:g}_accuracy": accuracy
        for sigma, accuracy in zip((0.0, *sigmas), accuracies, strict=True)
    }
    return found | {"noise_accuracy": float(area)}


def _classes(model: keras.Sequential, x: np.ndarray) -> np.ndarray:
    return predict(model, x, np.zeros(len(x), np.int32)).classes


def predict(model: keras.Sequential, x: np.ndarray, y: np.ndarray) -> Predicted:
    """What a classifier says of each row.

    Losses are those of `evaluate`, from outputs as tensors, in which Keras finds the logits: of
    probabilities alone it would cut losses off at 16.
    """
    score = _scorer(model)
    found = [score(x[rows], y[rows]) for rows in _parts(model, len(x))]
    return Predicted(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


@lru_cache(maxsize=1)
def _scorer(model: keras.Sequential) -> Callable[[Any, Any], tuple[Any, Any]]:
    """`_score` of this model, compiled once for any number of rows: a tenth of the time.

    Runs that share a model come one after the other, so the last one's is enough. A partial: of
    functions with the same code, TensorFlow would warn that one is traced again and again.
    """
    rows = np.empty((0, *model.input_shape[1:]), np.float32), np.empty(0, np.int32)
    return backend.compiled(partial(_score, model), "graph", rows)


def _score(model: keras.Sequential, x: Any, y: Any) -> tuple[Any, Any]:
    """Losses (n,) and outputs (n, units) of rows x (n, ...) and their labels y (n,)."""
    outputs = model(x, training=False)
    if outputs.shape[-1] == 1:
        target = ops.expand_dims(ops.cast(y, "float32"), 1)
        return ops.binary_crossentropy(target, outputs)[:, 0], outputs
    return ops.sparse_categorical_crossentropy(y, outputs), outputs


def outputs(model: keras.Sequential, x: np.ndarray) -> np.ndarray:
    """What the model puts out for rows, as it does without training, (n, ...) float32."""
    model.jit_compile = False  # compiling with XLA takes longer than these few passes
    return np.concatenate([model.predict_on_batch(x[rows]) for rows in _parts(model, len(x))])


def _parts(model: keras.Sequential, rows: int) -> Iterator[slice]:
    """The rows in parts that the model can take at once."""
    widest = max(_width(layer) for layer in model.layers)
    size = max(1, min(ROWS_AT_ONCE, VALUES_AT_ONCE // widest))
    return (slice(start, start + size) for start in range(0, rows, size))


def _width(layer: keras.Layer) -> int:
    """The values that a layer makes of one row."""
    if isinstance(layer, keras.layers.LSTM):  # of every time step, whatever it puts out
        return int(layer.input.shape[1] * layer.units)
    return int(np.prod(layer.output.shape[1:]))


def _activations(
    model: keras.Sequential, x: np.ndarray, layers: Collection[str] | None = None
) -> dict[str, float]:
    """Over the hidden layers, or those of these names."""
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
    """For each hidden layer the share of rows in which each unit's output is not zero, (units,).

    Of a convolution, a unit is a filter, and its positions count as rows, as do an LSTM's steps.
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
    """Each hidden layer's name and output after its non-linearity.

    An LSTM's as the next layer sees it.
    """
    apart, name = (keras.layers.BatchNormalization, keras.layers.Activation), ""
    for layer, following in zip(below_output(model.layers), model.layers[1:], strict=False):
        x = layer(x)
        weighted = isinstance(layer, HIDDEN) and layer.trainable  # whitening is no hidden layer
        name = layer.name if weighted else name
        activated = isinstance(layer, keras.layers.Activation)
        if activated or (weighted and not isinstance(following, apart)):
            yield name, np.asarray(x)
