"""ZCA whitening: a linear map that decorrelates the features, and changes examples least.

Bell and Sejnowski 1997; Krizhevsky 2009. The map is fitted on the training examples alone.
"""

from dataclasses import dataclass

import numpy as np

ROWS_AT_ONCE = 4096  # 26 MB of 784 features in float64

Floats = np.ndarray


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Mean and covariance of n examples with d features, `covariance = U diag(s) U^T`; float64.

    For images of 28 x 28 pixels U takes 4.9 MB, and a layer's float32 kernel 2.5 MB.
    """

    mean: Floats  # (d,)
    variances: Floats  # (d,) s >= 0
    directions: Floats  # (d, d) the columns of U

    def layer(self, epsilon: float) -> list[Floats]:
        """Kernel (d, d) and bias (d,), float32, of the linear layer `x W + b` that whitens.

        `W = U diag(1 / sqrt(s + epsilon)) U^T` and `b = -mean W`: a direction of variance s gets
        variance `s / (s + epsilon)`. `epsilon` is in squared units of the input; it must be > 0 if
        a direction has no variance, such as that of a pixel which is always 0.

        As in Keras 2's ImageDataGenerator, except that its mean was one number for all pixels.
        Keras 3's adds epsilon to `sqrt(n s)`, which hardly bounds directions without variance.
        """
        scale = 1 / np.sqrt(self.variances + epsilon)
        kernel = (self.directions * scale) @ self.directions.T
        return [kernel.astype(np.float32), (-self.mean @ kernel).astype(np.float32)]


def fit(x: Floats) -> Spectrum:
    """The spectrum of training examples x (n, ...), each taken as one vector of d features."""
    rows = x.reshape(len(x), -1)
    mean = rows.mean(axis=0, dtype=np.float64)
    squares = np.zeros((len(mean), len(mean)))
    for start in range(0, len(rows), ROWS_AT_ONCE):
        centred = rows[start : start + ROWS_AT_ONCE] - mean
        squares += centred.T @ centred
    variances, directions = np.linalg.eigh(squares / len(rows))
    return Spectrum(mean, np.maximum(variances, 0), directions)  # rounding gives -1e-16
