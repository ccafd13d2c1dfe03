"""Compiled programs are shared whole, and a damaged one costs a compilation, not a stage."""

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pipeline.execution.program_cache import Compiled

CONTENT = np.random.default_rng(0).bytes(10_000)
NAME = "xla_compile_cache__11__12__XLA_CPU_JIT.pb"
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut in half": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "another byte": lambda content: content[:500] + bytes([content[500] ^ 1]) + content[501:],
    "random": lambda content: np.random.default_rng(1).bytes(len(content)),
}


def worker(home: Path, name: str) -> Compiled:
    return Compiled(home / "programs", home / name)


@pytest.fixture
def shared(tmp_path: Path) -> Path:
    """The shared file of a program that a worker has compiled."""
    first = worker(tmp_path, "first")
    (tmp_path / "first" / NAME).write_bytes(CONTENT)
    first.share()
    first.share()
    (path,) = tmp_path.glob("programs/*/*")
    return path


def test_a_program_comes_as_it_was_compiled(tmp_path: Path, shared: Path) -> None:
    second = worker(tmp_path, "second")
    second.take()
    assert (tmp_path / "second" / NAME).read_bytes() == CONTENT
    second.share()  # has nothing new
    assert [*shared.parent.iterdir()] == [shared]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_program_is_dropped_told_once_and_shared_anew(
    damage: str, tmp_path: Path, shared: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shared.write_bytes(DAMAGES[damage](CONTENT))
    second, third = worker(tmp_path, "second"), worker(tmp_path, "third")
    with caplog.at_level(logging.WARNING):
        second.take()
        third.take()
    assert caplog.messages == [
        f"{shared} is damaged; it is deleted, and the program compiled again"
    ]
    assert not (tmp_path / "second" / NAME).exists()
    assert not (tmp_path / "third" / NAME).exists()
    (tmp_path / "second" / NAME).write_bytes(CONTENT)  # as TensorFlow does
    second.share()
    third.take()
    assert (tmp_path / "third" / NAME).read_bytes() == CONTENT
