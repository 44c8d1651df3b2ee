"""The table of labelled CTs, their volumes and slices, and a whole training run on two made-up chests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import SimpleITK as sitk
import torch
from scipy import ndimage
from test_ct_lungs import SPACING, thorax

from ct_models.data.augmentation import (
    OUTSIDE_HU,
    identity_points,
    implant_bowel_gas,
    implant_consolidation,
    is_mirrored,
    random_field_of_view,
    random_points,
    sample_at,
    sides_after,
)
from ct_models.data.lung_slices import LungSliceDataset
from ct_models.data.slices import slice_stack, window
from ct_models.data.tables import COLUMNS, list_cohort, read_table, write_table
from ct_models.data.volumes import LabelledVolume, load_volumes, read_image
from ct_models.training.lungs import lung_loss, measure
from ct_models.training.runs import LungRun, run_lungs
from neural.training import TrainingSettings

SIZE = (64, 96)


def _write(path: Path, array: npt.NDArray[np.generic]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(SPACING[::-1])
    sitk.WriteImage(image, str(path))


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patients in the layout of ``drrval simulate``, one with disease."""
    root: Path = tmp_path_factory.mktemp("cohort")
    hu, right, left = thorax()
    lesion = right & (np.arange(hu.shape[1]) > 55)[None, :, None]
    for subject, sick in (("01", False), ("02", True)):
        folder = root / f"sub-{subject}" / "ses-01"
        _write(folder / "ct.nii.gz", np.where(lesion & sick, 20, hu).astype(np.int16))
        _write(folder / "lungs_labels.nii.gz", (right + 2 * left).astype(np.uint8))
        _write(folder / "lesions_labels.nii.gz", (lesion & sick).astype(np.uint8))
    return root


@pytest.fixture(scope="module")
def table(cohort: Path) -> Path:
    """Its table: patient 1 trains, patient 2 validates."""
    rows = list_cohort(cohort, prefix="p")
    rows["split"] = ["train", "validation"]
    write_table(rows, cohort / "table.csv")
    return cohort / "table.csv"


@pytest.fixture(scope="module")
def volumes(table: Path) -> list[LabelledVolume]:
    """Both scans."""
    return load_volumes(read_table(table), table.parent / "cache")


def test_cohort_is_listed_by_patient(cohort: Path) -> None:
    rows = list_cohort(cohort, prefix="p", validation=1.0)
    assert list(rows.columns) == list(COLUMNS)
    assert list(rows["patient"]) == ["p01", "p02"]
    assert set(rows["split"]) == {"validation"}
    assert set(list_cohort(cohort, validation=0.0)["split"]) == {"train"}
    with pytest.raises(ValueError, match=r"holds no sub-\*"):
        list_cohort(cohort / "sub-01")


def test_table_comes_back_with_absolute_paths(table: Path) -> None:
    assert not Path(pd.read_csv(table)["path"][0]).is_absolute()
    rows = read_table(table)
    assert all(Path(path).is_absolute() and Path(path).is_file() for path in rows["path"])


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        ("split", ["train", "dev"], r"names the split\(s\) dev"),
        ("patient", ["p", "p"], "has patient p in 2 splits"),
        ("path", ["none.nii.gz", ""], r"lists 2 path file\(s\) that are not there"),
    ],
)
def test_wrong_tables_are_refused(table: Path, column: str, values: list[str], message: str) -> None:
    rows = pd.read_csv(table)
    rows[column] = values
    rows.to_csv(table.with_name("wrong.csv"), index=False)
    with pytest.raises(ValueError, match=message):
        read_table(table.with_name("wrong.csv"))


def test_table_without_a_column_is_refused(table: Path) -> None:
    pd.read_csv(table).drop(columns="lungs").to_csv(table.with_name("short.csv"), index=False)
    with pytest.raises(ValueError, match=r"lacks the column\(s\) lungs"):
        read_table(table.with_name("short.csv"))


def test_images_are_read_with_z_to_the_head_and_x_to_the_left(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.int16)
    array[3, 0, 5] = 7  # head, front, left
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 3.0))
    for axes in ("LPS", "RAS", "LPI"):
        sitk.WriteImage(sitk.DICOMOrient(image, axes), str(tmp_path / f"{axes}.nii.gz"))
        found, spacing = read_image(tmp_path / f"{axes}.nii.gz")
        assert found[3, 0, 5] == 7
        assert spacing == pytest.approx((3.0, 2.0, 1.0))
    (tmp_path / "text.nii.gz").write_text("no image")
    with pytest.raises(ValueError, match=r"Cannot read .*text.nii.gz"):
        read_image(tmp_path / "text.nii.gz")


def test_volumes_keep_lungs_and_disease_and_are_cached(table: Path, volumes: list[LabelledVolume]) -> None:
    voxel_cm3 = 4.0 * 1.5 * 1.5 / 1000
    _, right, left = thorax()
    healthy, sick = volumes
    for side, truth in ((1, right), (2, left)):
        assert (healthy.lungs == side).sum() * voxel_cm3 == pytest.approx(truth.sum() * 0.036, rel=0.02)
    assert not healthy.lesions.any()
    assert np.median(sick.hu[sick.lesions > 0]) == pytest.approx(20, abs=3)
    assert np.median(healthy.hu[healthy.lungs > 0]) == pytest.approx(-850, abs=5)
    lines: list[str] = []
    load_volumes(read_table(table), table.parent / "cache", lines.append)
    assert lines == []


def test_a_lung_map_on_another_grid_is_refused(cohort: Path, tmp_path: Path) -> None:
    ct = str(cohort / "sub-01" / "ses-01" / "ct.nii.gz")
    for name, shape, message in (("small", (3, 4, 5), "Resample it"), ("empty", thorax()[0].shape, "holds no lung")):
        _write(tmp_path / f"{name}.nii.gz", np.zeros(shape, np.uint8))
        row = {"patient": "p", "path": ct, "lungs": str(tmp_path / f"{name}.nii.gz"), "lesions": ""}
        row |= {"slices": "", "split": "train"}
        with pytest.raises(ValueError, match=message):
            load_volumes(pd.DataFrame([row]), tmp_path / "cache")


def test_neighbours_are_repeated_at_the_ends() -> None:
    volume = np.arange(5)[:, None, None]
    assert slice_stack(volume, 0).ravel().tolist() == [0, 0, 1]
    assert slice_stack(volume, 4, step=2).ravel().tolist() == [2, 4, 4]
    np.testing.assert_allclose(window(np.array([-2000, -600, 0, 500]), -1200, 0), [0, 0.5, 1, 1])


def test_sampling_at_the_pixels_gives_the_image() -> None:
    image = np.random.default_rng(0).normal(size=(2, 9, 11)).astype(np.float32)
    found = sample_at(image, identity_points((9, 11), 1.5), 1.5, (4.0, 5.0), fill=-1.0)
    np.testing.assert_allclose(found, image, atol=1e-4)
    outside = sample_at(image, identity_points((9, 31), 1.5), 1.5, (4.0, 5.0), fill=-1.0)
    assert (outside[:, :, :9] == -1).all()


def test_right_stays_on_its_side_of_the_image(volumes: list[LabelledVolume]) -> None:
    dataset = LungSliceDataset(volumes[:1], (160, 192), per_epoch=40)
    mirrored = [is_mirrored(random_points(identity_points(SIZE, 2.0), np.random.default_rng(n))) for n in range(40)]
    assert 10 < sum(mirrored) < 30
    both = 0
    for index in range(len(dataset)):
        lungs = dataset[index]["lungs"].numpy()
        if all((lungs == side).sum() > 200 for side in (1, 2)):
            both += 1
            assert np.nonzero(lungs == 1)[1].mean() < np.nonzero(lungs == 2)[1].mean()
    assert both > 10
    assert sides_after(np.array([0, 1, 2], np.uint8), mirrored=True).tolist() == [0, 2, 1]


def test_examples_depend_on_epoch_and_index_alone(volumes: list[LabelledVolume]) -> None:
    first, second = (LungSliceDataset(volumes, SIZE, per_epoch=4, seed=3) for _ in range(2))
    second[0], second[1]
    assert torch.equal(first[2]["hu"], second[2]["hu"])
    second.set_epoch(1)
    assert not torch.equal(first[2]["hu"], second[2]["hu"])
    assert first[2]["lesions"].max() <= 1
    assert not (first[2]["lesions"].bool() & (first[2]["lungs"] == 0)).any()


def test_implanted_tissue_fills_lung_and_nothing_else() -> None:
    hu = np.full((3, 60, 80), 40.0, np.float32)
    lungs = np.zeros((60, 80), np.uint8)
    lungs[10:50, 10:35], lungs[10:50, 45:70] = 1, 2
    hu[:, lungs > 0] = -850.0
    shares = []
    for seed in range(20):
        changed, filled = implant_consolidation(hu, lungs, np.random.default_rng(seed))
        assert not (filled & (lungs == 0)).any()
        assert (changed[:, ~filled] == hu[:, ~filled]).all()
        assert np.median(changed[1][filled]) > -300
        shares.append(filled.sum() / (lungs > 0).sum())
    assert min(shares) < 0.2
    assert 0.4 < max(shares) <= 0.81
    same, nothing = implant_consolidation(hu, np.zeros_like(lungs), np.random.default_rng(0))
    assert same is hu
    assert not nothing.any()


def test_implanted_bowel_gas_lies_in_soft_tissue_a_wall_away_from_the_lungs() -> None:
    hu = np.full((3, 120, 150), -1000.0, np.float32)
    rows, cols = np.ogrid[:120, :150]
    hu[:, np.hypot((rows - 60) / 50, (cols - 75) / 65) < 1] = 40.0
    lungs = np.zeros((120, 150), np.uint8)
    lungs[20:60, 40:60], lungs[20:60, 90:110] = 1, 2
    hu[:, lungs > 0] = -850.0
    areas = []
    for seed in range(20):
        changed, gas = implant_bowel_gas(hu, lungs, 2.0, np.random.default_rng(seed))
        assert not (gas & ndimage.binary_dilation(lungs > 0)).any()
        assert not gas[hu[1] == -1000.0].any()
        assert (changed[:, lungs > 0] < -800.0).all()
        assert np.quantile(changed[1][gas], 0.1) < -900.0
        areas.append(gas.sum() * 0.04)
    assert 3.0 < np.mean(areas) < 60.0  # cm2
    same, nothing = implant_bowel_gas(np.full_like(hu, -1000.0), np.zeros_like(lungs), 2.0, np.random.default_rng(0))
    assert (same == -1000.0).all()
    assert not nothing.any()


def test_field_of_view_leaves_nothing_outside() -> None:
    hu = np.zeros((3, 200, 200), np.float32)
    cut, inside = random_field_of_view(hu, np.zeros((200, 200), bool), 2.0, np.random.default_rng(0))
    assert (cut[:, inside] == 0).all()
    assert (cut[:, ~inside] <= -1000.0).all()
    assert inside[100, 100]
    assert not inside[0, 0]
    assert OUTSIDE_HU == -1024.0


def test_loss_is_small_for_the_truth_and_heavier_on_disease() -> None:
    lungs = torch.zeros(2, 8, 8, dtype=torch.int64)
    lungs[:, 2:6, 1:4], lungs[:, 2:6, 5:7] = 1, 2
    truth = torch.nn.functional.one_hot(lungs, 3).movedim(-1, 1).float() * 30
    healthy = torch.zeros(2, 8, 8)
    assert lung_loss(truth, lungs, healthy).item() < 0.05
    missed = truth.clone()
    missed[:, 0, 2, 1], missed[:, 1, 2, 1] = 30.0, 0.0
    diseased = healthy.clone()
    diseased[:, 2, 1] = 1.0
    assert lung_loss(missed, lungs, diseased) > 1.3 * lung_loss(missed, lungs, healthy)


def test_a_run_learns_resumes_and_is_measured(table: Path, tmp_path: Path) -> None:
    settings = TrainingSettings(epochs=1, batch_size=4, learning_rate=1e-3, device="cpu")
    run = LungRun(table, table.parent / "cache", size=SIZE, slices_per_epoch=8, training=settings)
    lines: list[str] = []
    first = run_lungs(run, tmp_path, lines.append)
    assert len(lines) == 1
    again = run_lungs(replace(run, training=replace(settings, epochs=2)), tmp_path, lines.append)
    assert len(lines) == 2
    assert first.name == again.name == "ct-lungs-light"
    assert first.settings == {"pixel_mm": 2.0, "step_mm": 4.0}
    assert set(again.metrics) == {"loss", "dice", "worst_dice", "found"}
    resumed = run_lungs(replace(run, checkpoint=tmp_path / "best.pt"), tmp_path / "second")
    assert np.isfinite(resumed.metrics["loss"])


def test_measure_knows_a_perfect_network(volumes: list[LabelledVolume]) -> None:
    held_out = LungSliceDataset(volumes[1:], SIZE)
    truths = iter([held_out[i]["lungs"] for i in range(len(held_out))])

    class Oracle(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.anchor = torch.nn.Parameter(torch.zeros(1))

        def forward(self, hu: torch.Tensor) -> torch.Tensor:
            lungs = torch.stack([next(truths) for _ in range(len(hu))])
            return torch.nn.functional.one_hot(lungs, 3).movedim(-1, 1).float() * 30

    metrics = measure(Oracle().eval(), held_out)
    assert metrics["dice"] == metrics["worst_dice"] == metrics["found"] == 1.0


@pytest.mark.parametrize(
    ("count", "size", "message"), [(1, (60, 96), "multiples of 32"), (0, SIZE, "no scans to draw")]
)
def test_slices_need_scans_and_a_size(
    volumes: list[LabelledVolume], count: int, size: tuple[int, int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LungSliceDataset(volumes[:count], size)
