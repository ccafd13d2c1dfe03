"""A call that hangs is left behind."""

import threading

import pytest

from pipeline.datasets.download import within


def test_within_gives_the_value() -> None:
    assert within(5, lambda: 3) == 3


def test_within_passes_the_error_on() -> None:
    with pytest.raises(ZeroDivisionError):
        within(5, lambda: 1 // 0)


def test_within_does_not_wait_for_a_call_that_hangs() -> None:
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.05 s"):
        within(0.05, release.wait)
    release.set()
