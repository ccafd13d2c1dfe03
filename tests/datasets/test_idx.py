"""IDX files, and how the image data sets are split."""

import gzip
import os
import struct
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.datasets import Dataset, idx, load, origins, raw, save, sources
from pipeline.datasets.idx import ImagesData
from pipeline.errors import UserError

IMAGES = np.arange(12 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(12, 28, 28)
LABELS = np.arange(12, dtype=np.uint8) % 10


def encode(array: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def write(path: Path, array: np.ndarray[Any, np.dtype[np.uint8]]) -> None:
    path.write_bytes(gzip.compress(encode(array)))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Eight training and four test images."""
    write(tmp_path / idx.TRAIN_IMAGES, IMAGES[:8])
    write(tmp_path / idx.TRAIN_LABELS, LABELS[:8])
    write(tmp_path / idx.TEST_IMAGES, IMAGES[8:])
    write(tmp_path / idx.TEST_LABELS, LABELS[8:])
    return tmp_path


def section(
    validation: int = 3,
    start: Literal["first", "last"] = "last",
    leak: bool = False,
    name: str = "mnist",
) -> ImagesData:
    return ImagesData(
        input=f"data/sources/{name}.yaml",
        validation=validation,
        validation_from=start,
        article_trains_on_validation=leak,
    )


def rows(dataset: Dataset, protocol: Literal["article", "leak_free"]) -> list[list[int]]:
    return [dataset.rows(protocol, part, 0).tolist() for part in ("train", "val", "test")]


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=3), st.randoms(use_true_random=False))
def test_parse_inverts_the_encoding(shape: list[int], random: Any) -> None:
    values = random.randbytes(int(np.prod(shape)))
    array = np.frombuffer(values, np.uint8).reshape(shape)
    np.testing.assert_array_equal(idx.parse(encode(array), array.ndim), array)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "expected the first bytes 00000803, but got $"),
        (encode(LABELS), "expected the first bytes 00000803, but got 00000801"),
        (b"\x00\x00\x0d\x03" + encode(IMAGES)[4:], "but got 00000d03"),
        (b"<htm" + encode(IMAGES)[4:], "but got 3c68746d"),
        (encode(IMAGES)[:15], "header of 16 bytes, but the file has only 15 bytes"),
        (encode(IMAGES)[:-1], r"expected 9424 bytes for shape \(12, 28, 28\), but got 9423"),
        (encode(IMAGES) + b"\x00", "expected 9424 bytes for .*, but got 9425"),
        (b"\x00\x00\x08\x03" + b"\xff" * 12, ", but got 16"),
    ],
)
def test_parse_refuses_what_is_not_whole(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        idx.parse(content, 3)


def test_the_pool_is_the_training_then_the_test_images(folder: Path) -> None:
    dataset = idx.prepare("mnist", section(), 0, folder)
    assert dataset.name == "mnist"
    np.testing.assert_array_equal(dataset.x, IMAGES.astype(np.float32) / np.float32(255))
    np.testing.assert_array_equal(dataset.y, LABELS)
    assert (dataset.x.min(), dataset.x.max(), dataset.input_shape) == (0, 1, (28, 28))


def test_validation_images_are_the_last_or_the_first(folder: Path) -> None:
    last = rows(idx.prepare("mnist", section(3, "last"), 0, folder), "leak_free")
    first = rows(idx.prepare("mnist", section(3, "first"), 0, folder), "leak_free")
    assert last == [[0, 1, 2, 3, 4], [5, 6, 7], [8, 9, 10, 11]]
    assert first == [[3, 4, 5, 6, 7], [0, 1, 2], [8, 9, 10, 11]]


def test_an_article_that_trains_on_validation_leaks(folder: Path) -> None:
    dataset = idx.prepare("fashion_mnist", section(3, "first", leak=True), 0, folder)
    assert rows(dataset, "article") == [list(range(8)), [0, 1, 2], [8, 9, 10, 11]]
    assert dataset.leaks("article")
    assert not dataset.leaks("leak_free")


def test_an_article_that_does_not_has_the_leak_free_rows(folder: Path) -> None:
    dataset = idx.prepare("mnist", section(3, "last", leak=False), 0, folder)
    assert rows(dataset, "article") == rows(dataset, "leak_free")
    assert not dataset.leaks("article")


def test_validation_must_leave_images_to_train_on(folder: Path) -> None:
    assert idx.prepare("mnist", section(7), 0, folder).rows("article", "train", 0).size == 1
    with pytest.raises(UserError, match=r"less than the 8 training images, but got 8.*mnist\.data"):
        idx.prepare("mnist", section(8), 0, folder)


def test_a_missing_file_names_the_command_that_fetches_it(folder: Path) -> None:
    (folder / idx.TEST_LABELS).unlink()
    with pytest.raises(UserError, match=r"t10k-labels.* is missing.*pipeline fetch mnist"):
        idx.prepare("mnist", section(), 0, folder)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        gzip.compress(b"text", mtime=0),
        gzip.compress(encode(IMAGES[:8]), mtime=0)[:-9],
    ],
    ids=["empty", "not packed", "no images", "cut short"],
)
def test_a_broken_file_is_named(folder: Path, content: bytes) -> None:
    (folder / idx.TRAIN_IMAGES).write_bytes(content)
    with pytest.raises(UserError, match=r"train-images.*is not the expected IDX file"):
        idx.prepare("mnist", section(), 0, folder)


def test_images_and_labels_must_match(folder: Path) -> None:
    write(folder / idx.TRAIN_LABELS, LABELS[:7])
    with pytest.raises(UserError, match=r"has 8 images, but .*train-labels.* 7 labels"):
        idx.prepare("mnist", section(), 0, folder)


@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="DATA_MIRROR is not set")
@pytest.mark.parametrize(
    ("name", "data", "sizes"),
    [
        ("mnist", section(18_000), {"article": 42_000, "leak_free": 42_000}),
        (
            "fashion_mnist",
            section(5_000, "first", True, "fashion_mnist"),
            {"article": 60_000, "leak_free": 55_000},
        ),
    ],
)
def test_the_real_images_arrive_as_published(
    tmp_path: Path, name: str, data: ImagesData, sizes: dict[Literal["article", "leak_free"], int]
) -> None:
    raw.fetch(
        name,
        origins.read(data.input),
        tmp_path / "raw",
        tmp_path / "partial",
        os.environ["DATA_MIRROR"],
    )
    dataset = sources.prepare(name, data, 1, tmp_path / "raw")
    assert dataset.x.shape == (70_000, 28, 28)
    assert (dataset.x.min(), dataset.x.max()) == (0, 1)
    for protocol, train in sizes.items():
        parts = [dataset.rows(protocol, part, 0).size for part in ("train", "val", "test")]
        assert parts == [train, data.validation, 10_000]
    assert dataset.leaks("article") == (name == "fashion_mnist")
    assert not dataset.leaks("leak_free")


@pytest.mark.skipif(not os.environ.get("DATA_MIRROR"), reason="DATA_MIRROR is not set")
def test_the_real_images_load_within_seconds(tmp_path: Path) -> None:
    data = section(18_000)
    raw.fetch(
        "mnist",
        origins.read(data.input),
        tmp_path / "raw",
        tmp_path / "partial",
        os.environ["DATA_MIRROR"],
    )
    dataset = sources.prepare("mnist", data, 1, tmp_path / "raw")
    save(dataset, tmp_path / "mnist.npz")
    start = time.process_time()
    loaded = load(tmp_path / "mnist.npz")
    assert time.process_time() - start < 5  # of the processor; about 1 s
    assert loaded.digest == dataset.digest


@pytest.mark.parametrize(("draws", "shared"), [(2, False), (3, True)])
def test_draws_share_no_image_while_there_are_enough(
    draws: int, shared: bool, folder: Path
) -> None:
    """Eight training images are enough for two draws of four."""
    data = ImagesData(input="data/sources/mnist.yaml", train=3, validation=1, draws=draws)
    dataset = idx.prepare("mnist", data, 1, folder)
    used = np.concatenate(
        [dataset.rows("leak_free", part, i) for i in range(draws) for part in ("train", "val")]
    )
    assert (used < 8).all()
    assert (np.unique(used).size < used.size) == shared
    assert dataset.same_test("leak_free")
    assert [dataset.rows("leak_free", "test", i).tolist() for i in range(draws)] == [
        [8, 9, 10, 11]
    ] * draws
    assert (dataset.overlap("leak_free") == 0) != shared
    assert not dataset.leaks("leak_free")
    assert not data.article_points
    more = idx.prepare("mnist", replace(data, draws=draws + 2), 1, folder)
    for i in range(draws):
        assert (more.rows("leak_free", "train", i) == dataset.rows("leak_free", "train", i)).all()


def test_too_many_images_for_a_draw_are_told(folder: Path) -> None:
    data = ImagesData(input="data/sources/mnist.yaml", train=6, validation=3)
    with pytest.raises(UserError, match=r"`train` \+ `validation` must be at most the 8 training"):
        idx.prepare("mnist", data, 1, folder)
