"""ORIGINS: where each data set comes from, and how to know that it has arrived unchanged."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Origin:
    """A data set's source. One that is generated on the spot has no files to fetch."""

    origin: str  # who made the data, or what generates them
    licence: str
    citation: str  # URL
    folder: str = ""  # its folder under DATA_MIRROR
    mirrors: tuple[str, ...] = ()  # URLs of folders that hold all files, in the order of trying
    files: Mapping[str, str] = field(default_factory=dict)  # name -> SHA-256 once decompressed


ORIGINS: dict[str, Origin] = {
    "circles": Origin(
        origin="sklearn.datasets.make_circles",
        licence="BSD-3-Clause (scikit-learn)",
        citation="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_circles.html",
    ),
    "digits": Origin(
        origin="sklearn.datasets.load_digits (E. Alpaydin and C. Kaynak)",
        licence="CC BY 4.0",
        citation="https://doi.org/10.24432/C50P49",
    ),
    "features": Origin(
        origin="sklearn.datasets.make_classification",
        licence="BSD-3-Clause (scikit-learn)",
        citation="https://scikit-learn.org/stable/modules/generated/sklearn.datasets.make_classification.html",
    ),
    "mnist": Origin(
        origin="Y. LeCun and C. Cortes",
        licence="CC BY-SA 3.0",
        citation="http://yann.lecun.com/exdb/mnist/",
        folder="mnist",
        mirrors=(
            "https://storage.googleapis.com/cvdf-datasets/mnist",
            "https://ossci-datasets.s3.amazonaws.com/mnist",
        ),
        files={
            "train-images-idx3-ubyte.gz": (
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            ),
            "train-labels-idx1-ubyte.gz": (
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            ),
        },
    ),
    "fashion_mnist": Origin(
        origin="Zalando SE (H. Xiao, K. Rasul, R. Vollgraf)",
        licence="MIT",
        citation="https://arxiv.org/abs/1708.07747",
        folder="fashion-mnist",
        mirrors=(
            "https://storage.googleapis.com/tensorflow/tf-keras-datasets",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        ),
        files={
            "train-images-idx3-ubyte.gz": (
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
            ),
            "train-labels-idx1-ubyte.gz": (
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
            ),
            "t10k-images-idx3-ubyte.gz": (
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
            ),
            "t10k-labels-idx1-ubyte.gz": (
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
            ),
        },
    ),
}
