"""Whole training runs on tiny made-up tables: they run, resume, refine, and use pseudo masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import torch
from PIL import Image

from cxr_models.augment.fields import soft_ellipse
from cxr_models.data.split import split_of
from cxr_models.data.tables import read_covid
from cxr_models.networks.dlnet import DLNet, DLNetOutput, detect
from cxr_models.networks.lsnet import LSNet
from cxr_models.postprocessing import to_shape
from cxr_models.severity import SeverityCalibration, continuous_extent
from cxr_models.training.operating_points import _known_lungs, _masks, _prepared, operating_points
from cxr_models.training.pseudo_masks import add_lung_masks, find_lungs, take_heart_out
from cxr_models.training.refinement import RefinementSettings
from cxr_models.training.runs import DetectionRun, LungRun, Start, detection_table, run_detection, run_lungs
from neural.training import TrainingSettings

SIZE = 64
BITS = ("lung_field_right", "lung_field_left", "lesion_right", "lesion_left")
ONE_EPOCH = TrainingSettings(epochs=1, batch_size=2, device="cpu")


def _patients(source: str, split: str, count: int) -> list[str]:
    names = (f"p{n}.png" for n in range(1000))
    return [name for name in names if split_of(source, name) == split][:count]


def _lungs() -> npt.NDArray[np.bool_]:
    shape = (SIZE, SIZE)
    return np.maximum(
        soft_ellipse(shape, (32, 18), (9, 22), 0.0, 0.1), soft_ellipse(shape, (32, 46), (9, 22), 0.0, 0.1)
    ) > 0.5  # fmt: skip


def _save(path: Path, array: npt.NDArray[np.float64]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((255 * array).astype(np.uint8)).save(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three training and one validation image of each source, in the layout of the development data."""
    root: Path = tmp_path_factory.mktemp("cxr")
    rng = np.random.default_rng(0)
    names = {s: _patients(s, "train", 3) + _patients(s, "validation", 1) for s in ("nih", "openist", "covid")}
    for source, files in names.items():
        for file in files:
            lungs = _lungs()
            image = np.clip(np.where(lungs, 0.3, 0.7) + 0.03 * rng.standard_normal(lungs.shape), 0, 1)
            _save(root / source / file, image)
            _save(root / source / "lung_masks" / file, lungs.astype(float))
    classes = ["Lung Opacity", "Normal", "Normal", "Lung Opacity"]
    pd.DataFrame(
        {
            "Finding Labels": "Edema|Effusion",
            "Patient Age": 50,
            "View Position": "PA",
            "rsna_class": classes,
            "patient": names["nih"],
            "file": names["nih"],
        }
    ).to_csv(root / "nih.csv")
    boxes = pd.DataFrame({"file": [names["nih"][0]], "x": 0, "y": 0, "width": 1024, "height": 1024})
    boxes.to_csv(root / "nih_rsna_boxes_1024px.csv")
    files = names["openist"]
    pd.DataFrame({"file": files, "lung_mask": files, "source_file": files}).to_csv(root / "openist.csv")
    covid = pd.DataFrame(
        {"file": names["covid"], "patient": names["covid"], "age": 60, "view": "AP", "finding": "COVID-19"}
    )
    covid = covid.assign(lung_mask=names["covid"], ggo=None, consolidation=None, right_lung=None, left_lung=None)
    covid.to_csv(root / "covid.csv")
    pd.DataFrame(columns=["patientid", "age", "finding", "view"]).to_csv(root / "figure1.csv")
    return root


def test_lung_run_trains_and_continues(data: Path, tmp_path: Path) -> None:
    run = LungRun(data, size=SIZE, training=ONE_EPOCH)
    trained = run_lungs(run, tmp_path)
    assert (trained.name, dict(trained.settings)) == ("lsnet-light", {"size": SIZE})
    assert 0.0 <= trained.metrics["dice"] <= 1.0
    lines: list[str] = []
    run_lungs(replace(run, training=replace(ONE_EPOCH, epochs=2)), tmp_path, lines.append)
    assert len(lines) == 1
    assert lines[0].startswith("epoch 1 ")
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 3


def test_detection_runs_in_two_stages(data: Path, tmp_path: Path) -> None:
    first = DetectionRun(data, size=SIZE, training=ONE_EPOCH)
    run_detection(first, tmp_path / "first")
    second = replace(
        first,
        refinement=RefinementSettings(detection_threshold=0.0, share=1.0),
        start=Start(checkpoint=tmp_path / "first" / "best.pt"),
    )
    lines: list[str] = []
    trained = run_detection(second, tmp_path / "second", lines.append)
    assert lines[0].startswith("refined targets of ")
    assert lines[1].startswith("epoch 0 ")
    assert not trained.network.training
    assert trained.name == "dlnet-light"
    assert trained.settings["size"] == SIZE
    assert 0.0 < trained.settings["detection_threshold"] < 1.0
    assert set(trained.metrics) >= {"loss", "auc"}


def test_synthetic_sets_come_beside_the_real_ones(data: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        part = tmp_path / name
        part.mkdir()
        (part / "dataset.json").write_text(json.dumps({"mask_bits": dict.fromkeys(BITS, 2)}))
        row = {"image": "a.png", "labels": "b.png", "patient": name, "subject": name, "view": "PA", "inverted": 0}
        pd.DataFrame([row | {"ratio_percent": 9.0, "ct_ratio_percent": 5.0}]).to_csv(part / "images.csv")
    table = detection_table(DetectionRun(data, synthetic=(tmp_path / "one", tmp_path / "two")), tmp_path)
    assert list(table["patient"][table["source"] == "synthetic"]) == ["one", "two"]
    assert set(table["source"]) >= {"nih", "covid", "openist"}


def test_frozen_layers_stay_and_findings_are_learnt(data: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DLNet("dlnet-light")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    torch.save({"model": before}, tmp_path / "start.pt")
    run = DetectionRun(
        data,
        size=SIZE,
        training=ONE_EPOCH,
        findings_weight=1.0,
        frozen=6,
        start=Start(checkpoint=tmp_path / "start.pt"),
    )
    trained = run_detection(run, tmp_path / "run")
    after = trained.network.state_dict()
    for key in ("encoder._bn0.running_mean", "encoder._blocks.3._bn2.running_var", "encoder._conv_stem.weight"):
        assert torch.equal(after[key], before[key])
    assert not torch.equal(
        after["encoder._blocks.4._project_conv.weight"], before["encoder._blocks.4._project_conv.weight"]
    )
    assert "train_findings" in (tmp_path / "run" / "log.csv").read_text().splitlines()[0]
    again = torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"]
    assert any(key.startswith("findings.") for key in again)
    still = TrainingSettings(epochs=1, batch_size=2, device="cpu", learning_rate=1e-12, weight_decay=0.0)
    start = Start(checkpoint=tmp_path / "run" / "best.pt")
    run_detection(replace(run, start=start, training=still), tmp_path / "next")
    taken_up = torch.load(tmp_path / "next" / "best.pt", weights_only=True)["model"]
    assert torch.allclose(taken_up["findings.weight"], again["findings.weight"], atol=1e-6)


class _Threshold(torch.nn.Module):
    """Stands in for a trained LSNet: dark is lung, by its side of the image."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(50.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = self.scale * (0.5 - images)
        side = torch.arange(images.shape[-1]) < images.shape[-1] // 2
        return torch.cat([torch.where(side, logits, -9.0)[:, None], torch.where(side, -9.0, logits)[:, None]], dim=1)


def test_pseudo_masks_go_to_negative_training_images_only(data: Path, tmp_path: Path) -> None:
    table = detection_table(DetectionRun(data), tmp_path)
    filled = add_lung_masks(table, _Threshold(), SIZE, tmp_path / "masks")  # type: ignore[arg-type]
    new = (filled["lung_mask"] != "") & (table["lung_mask"] == "")
    assert new.sum() == 2
    assert (filled["label"][new] == 0).all()
    assert (filled["lung_convention"][new] == "heart-out").all()
    mask = np.asarray(Image.open(filled["lung_mask"][new].iloc[0])) > 127
    assert (mask & _lungs()).sum() > 0.9 * _lungs().sum()


def test_heart_is_taken_out_where_the_teacher_says_so(data: Path, tmp_path: Path) -> None:
    table = read_covid(data)
    out = take_heart_out(table, _Threshold(), SIZE, tmp_path)  # type: ignore[arg-type]
    train = out["split"] == "train"
    assert (out["lung_convention"][train] == "heart-out").all()
    assert (out["lung_convention"][~train] == "heart-in").all()
    nothing = take_heart_out(table, _Nowhere(), SIZE, tmp_path / "nowhere")  # type: ignore[arg-type]
    kept = np.asarray(Image.open(nothing["lung_mask"][train].iloc[0])) > 127
    assert not kept[40, 37:50].any()  # towards the mediastinum the teacher decides
    assert kept[40, 53]  # along the chest wall the drawn mask stays
    assert kept[14, 46]  # and at the apex


class _Nowhere(_Threshold):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.full((len(images), 2, *images.shape[1:]), -9.0)


def test_segmentation_returns_masks_on_the_images_own_pixels() -> None:
    masks = find_lungs(
        LSNet("lsnet-light").eval(), np.random.default_rng(0).uniform(0, 255, (90, 70)).astype("f"), SIZE
    )
    assert masks.right.shape == masks.left.shape == (90, 70)


def _masked_table(folder: Path, count: int) -> pd.DataFrame:
    """Images whose grey level in the lungs tells the share of the lower lungs that is diseased, and their masks."""
    rows = []
    lungs = _lungs()
    for n in range(count):
        lesion = lungs & (np.arange(SIZE)[:, None] >= SIZE - 10 - n * 44 // count)
        for name, mask in (("lesion", lesion), ("right", lungs & _right()), ("left", lungs & ~_right())):
            _save(folder / f"{name}{n}.png", mask.astype(float))
        _save(folder / f"image{n}.png", np.where(lesion, 0.9, 0.1))
        rows.append({"image": str(folder / f"image{n}.png"), "ggo": str(folder / f"lesion{n}.png"), "patient": str(n)})
    table = pd.DataFrame(rows).assign(source="covid", split="validation", label_weight=1.0, consolidation="")
    table["right_lung"] = [str(folder / f"right{n}.png") for n in range(count)]
    table["left_lung"] = [str(folder / f"left{n}.png") for n in range(count)]
    table["label"] = (np.arange(count) >= count // 2).astype(float)
    return table


def _right() -> npt.NDArray[np.bool_]:
    return np.broadcast_to(np.arange(SIZE) < SIZE // 2, (SIZE, SIZE))


class _BrightIsSick(torch.nn.Module):
    """Stands in for a trained DLNet: the map is the brightness, and the probability grows with its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(1.0))

    def forward(self, images: torch.Tensor) -> DLNetOutput:
        maps = torch.atanh(torch.nn.functional.avg_pool2d((images > 0.5).float(), 8).clamp(0, 0.999)).unsqueeze(1)
        return DLNetOutput(self.scale * (images > 0.5).float().mean((1, 2)), maps, *([torch.zeros(0)] * 3))


def test_operating_points_separate_and_calibrate_what_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cxr_models.training.operating_points.clahe", lambda image: image)
    table = _masked_table(tmp_path, 20)
    boxes = pd.DataFrame(columns=["image", "x", "y", "width", "height"])
    found = operating_points(_BrightIsSick(), table, boxes, SIZE)  # type: ignore[arg-type]
    assert (found["size"], found["localisation_threshold"]) == (SIZE, 0.5)
    probability = [detect(_BrightIsSick(), _prepared({"image": i}, SIZE))[0] for i in table["image"]]  # type: ignore[arg-type]
    assert found["detection_threshold"] == min(probability[10:])
    calibration = SeverityCalibration(found["severity_gain"], found["severity_power"])
    for row in table.to_dict("records"):
        image = _prepared(row, SIZE)
        for lung in _known_lungs(row, detect(_BrightIsSick(), image)[1]):  # type: ignore[arg-type]
            extent = continuous_extent(100.0 * calibration.share(np.array([lung.mean])))
            assert extent[0] == pytest.approx(continuous_extent(np.array([lung.ratio_percent]))[0], abs=0.3)
    errors = []
    for threshold in np.arange(10, 95, 5) / 100.0:
        per_image = []
        for row in table.to_dict("records"):
            heat = detect(_BrightIsSick(), _prepared(row, SIZE))[1]  # type: ignore[arg-type]
            for lung, lesion in _masks(row):
                ratio = 100.0 * (lesion & lung).sum() / lung.sum()
                per_image.append(abs(100.0 * (to_shape(heat, (SIZE, SIZE))[lung] >= threshold).mean() - ratio))
        errors.append(np.mean(per_image))
    assert min(errors) < max(errors)
    assert errors[round(found["area_threshold"] * 20) - 2] == pytest.approx(min(errors))
    few = operating_points(_BrightIsSick(), table[:4], boxes, SIZE)  # type: ignore[arg-type]
    assert "severity_gain" not in few
