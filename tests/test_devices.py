"""Which device a worker gets."""

import os
import sys
from pathlib import Path

import psutil
import pytest

from pipeline.execution import devices


def nvidia_smi(folder: Path, script: str) -> None:
    command = folder / "nvidia-smi"
    command.write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    command.chmod(0o755)


@pytest.fixture
def cuda(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """CUDA's library for networks, in an environment of its own."""
    prefix = tmp_path_factory.mktemp("environment")
    library = prefix / "lib" / "libcudnn.so.9"
    library.parent.mkdir()
    library.touch()
    monkeypatch.setattr(sys, "prefix", str(prefix))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return library


@pytest.fixture
def two_gpus(tmp_path: Path, cuda: Path) -> Path:
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm", "sda"):
        (tmp_path / name).touch()
    return tmp_path


def test_gpus_are_found_and_numbered_as_cuda_does(two_gpus: Path) -> None:
    assert devices.gpus(two_gpus) == ["0", "1"]
    (two_gpus / "nvidia0").unlink()  # as in a container that was given the second one
    assert devices.gpus(two_gpus) == ["0"]


def test_gpus_are_not_used_without_cuda(
    two_gpus: Path, cuda: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda.unlink()
    for look in ("find_spec", "find_library"):  # of the extra `gpu`, and of the system
        monkeypatch.setattr(devices, look, lambda name: None)
    assert devices.gpus(two_gpus) == []


@pytest.mark.parametrize(
    ("quota", "most"),
    [("max 100000", None), ("100000 100000", 1), ("150000 100000", 2), ("", None), (None, None)],
)
def test_a_container_has_the_cores_that_it_was_given(
    quota: str | None, most: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "cpu.max"
    if quota is not None:
        path.write_text(quota, encoding="ascii")
    every = devices.cores(tmp_path / "none")
    assert devices.cores(path) == min(every, most or every)


LISTED = """\
GPU 0: NVIDIA A100 (UUID: GPU-8932f937-d72c-4106-c12f-20bd9faed9f6)
  MIG 1g.5gb Device 0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
GPU 1: NVIDIA A100 (UUID: GPU-8932aaaa-0000-4106-c12f-20bd9faed9f6)
"""
FIRST, SECOND = (
    "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6",
    "GPU-8932aaaa-0000-4106-c12f-20bd9faed9f6",
)
MIG = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"


@pytest.mark.parametrize(
    ("visible", "expected", "told"),
    [
        ("1", ["1"], ""),
        ("1,0", ["1", "0"], ""),
        ("0, 1", ["0", "1"], ""),
        (" +1 ", ["1"], ""),
        *((word, [], "") for word in ("", " ", "-1", "NoDevFiles", "none", "void")),
        ("0,-1,1", ["0"], "'-1'"),
        ("0,,1", ["0"], "'an empty word'"),
        ("0,", ["0"], "'an empty word'"),
        ("0,2,1", ["0"], "'2'"),
        ("5", [], "'5'"),
        ("9" * 5000, [], "999"),
        ("\N{ARABIC-INDIC DIGIT ONE}", [], "\N{ARABIC-INDIC DIGIT ONE}"),
        ("1,1", [], "'1'"),
        ("0,1,00", [], "'00'"),
        ("all", [], "'all'"),
        (FIRST, [FIRST], ""),
        (f"{SECOND},{FIRST}", [SECOND, FIRST], ""),
        ("GPU-8932f", [FIRST], ""),
        ("GPU-8932", [], "'GPU-8932'"),  # of two
        ("GPU-0", [], "'GPU-0'"),
        (f"GPU-8932f,{FIRST}", [], FIRST),
        (MIG, [MIG], ""),
        ("MIG-0", [], "'MIG-0'"),
        (f"MIG-{FIRST}/1/0", [f"MIG-{FIRST}/1/0"], ""),
    ],
)
def test_the_list_of_gpus_is_read_as_cuda_reads_it(
    two_gpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    visible: str,
    expected: list[str],
    told: str,
) -> None:
    """NVIDIA, CUDA programming guide, environment variables."""
    nvidia_smi(two_gpus, f'[ "$1" = -L ] && cat <<end\n{LISTED}end')
    monkeypatch.setenv("PATH", f"{two_gpus}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    devices._tell_once.cache_clear()
    assert devices.gpus(two_gpus) == expected
    assert devices.gpus(two_gpus) == expected
    assert len(caplog.messages) == bool(told)  # once
    assert told in caplog.text
    assert len(caplog.text) < 500


def test_without_nvidia_smi_no_uuid_is_known(
    two_gpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(two_gpus))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", FIRST)
    assert devices.gpus(two_gpus) == []


@pytest.mark.parametrize(
    ("script", "expected"),
    [(None, []), ("exit 9", []), ('[ "$1" = --query-gpu=index ] && printf "0\\n1\\n"', ["0", "1"])],
)
def test_windows_linux_has_the_gpus_that_nvidia_smi_lists(
    script: str | None,
    expected: list[str],
    tmp_path: Path,
    cuda: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "dxg").touch()
    if script is not None:
        nvidia_smi(tmp_path, script)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert devices.gpus(tmp_path) == expected


@pytest.mark.parametrize("workers", [None, 1, 3])
def test_without_gpus_each_worker_has_a_core_and_the_memory_of_one(
    workers: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpus", list)
    found = devices.devices(workers)
    assert len(found) == (workers or devices.cores())
    each = int(psutil.virtual_memory().total * devices.SHARE / devices.cores())
    assert set(found) == {devices.Device(None, each)}  # however many workers there are


@pytest.mark.parametrize(
    ("workers", "expected"), [(None, ["0", "1"]), (1, ["0"]), (3, ["0", "1", "0"])]
)
def test_gpus_are_dealt_out_with_the_memory_of_the_smallest(
    workers: int | None, expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: ["0", "1"])
    monkeypatch.setattr(devices, "_count_seen", lambda *gpus: len(gpus))
    monkeypatch.setenv("PATH", str(tmp_path))
    nvidia_smi(tmp_path, 'case "$2" in 0) echo 8192 ;; 1) echo 6144 ;; esac')
    found = devices.devices(workers)
    assert [device.gpu for device in found] == expected
    assert {device.memory for device in found} == {int(devices.SHARE * 6 * 2**30)}


@pytest.mark.parametrize("script", [None, "exit 9", "echo '[N/A]'"])
def test_a_gpu_whose_memory_is_not_told_is_named_and_not_used(
    script: str | None,
    two_gpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("PATH", str(two_gpus))
    monkeypatch.setattr(devices, "gpus", lambda: ["1"])
    monkeypatch.setattr(devices, "_count_seen", lambda *gpus: len(gpus))
    devices._tell_once.cache_clear()
    if script is not None:
        nvidia_smi(two_gpus, script)
    found = devices.devices(None)
    monkeypatch.setattr(devices, "gpus", list)
    assert found == devices.devices(None)  # cores
    (sentence,) = caplog.messages
    assert "memory of GPU 1" in sentence
    nvidia_smi(two_gpus, '[ "$2" = 1 ] && echo 6144')
    monkeypatch.setattr(devices, "gpus", lambda: ["1"])
    assert devices.devices(None) == [devices.Device("1", 3 * 2**30)]
    monkeypatch.setattr(devices, "gpus", lambda: ["0", "1"])
    assert devices.devices(None) == [devices.Device("1", 3 * 2**30)]


@pytest.mark.parametrize(
    ("sees", "expected"), [(["0", "1"], ["0", "1"]), (["1"], ["1"]), ([], [None])]
)
def test_a_gpu_that_tensorflow_does_not_see_is_named_and_not_used(
    sees: list[str],
    expected: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: ["0", "1"])
    monkeypatch.setattr(devices, "_gpu_memory", lambda gpu: 2**30)
    monkeypatch.setattr(devices, "_count_seen", lambda *gpus: len({*gpus} & {*sees}))
    devices._tell_once.cache_clear()
    found = [device.gpu for device in devices.devices(None)]
    assert found == expected * (1 if sees else devices.cores())
    told = "\n".join(caplog.messages)
    for gpu in {"0", "1"} - {*sees}:
        assert f"does not see GPU {'0' if sees else '0, 1'}" in told
        assert gpu in told
    assert bool(told) == (len(sees) < 2)


@pytest.mark.parametrize(
    ("platform", "gpus", "expected"),
    [("linux", [], True), ("linux", ["0"], False), ("darwin", [], False)],
)
def test_workers_are_forks_where_libraries_survive_it(
    platform: str, gpus: list[str], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(devices, "gpus", lambda: gpus)
    monkeypatch.setattr(sys, "platform", platform)
    assert devices.forked() == expected
