"""Reading radiographs and masks from files of all kinds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from drrval.errors import IntakeError
from drrval.evaluation.masks import read_mask
from drrval.evaluation.radiographs import read_radiograph

RAMP = np.arange(4096, dtype=np.uint16).reshape(64, 64)


def dicom(path: Path, pixels: npt.NDArray[Any] = RAMP, bits: int = 12, **tags: Any) -> Path:
    data = Dataset()
    data.SOPClassUID, data.SOPInstanceUID = DigitalXRayImageStorageForPresentation, generate_uid()
    data.Modality, data.PhotometricInterpretation, data.SamplesPerPixel = "DX", "MONOCHROME2", 1
    data.Rows, data.Columns = pixels.shape[:2]
    data.BitsAllocated, data.BitsStored = 8 * pixels.dtype.itemsize, bits
    data.HighBit, data.PixelRepresentation = bits - 1, 0
    data.PixelData = pixels.tobytes()
    for name, value in tags.items():
        setattr(data, name, value)
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path


def test_eight_bit_values_are_kept(tmp_path: Path) -> None:
    grey = (RAMP // 16).astype(np.uint8)[:, :50]
    for name in ("a.png", "a.tif"):
        Image.fromarray(grey).save(tmp_path / name)
        found = read_radiograph(tmp_path / name)
        np.testing.assert_array_equal(found.image, grey)
        assert (found.image.dtype, found.grey_values, found.view) == (np.float32, "8 bit", "")
        assert np.isnan(found.pixel_mm)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(tmp_path / "rgb.png")
    np.testing.assert_array_equal(read_radiograph(tmp_path / "rgb.png").image, grey)
    Image.fromarray(grey).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_radiograph(tmp_path / "a.jpg").image - grey).mean() < 2


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_sixteen_bits_are_stretched_and_said(tmp_path: Path, name: str) -> None:
    Image.fromarray(RAMP + 100).save(tmp_path / name)
    found = read_radiograph(tmp_path / name)
    np.testing.assert_allclose(found.image, RAMP * (255 / 4095), atol=1e-3)
    assert found.grey_values == "stretched from 100 to 4195"


def test_tiffs_whose_white_is_zero_are_inverted(tmp_path: Path) -> None:
    tags = ImageFileDirectory_v2()
    tags[262] = 0
    Image.fromarray(RAMP).save(tmp_path / "deep.tif", tiffinfo=tags)
    with Image.open(tmp_path / "deep.tif") as written:
        assert written.tag_v2[262] == 0  # type: ignore[attr-defined]
    found = read_radiograph(tmp_path / "deep.tif").image
    np.testing.assert_allclose(found, 255 - RAMP * (255 / 4095), atol=1e-3)


def test_dicom_without_a_window_is_stretched(tmp_path: Path) -> None:
    found = read_radiograph(dicom(tmp_path / "a", ImagerPixelSpacing=[0.2, 0.2], ViewPosition="AP"))
    np.testing.assert_allclose(found.image, RAMP * (255 / 4095), atol=1e-3)
    assert (found.pixel_mm, found.view) == (0.2, "AP")


def test_eight_bit_dicom_is_kept(tmp_path: Path) -> None:
    grey = (RAMP // 32).astype(np.uint8)
    found = read_radiograph(dicom(tmp_path / "a.dcm", grey, bits=8))
    np.testing.assert_array_equal(found.image, grey)


def test_views_of_dicom_files_are_read_like_those_of_tables(tmp_path: Path) -> None:
    assert read_radiograph(dicom(tmp_path / "a.dcm", ViewPosition="AP SUPINE")).view == "AP"
    assert read_radiograph(dicom(tmp_path / "b.dcm", ViewPosition="LLD")).view == "LLD"


@pytest.mark.parametrize(("grey", "word"), [(0, "black"), (255, "white"), (90, "of grey value 90")])
def test_pictures_that_show_nothing_are_refused(tmp_path: Path, grey: int, word: str) -> None:
    Image.fromarray(np.full((80, 80), grey, np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(IntakeError, match=f"the whole image is {word}, so it shows nothing. Export it again"):
        read_radiograph(tmp_path / "a.png")


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    found = read_radiograph(dicom(tmp_path / "a.dcm", PhotometricInterpretation="MONOCHROME1"))
    np.testing.assert_allclose(found.image, 255 - RAMP * (255 / 4095), atol=1e-3)
    assert "MONOCHROME1 inverted" in found.grey_values


def test_the_window_is_the_grey_scale(tmp_path: Path) -> None:
    found = read_radiograph(dicom(tmp_path / "a.dcm", WindowCenter=2048, WindowWidth=2001)).image
    # PS3.3 C.11.2.1.2.1: black up to 2047.5 - 1000, white above 2047.5 + 1000, linear between
    expected = np.clip(((RAMP - 2047.5) / 2000 + 0.5), 0, 1) * 255
    np.testing.assert_allclose(found, expected, atol=0.01)
    # A window far wider than the image leaves it as flat as it would be shown.
    flat = read_radiograph(dicom(tmp_path / "b.dcm", RAMP // 16, WindowCenter=2048, WindowWidth=4096)).image
    assert flat.max() < 20


def test_window_after_rescale(tmp_path: Path) -> None:
    tags = {"RescaleSlope": 2.0, "RescaleIntercept": -1000.0, "WindowCenter": 3096, "WindowWidth": 4001}
    found = read_radiograph(dicom(tmp_path / "a.dcm", **tags)).image
    np.testing.assert_allclose(found, np.clip((RAMP * 2.0 - 1000 - 3095.5) / 4000 + 0.5, 0, 1) * 255, atol=0.01)


def test_voi_lut(tmp_path: Path) -> None:
    table = Dataset()
    falling = (np.arange(4096, dtype="<u2") // 4)[::-1]
    table.add_new("LUTDescriptor", "US", [4096, 0, 10])
    table.add_new("LUTData", "OW", falling.tobytes())
    found = read_radiograph(dicom(tmp_path / "a.dcm", VOILUTSequence=[table])).image
    np.testing.assert_allclose(found, (RAMP[::-1, ::-1] // 4) * (255 / 1023), atol=1e-3)


def test_voi_lut_after_a_rescale(tmp_path: Path) -> None:
    table = Dataset()
    table.add_new("LUTDescriptor", "US", [4096, 100, 10])
    table.add_new("LUTData", "OW", (np.arange(4096, dtype="<u2") // 4).tobytes())
    path = dicom(tmp_path / "a.dcm", VOILUTSequence=[table], RescaleSlope=0.5, RescaleIntercept=100.0)
    np.testing.assert_allclose(read_radiograph(path).image, (np.rint(RAMP * 0.5) // 4) * (255 / 1023), atol=1e-3)


def test_sigmoid_window(tmp_path: Path) -> None:
    path = dicom(tmp_path / "a.dcm", WindowCenter=2048, WindowWidth=1000, VOILUTFunction="SIGMOID")
    expected = 255 / (1 + np.exp(-4 * (RAMP - 2048.0) / 1000))  # PS3.3 C.11.2.1.3.1
    np.testing.assert_allclose(read_radiograph(path).image, expected, atol=0.01)


def test_padding_is_black_and_does_not_count(tmp_path: Path) -> None:
    pixels = RAMP.copy() // 2 + 1000
    pixels[:4] = 0
    for photometric in ("MONOCHROME1", "MONOCHROME2"):
        path = dicom(tmp_path / "a.dcm", pixels, PixelPaddingValue=0, PhotometricInterpretation=photometric)
        found = read_radiograph(path).image
        assert found[:4].max() == 0
        assert (found[4:].min(), found[4:].max()) == (0, 255)


@pytest.mark.parametrize(
    ("tags", "message"),
    [
        ({"Modality": "CT"}, "its modality is CT. Give a chest radiograph"),
        ({"PatientOrientation": ["R", "F"]}, "mirrored or upside down"),
        ({"PatientOrientation": ["L", "H"]}, "mirrored or upside down"),
        ({"pixels": np.full((64, 64), 7, np.uint16)}, "every pixel is 7"),
    ],
)
def test_dicoms_that_are_refused(tmp_path: Path, tags: dict[str, Any], message: str) -> None:
    with pytest.raises(IntakeError, match=message):
        read_radiograph(dicom(tmp_path / "a.dcm", **tags))
    read_radiograph(dicom(tmp_path / "b.dcm", PatientOrientation=["L", "F"]))


def test_pictures_that_are_refused(tmp_path: Path) -> None:
    frame = Image.fromarray(RAMP)
    frame.save(tmp_path / "two.tif", save_all=True, append_images=[frame])
    with pytest.raises(IntakeError, match="holds 2 pictures"):
        read_radiograph(tmp_path / "two.tif")
    with pytest.raises(IntakeError, match="there is no such image"):
        read_radiograph(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(IntakeError, match="cannot be read as an image"):
        read_radiograph(tmp_path / "text.png")


def test_masks(tmp_path: Path) -> None:
    labels = np.zeros((40, 60), np.uint8)
    labels[5:20, 5:20], labels[5:20, 30:50] = 1, 2
    grey = Image.fromarray(labels)
    grey.save(tmp_path / "labels.png")
    palette = Image.fromarray(labels, "P")
    palette.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])  # green is brighter than red, and both count by their index
    palette.save(tmp_path / "palette.png")
    Image.fromarray((labels > 0).astype(np.uint8) * 255).save(tmp_path / "plain.png")
    Image.fromarray((labels == 2).astype(np.uint8)).save(tmp_path / "ones.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "labels.png", (40, 60)), labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "palette.png", (40, 60)), labels)
    np.testing.assert_array_equal(read_mask(tmp_path / "plain.png", (40, 60)), labels > 0)
    np.testing.assert_array_equal(read_mask(tmp_path / "ones.png", (40, 60)), labels == 2)
    Image.fromarray(labels[5:20, 30:50] - (np.arange(20) < 9).astype(np.uint8)).save(tmp_path / "full.png")
    assert sorted(np.unique(read_mask(tmp_path / "full.png", (15, 20)))) == [1, 2]
    kinds = np.where(labels == 2, 3, labels).astype(np.uint8)
    Image.fromarray(kinds).save(tmp_path / "kinds.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "kinds.png", (40, 60)), labels > 0)
    assert read_mask(tmp_path / "labels.png", (80, 120)).sum() == 4 * labels.sum()
    with pytest.raises(IntakeError, match="not the same field"):
        read_mask(tmp_path / "labels.png", (60, 40))
    with pytest.raises(IntakeError, match="there is no such mask"):
        read_mask(tmp_path / "none.png", (60, 40))
