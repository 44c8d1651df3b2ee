"""``drrval train``: the YAML file, resuming, what is stored, what is refused. A tiny network stands for the real."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

torch.set_num_threads(1)

from drrval.cli import main  # noqa: E402
from drrval.errors import StudyError  # noqa: E402
from drrval.training.config import load_run, paths_of  # noqa: E402
from drrval.training.kinds import KINDS, Kind  # noqa: E402
from neural.store import load_settings, load_weights  # noqa: E402
from neural.training import Trained, TrainingSettings, fit  # noqa: E402

CONFIGS = Path(__file__).parents[1] / "studies" / "train"


@dataclass(frozen=True)
class Deep:
    """Nested settings."""

    checkpoint: Path | None = None


@dataclass(frozen=True)
class TinyRun:
    """A run like the real ones: paths, nested settings, training settings."""

    data: Path
    slope: float = 2.0
    start: Deep = field(default_factory=Deep)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if self.slope == 0.0:
            raise ValueError("slope=0 has nothing to learn. Give another")


#: Epochs in one go before the user presses Ctrl-C.
ENOUGH = 100


class Line:
    """Points of a line, two at a time."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.tensor([float(index) / 8])
        return {"x": x, "y": self.slope * x}

    def set_epoch(self, epoch: int) -> None: ...


def run_tiny(run: TinyRun, folder: Path, report: Callable[[str], None]) -> Trained:
    torch.manual_seed(run.training.seed)
    network = torch.nn.Linear(1, 1)
    epochs = []

    def loss(model: torch.nn.Module, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": (model(batch["x"]) - batch["y"]).square().mean()}

    def validate(model: torch.nn.Module) -> dict[str, float]:
        epochs.append(1)
        if len(epochs) > ENOUGH:
            raise KeyboardInterrupt
        return {"loss": float((model(torch.ones(1, 1)) - run.slope).square())}

    fit(network, loss, Line(run.slope), validate, run.training, folder, report)
    if not (run.data / "table.csv").is_file():
        raise FileNotFoundError(f"no table.csv in {run.data}")
    return Trained(network, "tiny", {"size": 1.0}, {"loss": 0.25, "dice": 0.875})


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(KINDS, "tiny", Kind(__name__, "TinyRun", "run_tiny", "as {{use: {name}, folder: {folder}}}"))


def config(folder: Path, text: str = "") -> Path:
    """A training file beside its data, whose path it gives relative to itself."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "data/table.csv").write_text("patient,split\n1,train\n2,train\n3,validation\n")
    path = folder / "tiny.yaml"
    path.write_text(text or "data: data\ntraining: {epochs: 3, learning_rate: 0.1, device: cpu}\n", encoding="utf-8")
    return path


def trained(out: Path) -> dict[str, torch.Tensor]:
    network = torch.nn.Linear(1, 1)
    load_weights(network, out / "weights", "tiny")
    return network.state_dict()


def test_training_ends_with_weights_and_a_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["train", "tiny", str(config(tmp_path)), "--out", str(out)]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in printed[:3]] == ["epoch 0", "epoch 1", "epoch 2"]
    assert printed[-1].endswith(f"use: as {{use: tiny, folder: {out / 'weights'}}}")
    assert len((out / "log.csv").read_text().splitlines()) == 4
    assert load_settings(out / "weights", "tiny") == {"size": 1.0}
    card = (out / "weights/tiny.md").read_text()
    for part in (
        "drrval train tiny",
        "| size | 1 |",
        "3 epoch(s) in ",
        "| `data` | table.csv | 3 (train 2, validation 1) | ",
        "on the validation part",
        "| dice | 0.875 |",
        f"torch {torch.__version__.partition('+')[0]}",
        "learning_rate: 0.1",
    ):
        assert part in card


def test_an_interrupted_training_goes_on_to_the_same_weights(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    path = config(tmp_path)
    assert main(["train", "tiny", str(path), "--out", str(whole)]) == 0
    monkeypatch.setattr(sys.modules[__name__], "ENOUGH", 2)
    assert main(["train", "tiny", str(path), "--out", str(parts)]) == 130
    assert (parts / "last.pt").exists()
    assert not (parts / "weights").exists()
    capsys.readouterr()
    assert main(["train", "tiny", str(path), "--out", str(parts)]) == 0
    assert capsys.readouterr().out.startswith("epoch 2 ")
    assert {k: v.tolist() for k, v in trained(parts).items()} == {k: v.tolist() for k, v in trained(whole).items()}


def test_more_epochs_go_on_and_other_settings_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = config(tmp_path), tmp_path / "out"
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 0
    longer = path.read_text().replace("epochs: 3", "epochs: 4")
    path.write_text(longer)
    capsys.readouterr()
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 0
    assert capsys.readouterr().out.count("epoch ") == 1
    path.write_text(longer.replace("0.1", "0.2") + "slope: 3\n")
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 2
    assert "holds a run with another slope, training.learning_rate. Give those settings" in capsys.readouterr().err


def test_a_folder_with_foreign_files_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tiny", str(config(tmp_path)), "--out", str(tmp_path / "data")]) == 2
    assert "holds files of something else" in capsys.readouterr().err


def test_a_training_that_breaks_keeps_its_checkpoints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = config(tmp_path, "data: nowhere\ntraining: {epochs: 1, device: cpu}\n"), tmp_path / "out"
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 2
    assert "stopped: FileNotFoundError: no table.csv in" in capsys.readouterr().err
    assert "Traceback" in (out / "crash.txt").read_text()
    assert (out / "best.pt").exists()


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    run = load_run("tiny", config(tmp_path, "data: data\nstart: {checkpoint: ../old/best.pt}\n"))
    assert paths_of(run) == {
        "data": tmp_path.resolve() / "data",
        "start.checkpoint": tmp_path.resolve() / "../old/best.pt",
    }
    assert load_run("tiny", config(tmp_path, "data: /abs\n")).data == Path("/abs")
    several = load_run("cxr-dlnet", config(tmp_path, "data: data\nsynthetic: [one, /two]\n"))
    assert several.synthetic == (tmp_path.resolve() / "one", Path("/two"))
    assert paths_of(several)["synthetic[1]"] == Path("/two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slope: 1\n", "data: is missing. Add this key"),
        ("data: d\nslop: 1\n", "slop: unknown key. Expected one of: data, slope, start, training"),
        ("data: d\ntraining: {epoch: 3}\n", r"training\.epoch: unknown key. Expected one of: epochs, batch_size"),
        ("data: d\nstart: {check: a}\n", r"start\.check: unknown key. Expected one of: checkpoint\."),
        ("data: d\ntraining: {epochs: many}\n", r"training\.epochs: got 'many'.*valid integer"),
        ("data: d\nslope: steep\n", "slope: got 'steep'.*valid number"),
        ("data: 3\n", "data: got 3. It must be the path of a file or folder"),
        ("data: d\ntraining: 3\n", "training: got 3. It must be a mapping of keys"),
        ("data: d\nslope: 0\n", "the file: got .*slope=0 has nothing to learn"),
        ("- data\n", "must hold a mapping of keys"),
        ("data: d\ndata: e\n", "given twice"),
    ],
)
def test_broken_files_name_key_value_and_rule(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_run("tiny", config(tmp_path, text))


def test_missing_file_and_unknown_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tiny", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out")]) == 2
    assert "Cannot read the training file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["train", "cxr-net", "a.yaml", "--out", "b"])


@pytest.mark.parametrize("kind", ["cxr-dlnet", "cxr-lsnet", "ct-lungs", "ct-slices"])
def test_shipped_training_files_are_valid(kind: str) -> None:
    run = load_run(kind, CONFIGS / f"{kind}.yaml")
    assert isinstance(run.training, TrainingSettings)
    assert all(path.is_absolute() for path in paths_of(run).values())
