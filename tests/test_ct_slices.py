"""Pictures of slices, the slice classifiers, their examples and losses, and a whole training run on made-up chests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import SimpleITK as sitk
import torch
from test_ct_lungs import SPACING, thorax

from ct_models.data.pneumonia_slices import PneumoniaSliceDataset, lesion_shares
from ct_models.data.slices import window
from ct_models.data.tables import list_cohort, write_table
from ct_models.data.volumes import LabelledVolume, read_slice_labels
from ct_models.networks.slice_net import SliceReading, make_slice_net
from ct_models.slices import FILL_HU, PICTURE, WINDOW_HU, Crop, cut, lung_crop, paste, pictures
from ct_models.training.runs import SliceRun, run_slices
from ct_models.training.slices import measure, slice_losses
from neural.training import TrainingSettings


def volume(diseased_slices: range = range(10, 20), has_map: bool = True) -> LabelledVolume:
    """Two boxes of lung in 30 slices; a tenth of the right one is diseased in some of them."""
    hu = np.full((30, 180, 260), 30, np.int16)
    lungs = np.zeros(hu.shape, np.uint8)
    lungs[2:28, 40:140, 30:110], lungs[2:28, 40:140, 140:220] = 1, 2
    hu[lungs > 0] = -860
    lesions = np.zeros(hu.shape, np.uint8)
    lesions[diseased_slices.start : diseased_slices.stop, 110:130, 40:80] = 1
    hu[lesions > 0] = -500
    return LabelledVolume("p1", hu, lungs, lesions, np.full(30, np.nan, np.float32), has_map)


def test_crop_is_centred_on_the_lungs_and_fits_them() -> None:
    lungs = np.zeros((3, 300, 400), np.uint8)
    lungs[1, 100:200, 50:250] = 1
    assert lung_crop(lungs) == Crop(150 - PICTURE[0] // 2, 150 - PICTURE[1] // 2, *PICTURE)
    lungs[1, 60:230, 10:290] = 1  # larger than the picture
    crop = lung_crop(lungs)
    assert crop.rows % 32 == crop.columns % 32 == 0
    assert crop.row <= 60
    assert crop.row + crop.rows >= 230
    assert crop.column <= 10
    assert crop.column + crop.columns >= 290


def test_cut_and_paste_over_the_edge() -> None:
    stack = np.arange(2 * 5 * 6, dtype=np.float32).reshape(2, 5, 6) + 1
    crop = Crop(-2, 3, 6, 8)
    part = cut(stack, crop, -7.0)
    assert part.shape == (2, 6, 8)
    np.testing.assert_array_equal(part[:, 2:, :3], stack[:, :4, 3:])
    assert (part[:, :2] == -7.0).all()
    assert (part[:, :, 3:] == -7.0).all()
    back = paste(part, crop, stack.shape)
    np.testing.assert_array_equal(back[:, :4, 3:], stack[:, :4, 3:])
    assert not back[:, 4:].any()
    assert not back[:, :, :3].any()


def test_pictures_show_three_slices_in_a_window_and_the_lungs_alone() -> None:
    hu = np.full((5, 32, 32), 700.0, np.float32)
    lungs = np.zeros(hu.shape, bool)
    lungs[:, 8:24, 8:24] = True
    hu[lungs] = -800.0
    hu[3, 10:14, 10:14] = -400.0
    found = pictures(hu, lungs, np.array([2, 4]))
    assert found.shape == (2, 3, 32, 32)
    assert found.dtype == np.float32
    levels = window(np.array([-800.0, -400.0, FILL_HU]), *WINDOW_HU)
    np.testing.assert_allclose(found[0, :, 12, 12], levels[[0, 0, 1]])  # below, middle, above
    np.testing.assert_allclose(found[1, :, 12, 12], levels[[1, 0, 0]])  # the last slice repeats
    np.testing.assert_allclose(found[:, :, 0, 0], levels[2])
    assert (found[:, :, 6, 12] == 1.0).all()  # the lungs' surroundings stay in view


def test_resnet50_has_torchvisions_keys_and_locations_of_32_pixels() -> None:
    network = make_slice_net("ct-slices").eval()
    keys = {name.removeprefix("resnet.") for name in network.state_dict()}
    assert {
        "conv1.weight",
        "bn1.running_var",
        "layer1.0.downsample.1.weight",
        "layer4.2.conv3.weight",
        "fc.bias",
    } <= keys
    assert len(keys) == 320  # len(torchvision.models.resnet50().state_dict())
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 64, 96)).evidence.shape == (1, 2, 3)


def test_light_network_has_locations_of_4_pixels() -> None:
    network = make_slice_net("ct-slices-light").eval()
    with torch.inference_mode():
        reading = network(torch.rand(2, 3, 64, 96))
    assert reading.evidence.shape == (2, 16, 24)
    assert reading.logit.shape == (2,)
    assert (reading.activation >= 0).all()


def test_diseased_share_of_each_slice() -> None:
    shares = lesion_shares(volume())
    assert np.isnan(shares[[0, 1, 28, 29]]).all()
    np.testing.assert_allclose(shares[10:20], 20 * 40 / (100 * 160))
    assert not shares[2:10].any()


def test_unchanged_example_has_image_and_labels_of_its_slice() -> None:
    examples = PneumoniaSliceDataset([volume()], every=1)
    assert len(examples) == 26
    healthy, diseased = examples[0], examples[10]  # slices 2 and 12
    assert healthy["label"] == 0
    assert diseased["label"] == 1
    assert healthy["label_weight"] == diseased["label_weight"] == 1
    assert diseased["images"].shape == (3, *PICTURE)
    assert diseased["lesion"].shape == (PICTURE[0] // 4, PICTURE[1] // 4)
    share = (diseased["lesion"] * diseased["lung"]).sum() / diseased["lung"].sum()
    assert float(share) == pytest.approx(0.05, rel=0.02)
    assert not healthy["lesion"].any()


def test_slice_with_a_trace_of_disease_has_no_label() -> None:
    case = volume(range(0))
    case.lesions[10, 50:54, 50:54] = 1  # 0.1 % of the slice's lung
    weights = [float(e["label_weight"]) for e in (PneumoniaSliceDataset([case], every=1)[i] for i in (7, 8, 9))]
    assert weights == [1.0, 0.0, 1.0]


def test_augmented_examples_follow_seed_and_epoch_and_keep_their_ranges() -> None:
    examples = PneumoniaSliceDataset([volume(), volume(range(0))], per_epoch=12, seed=4)
    first = [examples[i] for i in range(12)]
    again = PneumoniaSliceDataset([volume(), volume(range(0))], per_epoch=12, seed=4)
    torch.testing.assert_close(again[5], first[5])
    examples.set_epoch(1)
    assert not torch.equal(examples[5]["images"], first[5]["images"])
    for example in first:
        assert 0 <= example["images"].min() <= example["images"].max() <= 1
        assert 0 <= example["lesion"].min() <= example["lesion"].max() <= 1
    labels = [float(e["label"]) for e in first]
    assert 0 < sum(labels) < 12


def labelled() -> LabelledVolume:
    """The scan of :func:`volume`, of which only the labels of its slices are known."""
    known = np.zeros(30, np.float32)
    known[10:20], known[9], known[20] = 1.0, 0.5, 0.25
    mapped = volume()
    return LabelledVolume("p1", mapped.hu, mapped.lungs, np.zeros_like(mapped.lesions), known, False)


def test_slice_labels_do_where_disease_is_not_mapped() -> None:
    shares = lesion_shares(labelled())
    assert (shares[10:20] == 1.0).all()
    assert (shares[2:9] == 0.0).all()
    assert (shares[21:28] == 0.0).all()
    assert np.isnan(shares[[0, 1, 9, 20, 28, 29]]).all()
    fixed = PneumoniaSliceDataset([labelled()], every=1)
    for index, (_, z) in enumerate(fixed.fixed):
        example, diseased = fixed[index], 10 <= z < 20
        assert (float(example["label"]), float(example["label_weight"])) == (diseased, 1.0)
        assert float(example["located"]) == (not diseased)
        assert not example["lesion"].any()
    augmented = PneumoniaSliceDataset([labelled()], per_epoch=12, seed=3)
    assert {(float(e["label"]), float(e["located"])) for e in map(augmented.__getitem__, range(12))} == {(0, 1), (1, 0)}


def test_a_slice_diseased_nobody_knows_where_teaches_its_label_alone() -> None:
    lesion = torch.zeros(2, 8, 8, dtype=torch.float64)
    batch = {"lesion": lesion, "lung": torch.ones_like(lesion), "label": torch.ones(2), "label_weight": torch.ones(2)}
    batch["located"] = torch.tensor([0.0, 1.0])
    sick, clear = np.full((8, 8), 0.9), np.full((8, 8), 1e-9)
    pair = [reading_of(sick, 2.0), reading_of(clear, 2.0)]
    both = slice_losses(SliceReading(*(torch.cat(parts) for parts in zip(*pair, strict=True))), batch)
    assert float(both["locations"]) == pytest.approx(0.0, abs=1e-6)
    assert float(both["overlap"]) == pytest.approx(0.0, abs=1e-6)
    assert float(both["slices"]) == pytest.approx(np.log1p(np.exp(-2.0)))


def test_slice_labels_are_read_from_the_head_down(tmp_path: Path) -> None:
    table = tmp_path / "slices.csv"
    table.write_text("index_head_to_feet,infected\n1,0\n0,1\n2,0\n")
    np.testing.assert_array_equal(read_slice_labels(table, 3), [0, 0, 1])
    for text, message in (
        ("index,infected\n0,1\n", "lacks the column\\(s\\) index_head_to_feet"),
        ("index_head_to_feet,infected\n0,1\n0,1\n2,0\n", "Give one row for each"),
        ("index_head_to_feet,infected\n0,1\n1,2\n2,0\n", "other values than 0 and 1"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=message):
            read_slice_labels(table, 3)


def test_scans_with_neither_lesion_map_nor_slice_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="1 scan\\(s\\) have neither a lesion map nor slice labels"):
        PneumoniaSliceDataset([volume(has_map=False)])
    with pytest.raises(ValueError, match="no scans"):
        PneumoniaSliceDataset([])


def reading_of(probability: npt.NDArray[np.float64], logit: float) -> SliceReading:
    evidence = torch.from_numpy((np.log(probability / (1 - probability)) + 4.0) * 100.0)[None]
    return SliceReading(torch.tensor([logit], dtype=torch.float64), torch.zeros(1, 1, 1, 1), evidence)


def test_losses_are_zero_for_a_perfect_reading_and_ignore_open_labels() -> None:
    lesion = torch.zeros(1, 8, 8, dtype=torch.float64)
    lesion[:, 2:4, 2:6] = 1.0
    batch = {"lesion": lesion, "lung": torch.ones_like(lesion), "label": torch.ones(1), "label_weight": torch.ones(1)}
    batch["located"] = torch.ones(1)
    right = np.where(lesion[0].numpy() > 0, 1 - 1e-9, 1e-9)
    perfect = slice_losses(reading_of(right, 30.0), batch)
    assert float(perfect["loss"]) == pytest.approx(0.0, abs=1e-6)
    wrong = slice_losses(reading_of(1 - right, -3.0), batch)
    assert float(wrong["overlap"]) > 0.9
    assert float(wrong["slices"]) == pytest.approx(np.log1p(np.exp(3.0)))
    half = slice_losses(reading_of(np.full((8, 8), 0.5), 0.0), batch)
    assert float(half["locations"]) == pytest.approx(np.log(2.0))
    batch["label_weight"] = torch.zeros(1)
    assert slice_losses(reading_of(right, -9.0), batch)["slices"] == 0.0


def test_measure_reads_shares_and_ranks_slices() -> None:
    class Truth(torch.nn.Module):
        """Gives back the examples' own labels, slightly too faint."""

        def __init__(self, examples: PneumoniaSliceDataset) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))
            self.examples, self.next = examples, 0

        def forward(self, images: torch.Tensor) -> SliceReading:
            items = [self.examples[self.next + i] for i in range(len(images))]
            self.next += len(images)
            lesion = torch.stack([item["lesion"] for item in items])
            probability = (0.9 * lesion).clamp(1e-6, 1 - 1e-6)
            evidence = (probability.logit() + 4.0) * 100.0
            return SliceReading(lesion.mean(dim=(1, 2)), lesion, evidence)

    examples = PneumoniaSliceDataset([volume()], every=1)
    found = measure(Truth(examples), examples)
    assert found["auc"] == 1.0
    assert found["share_error"] == pytest.approx(100 * 0.1 * 0.05 * 10 / 26, rel=0.05)


def test_training_run_on_two_made_up_chests(tmp_path: Path) -> None:
    hu, right, left = thorax()
    lesion = right & (np.arange(hu.shape[1]) > 55)[None, :, None] & (np.arange(hu.shape[0]) > 30)[:, None, None]
    for subject in ("01", "02"):
        folder = tmp_path / f"sub-{subject}" / "ses-01"
        folder.mkdir(parents=True)
        files = {"ct": np.where(lesion, -300, hu).astype(np.int16), "lungs_labels": (right + 2 * left).astype(np.uint8)}
        for name, array in (files | {"lesions_labels": lesion.astype(np.uint8)}).items():
            image = sitk.GetImageFromArray(array)
            image.SetSpacing(SPACING[::-1])
            sitk.WriteImage(image, str(folder / f"{name}.nii.gz"))
    rows = list_cohort(tmp_path)
    rows["split"] = ["train", "validation"]
    write_table(rows, tmp_path / "table.csv")
    settings = TrainingSettings(epochs=1, batch_size=2, device="cpu")
    run = SliceRun(tmp_path / "table.csv", tmp_path / "cache", slices_per_epoch=2, training=settings)
    trained = run_slices(run, tmp_path / "run")
    assert trained.name == "ct-slices-light"
    assert {"slice_threshold", "lesion_threshold"} <= set(trained.settings)
    assert np.isfinite(list(trained.metrics.values())).all()
    assert (tmp_path / "run" / "last.pt").exists()
