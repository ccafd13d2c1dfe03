"""What a data set promises, and what its file may hold."""

import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.datasets import PARTS, PROTOCOLS, WORDS, Dataset, Splits, load, save
from pipeline.errors import UserError


def rows(*draws: list[int]) -> np.ndarray[Any, np.dtype[np.int32]]:
    return np.array(draws, np.int32)


def splits(**replaced: Any) -> Splits:
    """Two fresh draws and an article's split that tests on its validation rows."""
    article = {"train": rows([0, 1]), "val": rows([2, 3]), "test": rows([2, 3])}
    fresh = {"train": rows([0, 1], [4, 5]), "val": rows([2], [6]), "test": rows([3], [7])}
    return {"article": article, "leak_free": fresh | replaced}  # type: ignore[dict-item]


def toy(**replaced: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": "toy",
        "n_classes": 2,
        "x": np.arange(32, dtype=np.float32).reshape(8, 2, 2) / 32,
        "y": np.array([0, 1] * 4, np.int32),
        "splits": splits(),
    }
    return Dataset(**(fields | replaced))


def flat(**replaced: Any) -> Dataset:
    """The same examples with inputs of one axis."""
    return toy(x=toy().x.reshape(8, 4), **replaced)


def archive(path: Path, **replaced: Any) -> Path:
    """What `save` writes, with members replaced, or left out where the replacement is None."""
    save(toy(), path)
    with np.load(path) as saved:
        members = dict(saved) | replaced
    np.savez(path, **{name: value for name, value in members.items() if value is not None})
    return path


def test_split_gives_the_examples_of_its_rows() -> None:
    dataset = toy()
    x, y = dataset.split("leak_free", "val", 1)
    np.testing.assert_array_equal(x, dataset.x[[6]])
    np.testing.assert_array_equal(y, dataset.y[[6]])
    assert [x.dtype, y.dtype] == [np.dtype(np.float32), np.dtype(np.int32)]
    assert dataset.input_shape == (2, 2)


def test_a_single_draw_serves_every_draw() -> None:
    np.testing.assert_array_equal(toy().rows("article", "train", 17), [0, 1])


@pytest.mark.parametrize(
    ("protocol", "draw"), [("leak_free", 2), ("leak_free", -1), ("article", -1)]
)
def test_a_draw_that_was_not_prepared_is_refused(protocol: Any, draw: int) -> None:
    with pytest.raises(UserError, match=rf"`draw` must lie in \[0, \d\).*draw={draw}"):
        toy().rows(protocol, "train", draw)


def test_only_shared_rows_within_a_draw_leak() -> None:
    dataset = toy()
    assert dataset.leaks("article")
    assert not dataset.leaks("leak_free")
    # Draw 1 tests on what draw 0 trains on: these are two experiments, neither leaks.
    assert not toy(splits=splits(test=rows([3], [0]))).leaks("leak_free")


@pytest.mark.parametrize("part", PARTS)
def test_a_leak_in_any_draw_and_part_is_seen(part: str) -> None:
    other = {"train": [6, 3], "val": [7], "test": [4]}[part]
    first = {"train": [0, 1], "val": [2], "test": [3]}[part]
    assert toy(splits=splits(**{part: rows(first, other)})).leaks("leak_free")


def test_digest_tells_every_content_apart() -> None:
    variants = [
        toy(),
        toy(n_classes=3),
        toy(x=toy().x + np.float32(1)),
        toy(y=1 - toy().y),
        toy(splits=splits(val=rows([3], [6]))),
        flat(),
        flat(informative=np.array([1, 3], np.int32)),
        flat(informative=np.array([1, 2], np.int32)),
    ]
    assert len({dataset.digest for dataset in variants}) == len(variants)


@pytest.mark.parametrize("word", WORDS)
def test_what_data_are_called_is_kept_and_not_in_the_digest(word: str, tmp_path: Path) -> None:
    called = toy(**{word: "something"})
    save(called, tmp_path / "toy.npz")
    assert getattr(load(tmp_path / "toy.npz"), word) == "something"
    assert called.digest == toy().digest


def test_digest_does_not_depend_on_memory_layout() -> None:
    assert toy(x=np.asfortranarray(toy().x)).digest == toy().digest


def test_digest_is_the_same_in_another_process(tmp_path: Path) -> None:
    save(toy(), tmp_path / "toy.npz")
    program = "import sys; from pipeline.datasets import load; print(load(sys.argv[1]).digest)"
    found = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "toy.npz")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == toy().digest


def test_saved_and_loaded_is_the_same(tmp_path: Path) -> None:
    save(toy(), tmp_path / "new" / "toy.npz")
    loaded = load(tmp_path / "new" / "toy.npz")
    assert (loaded.name, loaded.n_classes, loaded.digest) == ("toy", 2, toy().digest)
    np.testing.assert_array_equal(loaded.x, toy().x)
    np.testing.assert_array_equal(loaded.y, toy().y)
    for protocol in PROTOCOLS:
        for part in PARTS:
            np.testing.assert_array_equal(
                loaded.splits[protocol][part], toy().splits[protocol][part]
            )


def test_informative_inputs_are_saved_and_loaded(tmp_path: Path) -> None:
    dataset = flat(informative=np.array([1, 3], np.int32))
    for saved in (dataset, toy()):
        save(saved, tmp_path / "toy.npz")
        loaded = load(tmp_path / "toy.npz")
        assert loaded.digest == saved.digest
        np.testing.assert_array_equal(loaded.informative, saved.informative)


@pytest.mark.parametrize(
    ("informative", "reason"),
    [
        (np.array([1, 3]), "must be int32"),
        (np.array([[1, 3]], np.int32), r"of shape \(k,\), but got int32 \(1, 2\)"),
        (np.array([], np.int32), "must be int32"),
        (np.array([3, 1], np.int32), r"must increase strictly within \[0, 4\), but got \[3, 1\]"),
        (np.array([1, 1], np.int32), "must increase strictly"),
        (np.array([-1, 1], np.int32), r"within \[0, 4\)"),
        (np.array([1, 4], np.int32), r"within \[0, 4\)"),
    ],
)
def test_informative_inputs_that_there_are_not_are_refused(informative: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        flat(informative=informative)
    with pytest.raises(ValueError, match="`informative` needs examples of one axis"):
        toy(informative=np.array([1, 3], np.int32))


def test_the_same_contents_give_the_same_bytes(tmp_path: Path) -> None:
    save(toy(), tmp_path / "one.npz")
    save(toy(), tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.npz") as members:
        assert {member.date_time for member in members.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_a_save_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "toy.npz"
    save(toy(), path)
    before = path.read_bytes()

    def disk_full(file: Any, **members: Any) -> None:
        file.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "savez_compressed", disk_full)
    with pytest.raises(OSError, match="No space left"):
        save(toy(name="other"), path)
    assert [item.name for item in tmp_path.iterdir()] == ["toy.npz"]
    assert path.read_bytes() == before


def test_a_missing_file_names_the_command_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"digits\.npz is missing.*pipeline prepare digits"):
        load(tmp_path / "digits.npz")


@pytest.mark.parametrize(
    ("member", "value", "reason"),
    [
        ("x", np.zeros((8, 2)), "`x` must be float32"),
        ("x", np.zeros(8, np.float32), "`x` must be float32 of shape"),
        ("x", np.full((8, 2), np.nan, np.float32), "`x` must be finite"),
        ("x", None, "it has no x"),
        ("y", np.zeros(8, np.int64), "`y` must be int32"),
        ("y", np.zeros(7, np.int32), r"`y` must be int32 of shape \(8,\)"),
        ("y", np.full(8, 2, np.int32), r"`y` must lie in \[0, 2\), but got 2 to 2"),
        ("n_classes", np.array(1), "`n_classes` must be at least 2"),
        ("article.val", None, r"it has no article\.val"),
        ("article.val", np.array([2, 3], np.int32), r"`article.val` must be int32 of shape"),
        ("article.val", np.array([[2.0, 3.0]]), r"`article.val` must be int32"),
        ("article.val", np.zeros((1, 0), np.int32), r"`article.val` must be int32 of shape"),
        ("leak_free.test", rows([3], [8]), r"`leak_free.test` must have rows in \[0, 8\)"),
        ("leak_free.test", rows([3], [-1]), r"but got -1 to 3"),
        ("leak_free.test", rows([3]), "the same number of draws"),
        ("x", np.array([{}], object), "allow_pickle"),
    ],
)
def test_contents_that_do_not_fit_are_refused(
    tmp_path: Path, member: str, value: Any, reason: str
) -> None:
    path = archive(tmp_path / "toy.npz", **{member: value})
    with pytest.raises(UserError, match=reason) as refusal:
        load(path)
    assert "python -m pipeline prepare toy" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"text", b"\x93NUMPY\x01\x00", b"PK\x05\x06" + bytes(18)])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "toy.npz").write_bytes(content)
    with pytest.raises(UserError, match="is not a prepared data set"):
        load(tmp_path / "toy.npz")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_never_gives_other_data(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "toy.npz"
    save(toy(), path)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))])
    try:
        loaded = load(path)
    except UserError:
        return
    assert loaded.digest == toy().digest
