"""The study stage as `mlflow run` and a user call it, with stages that make results at once."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from pipeline.__main__ import main
from pipeline.errors import UserError
from pipeline.stages import publish, study, timing
from tests.synthetic import make_runs, make_tuned, write_results
from tests.synthetic import make_trials as make_trials_table

EFFECTS = {"none": 0.0, "l2": 0.02}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> MlflowClient:
    """Of one database for all tests: making one takes seconds."""
    return MlflowClient(f"sqlite:///{tmp_path_factory.mktemp('store')}/mlflow.db")


@pytest.fixture(autouse=True)
def store(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", client.tracking_uri)


@pytest.fixture
def run_id(client: MlflowClient, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run that `mlflow run` has opened."""
    run_id = str(client.create_run("0").info.run_id)
    monkeypatch.setenv("MLFLOW_RUN_ID", run_id)
    return run_id


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that ran, with their studies; tune and train give synthetic results."""
    names: list[str] = []

    def quick(stage: str, make: Callable[[str], object]) -> Callable[[list[str]], None]:
        def run(argv: list[str]) -> None:
            names.append(f"{stage}@{argv[0]}")
            make(argv[0])

        return run

    makes: dict[str, Callable[[str], object]]
    makes = {"fetch": str, "prepare": str, "tune": make_trials, "train": make_finals}
    for stage, make in makes.items():
        monkeypatch.setattr(f"pipeline.stages.{stage}.main", quick(stage, make))
    monkeypatch.setattr(timing, "main", lambda argv: None)  # synthetic runs have no models
    return names


def make_trials(dataset: str) -> None:
    folder = Path("results", dataset)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tuned.json").write_text(json.dumps(make_tuned(list(EFFECTS))), encoding="utf-8")
    make_trials_table(list(EFFECTS), dataset).to_csv(folder / "trials.csv", index=False)


def make_finals(dataset: str) -> None:
    shutil.rmtree(Path("results", dataset))
    write_results(Path("results", dataset), make_runs(EFFECTS, dataset=dataset))
    make_trials(dataset)


def test_other_values_get_a_folder_of_their_own(here: Path, ran: list[str]) -> None:
    before = (here / "params.yaml").read_bytes()
    study.main(["--studies", "digits", "--techniques", "l2", "--trials", "2", "--seeds", "3"])
    assert ran == [f"{stage}@digits" for stage in ("fetch", "prepare", "tune", "train")]
    assert (here / "params.yaml").read_bytes() == before
    assert not (here / "results").exists()
    folder = here / "studies" / "studies=digits_techniques=l2_trials=2_seeds=3"
    assert (folder / "results/digits/report.html").exists()
    assert (folder / "reports/index.html").exists()
    asked = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))["studies"]
    assert list(asked) == ["digits"]
    assert list(asked["digits"]["techniques"]) == ["none", "l2"]
    for shared in ("data", ".journal"):
        assert (folder / shared).resolve() == here / shared


def test_the_same_request_again_goes_on_in_the_same_folder(here: Path, ran: list[str]) -> None:
    for _ in range(2):
        study.main(["--studies", "digits", "--seeds", "3"])
    assert [path.name for path in (here / "studies").iterdir()] == ["studies=digits_seeds=3"]


def test_a_request_longer_than_a_file_name_gets_a_folder_too(here: Path, ran: list[str]) -> None:
    many = "l1,l2,l1_l2,proximal_l1,weight_decay,max_norm,l0,bias_l1,bias_l2,dropout,input_dropout"
    more = "gaussian_noise,gaussian_dropout,activity_l1_before,activity_l1_after,ema,swa,batch_norm"
    request = ["study", "--studies", "digits", "--techniques", f"{many},{more}"]
    main([*request, "--until", "tune"])
    main([*request, "--until", "tune", "--trials", "9"])
    names = {path.name for path in Path("studies").iterdir()}
    assert len(names) == 2
    assert all(len(name) < 200 for name in names)


def test_a_store_that_is_away_at_the_end_costs_a_warning(
    here: Path, ran: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def away(names: list[str]) -> None:
        raise UserError(f"{names[0]} is incomplete in MLflow")

    for name in (".dvc", ".git"):
        (here / name).mkdir()
    # Stands for `python -m dvc`, which has reproduced everything.
    (here / "dvc.py").write_text("", encoding="utf-8")
    make_trials("circles")
    monkeypatch.setattr(publish, "main", away)
    main(["study", "--studies", "circles", "--until", "tune"])
    assert "circles is incomplete in MLflow" in caplog.text


def test_values_as_in_params_yaml_stay_in_this_folder(here: Path, ran: list[str]) -> None:
    study.main(["--studies", "digits", "--seeds", "params.yaml"])
    assert (here / "results/digits/report.html").exists()
    assert not (here / "studies").exists()


@pytest.mark.parametrize(
    ("until", "last", "files"),
    [
        ("tune", "tune", {"tuned.json", "trials.csv"}),
        ("train", "train", {"tuned.json", "trials.csv", "runs.csv"}),
        ("report", "train", {"tuned.json", "trials.csv", "runs.csv", "summary.csv", "report.html"}),
    ],
)
def test_mlflows_run_gets_what_the_stages_made(
    here: Path,
    ran: list[str],
    client: MlflowClient,
    run_id: str,
    until: str,
    last: str,
    files: set[str],
) -> None:
    study.main(["--studies", "digits", "--seeds", "3", "--until", until])
    assert ran[-1] == f"{last}@digits"
    assert not (here / "reports").exists()
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.tags["until"] == until
    assert run.data.metrics["digits/val_accuracy/l2"] == 0.8125
    assert ("digits/difference/l2" in run.data.metrics) == (until == "report")
    shown = {Path(each.path).name for each in client.list_artifacts(run_id, "digits")}
    assert shown == files


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("--trials 0", "trials: input should be greater than or equal to 1"),
        ("--trails 3", "unrecognized arguments: --trails 3; expected --until --studies"),
        ("--seed 3", "unrecognized arguments: --seed 3"),
        ("--seeds", "argument --seeds: expected one argument"),
        ("--until tarin", "invalid choice: 'tarin'"),
        ("--seeds 63", "params.yaml with seeds=63:studies.circles.data.draws: must be at least"),
    ],
)
def test_a_mistake_fails_mlflows_run_and_names_itself(
    here: Path,
    ran: list[str],
    client: MlflowClient,
    run_id: str,
    capsys: pytest.CaptureFixture[str],
    argv: str,
    expected: str,
) -> None:
    assert main(["study", *argv.split()]) == 2
    assert expected in capsys.readouterr().err
    assert ran == []
    run = client.get_run(run_id)
    assert run.info.status == "FAILED"
    assert expected in run.data.tags["error"]


def test_a_mistake_of_params_yaml_itself_is_told_as_such(here: Path, ran: list[str]) -> None:
    (here / "params.yaml").write_text("seed: -1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"params\.yaml:seed: input should be greater"):
        study.main(["--studies", "digits", "--seeds", "3"])
