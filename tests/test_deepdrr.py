"""The DeepDRR backend: its camera, the driver against a stand-in package, its errors, and DeepDRR where it can run."""

from __future__ import annotations

import json
import sys
import textwrap
from dataclasses import replace

import numpy as np
import pytest
from conftest import box_thorax
from scipy.ndimage import gaussian_filter

from drrval.deepdrr import project_deepdrr
from drrval.deepdrr.camera import pinhole_camera
from drrval.deepdrr.interpreter import PYTHON_VARIABLE, check_deepdrr
from drrval.errors import BackendError, DrrvalError
from drrval.geometry import view_geometry
from drrval.materials import MATERIALS, decompose, density_model, hu_to_density
from drrval.physics.transmission import beam_quadrature, transmission
from drrval.projection import project
from drrval.settings import DetectorSettings, MaterialSettings, SpectrumSettings
from drrval.volume import Grid

TURN = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
GRID = Grid((5, 4, 6), (1.5, 2.0, 3.0), (-4.0, 7.0, 11.0), TURN)

# A package named deepdrr with the part of its interface that the worker uses. Its rays run along the voxel rows of y,
# one for each (z, x), and it keeps a record of how it was called.
STAND_IN = {
    "deepdrr/__init__.py": """
        import json, os
        import numpy as np
        from deepdrr import geo
        from deepdrr.material import Material

        class Volume:
            def __init__(self, data, materials, anatomical_from_IJK, anatomical_coordinate_system):
                self.data, (self.names, self.labels) = data, materials
                self.record = {"affine": anatomical_from_IJK.data.tolist(), "system": anatomical_coordinate_system,
                               "data": data.tolist(), "names": self.names, "labels": self.labels.tolist()}

        class Projector:
            def __init__(self, volume, camera_intrinsics, spectrum, **settings):
                self.volume, self.spectrum = volume, spectrum
                self.record = {**volume.record, **settings, "spectrum": spectrum.tolist(),
                               "size": [camera_intrinsics.sensor_height, camera_intrinsics.sensor_width]}
            def __enter__(self):
                return self
            def __exit__(self, *_):
                pass
            def project(self, camera):
                if os.environ.get("FAIL"):
                    raise RuntimeError(os.environ["FAIL"])
                self.record["camera"] = (camera.intrinsic.data @ camera.extrinsic.data[:3]).tolist()
                with open(os.environ["RECORD"], "a") as file:
                    file.write(json.dumps(self.record) + "\\n")
                energies, weights = self.spectrum[:, 0] / 1000, self.spectrum[:, 1] / self.spectrum[:, 1].sum()
                areas = {n: (self.volume.data * (self.volume.labels == i)).sum(axis=1).T
                         for n, i in self.volume.names.items()}
                def passed(energy):
                    return np.exp(-sum(Material.from_string(n).get_coefficients(energy).mu_over_rho * a
                                       for n, a in areas.items()))
                return sum(w * e * passed(e) for e, w in zip(energies, weights)).astype(np.float32)
    """,
    "deepdrr/geo.py": """
        from types import SimpleNamespace
        def FrameTransform(data):
            return SimpleNamespace(data=data)
        def CameraIntrinsicTransform(data, sensor_height, sensor_width):
            return SimpleNamespace(data=data, sensor_height=sensor_height, sensor_width=sensor_width)
        def CameraProjection(intrinsic, extrinsic):
            return SimpleNamespace(intrinsic=intrinsic, extrinsic=extrinsic)
    """,
    "deepdrr/material.py": """
        from types import SimpleNamespace
        STRENGTH = {"air": 1.0, "soft tissue": 1.1, "bone": 3.0}
        class Material:
            @staticmethod
            def from_string(name):
                return SimpleNamespace(get_coefficients=lambda e: SimpleNamespace(mu_over_rho=STRENGTH[name] * 6 / e))
    """,
    "deepdrr/projector/__init__.py": "",
    "deepdrr/projector/spectral_data.py": """
        import numpy as np
        spectrums = {"120KV_AL43": np.array([[40000.0, 1.0], [80000.0, 3.0]])}
    """,
    "deepdrr-1.2.2.dist-info/METADATA": """
        Metadata-Version: 2.1
        Name: deepdrr
        Version: 1.2.2
    """,
}


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """The stand-in, found by the running interpreter; returns the path of its record."""
    for name, text in STAND_IN.items():
        file = tmp_path / "site" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text).strip() + "\n")
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    monkeypatch.setenv("RECORD", str(tmp_path / "record.jsonl"))
    return tmp_path / "record.jsonl"


def some_hu() -> np.ndarray:
    return np.random.default_rng(3).integers(-1000, 1500, GRID.shape).astype(np.int16)


def view_of(view="PA", **changes):
    """A view whose detector has one pixel for each ray of the stand-in."""
    settings = {"rows": 8, "columns": 9, "pixel_mm": 3.0, "sid_mm": 1200}
    return view_geometry(view, isocentre_mm=GRID.centre_mm, **{**settings, **changes})


def projected(geometry, spectrum=None, detector=None):
    return project_deepdrr(
        some_hu(),
        GRID,
        geometry,
        MaterialSettings(air_max_hu=-700),
        spectrum=spectrum or SpectrumSettings(),
        detector=detector or DetectorSettings(),
    )


def poses():
    front = view_of(rows=300, columns=200)
    shifted = (
        np.asarray(front.detector_centre_mm) + 31 * np.asarray(front.column_axis) - 17 * np.asarray(front.row_axis)
    )
    return {
        "PA": front,
        "AP": view_of("AP"),
        "LL": view_of("LL"),
        "turned": view_of("AP").rotated((1, 2, 3), 35, GRID.centre_mm),
        "panel off the central ray": replace(front, detector_centre_mm=tuple(shifted)),
    }


@pytest.mark.parametrize("pose", poses())
def test_the_camera_images_landmarks_where_the_view_does(pose):
    geometry = poses()[pose]
    camera = pinhole_camera(geometry)
    landmarks = GRID.centre_mm + np.random.default_rng(0).normal(0, 60, (50, 3))
    x, y, depth = camera.intrinsic @ (camera.extrinsic @ np.append(landmarks, np.ones((50, 1)), axis=1).T)[:3]
    assert depth.min() > 0
    columns, rows = x / depth - 0.5, y / depth - 0.5  # pixel centres lie at 0.5 in DeepDRR
    if camera.mirrored:
        columns = geometry.shape[1] - 1 - columns
    np.testing.assert_allclose(np.stack([rows, columns], axis=1), geometry.project_points(landmarks), atol=1e-6)


@pytest.mark.parametrize(("pose", "mirrored"), [("PA", True), ("AP", False), ("LL", True), ("turned", False)])
def test_the_camera_is_right_handed_and_mirrors_views_seen_against_the_beam(pose, mirrored):
    camera = pinhole_camera(poses()[pose])
    assert np.linalg.det(camera.extrinsic[:3, :3]) == pytest.approx(1.0)
    assert camera.mirrored is mirrored
    image = np.arange(6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_array_equal(camera.as_viewed(image)[0], [2, 1, 0] if mirrored else [0, 1, 2])


@pytest.mark.parametrize("view", ["PA", "AP"])
def test_area_densities_and_signal_come_back_in_the_orientation_of_the_view(stand_in, view):
    images = projected(view_of(view))
    hu = some_hu()
    labels = decompose(hu, MaterialSettings(air_max_hu=-700))
    areas = np.zeros((3, 8, 9))
    areas[:, 1:-2, 1:-2] = [(hu_to_density(hu) * (labels == m)).sum(axis=1) for m in range(3)]
    strength = np.array([1.0, 1.1, 3.0])[:, None, None]
    signal = sum(share * np.exp(-(strength * 6 / e * areas).sum(axis=0)) for e, share in ((40, 1 / 7), (80, 6 / 7)))
    order = slice(None, None, -1 if view == "PA" else 1)
    assert images.signal.dtype == images.area_density.dtype == np.float32
    np.testing.assert_allclose(images.area_density, areas[..., order], atol=1e-4)
    np.testing.assert_allclose(images.signal, signal[..., order], rtol=1e-5)


def test_deepdrr_is_given_the_view_the_materials_and_raw_primary_intensity(stand_in):
    geometry = view_of("LL")
    projected(geometry)
    *_, last = calls = [json.loads(line) for line in stand_in.read_text().splitlines()]
    camera = pinhole_camera(geometry)
    assert len(calls) == 4
    for call in calls:
        assert (call["neglog"], call["add_noise"], call["scatter_num"]) == (False, False, 0)
        assert (call["step"], call["system"], call["size"]) == (0.1, "LPS", [8, 9])
        assert call["source_to_detector_distance"] == pytest.approx(1200)
        np.testing.assert_allclose(call["camera"], camera.intrinsic @ camera.extrinsic[:3])
    assert last["spectrum"] == [[40000.0, 1.0], [80000.0, 3.0]]
    named = np.array(sorted(last["names"], key=last["names"].get))[np.array(last["labels"])]
    expected = np.array(["air", "soft tissue", "bone"])[decompose(some_hu(), MaterialSettings(air_max_hu=-700))]
    np.testing.assert_array_equal(named[1:-2, 1:-2, 1:-2], expected.transpose(2, 1, 0))


def test_the_affine_undoes_deepdrrs_shift_by_one_voxel(stand_in):
    projected(view_of())
    call = json.loads(stand_in.read_text().splitlines()[-1])
    data, affine = np.array(call["data"]), np.array(call["affine"])
    density = hu_to_density(some_hu())
    for z, y, x in ((0, 0, 0), (4, 3, 5), (2, 1, 3)):
        index = np.linalg.solve(affine, np.append(GRID.index_to_world((z, y, x)), 1.0))[:3]
        i, j, k = np.rint(index - 1).astype(int)  # the voxel that DeepDRR 1.2.2 reads for this index
        np.testing.assert_allclose(index - 1, [i, j, k], atol=1e-9)
        assert data[i, j, k] == pytest.approx(density[z, y, x], abs=1e-6)


@pytest.mark.parametrize(
    ("spectrum", "detector", "message"),
    [
        ({"kvp": 110}, {}, r"no spectrum of 110 kV with 4.3 mm Al.*60 kV with 3.5 mm Al, 90 kV.*120 kV with 4.3"),
        ({"filtration_mm_al": 3}, {}, r"no spectrum of 120 kV with 3 mm Al"),
        ({"anode_angle_deg": 9}, {}, r"anode angle of 9 degrees.*default anode angle"),
        ({}, {"response": "photon-counting"}, r"photon-counting.*Set its response to energy-integrating"),
        ({}, {"csi_mg_cm2": 150}, r"csi_mg_cm2=150.*csi_mg_cm2 to None"),
    ],
)
def test_settings_that_deepdrr_does_not_offer(spectrum, detector, message):
    with pytest.raises(DrrvalError, match=message):
        projected(view_of(), SpectrumSettings(**spectrum), DetectorSettings(**detector))


def test_a_missing_package_is_named_with_the_remedy(monkeypatch):
    monkeypatch.delenv(PYTHON_VARIABLE, raising=False)
    if "deepdrr" not in check_deepdrr()["missing"]:
        pytest.skip("DeepDRR is installed here")
    with pytest.raises(BackendError, match=rf"missing here: .*deepdrr\. .*{PYTHON_VARIABLE}.*drrval doctor"):
        projected(view_of())


def test_a_failure_inside_deepdrr_is_passed_on(stand_in, monkeypatch):
    monkeypatch.setenv("FAIL", "no EGL device")
    with pytest.raises(BackendError, match=r"failed in .*RuntimeError: no EGL device\. .*drrval doctor"):
        projected(view_of())


def test_an_import_that_fails_names_what_is_missing(stand_in):
    (stand_in.parent / "site/deepdrr/__init__.py").write_text("import cupy\n")
    with pytest.raises(BackendError, match=r"cannot import DeepDRR \(.*cupy.*missing here: .*cupy"):
        projected(view_of())


def test_another_version_is_refused(stand_in):
    site = stand_in.parent / "site"
    (site / "deepdrr-1.2.2.dist-info").rename(site / "deepdrr-1.3.0.dist-info")
    (site / "deepdrr-1.3.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: deepdrr\nVersion: 1.3.0\n")
    with pytest.raises(BackendError, match=r"deepdrr 1.3.0 is installed, and drrval drives 1.2.2"):
        projected(view_of())


def test_an_interpreter_that_is_not_there(monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, "/no/such/python")
    with pytest.raises(BackendError, match=rf"{PYTHON_VARIABLE}='/no/such/python' is not a program"):
        projected(view_of())


def test_the_check_names_missing_modules_and_their_packages(stand_in, monkeypatch):
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    report = check_deepdrr()
    assert report["versions"]["deepdrr"] == "1.2.2"
    assert "deepdrr" not in report["missing"]
    assert report["missing"]["cuda.cudart"] == "cuda-python<13"
    numpy_is_new = int(np.__version__.partition(".")[0]) >= 2
    assert any("numpy<2" in problem for problem in report["problems"]) == numpy_is_new


@pytest.fixture(scope="module")
def real_deepdrr():
    try:
        report = check_deepdrr()
    except BackendError as error:
        pytest.skip(str(error))
    if report["missing"] or report["problems"]:
        pytest.skip(f"DeepDRR cannot run: missing {sorted(report['missing'])}; {'; '.join(report['problems'])}")


def relative_rms(image, reference) -> float:
    return float(np.sqrt(np.mean((image - reference) ** 2) / np.mean(reference**2)))


@pytest.mark.gpu
@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_deepdrr_agrees_with_our_projector(real_deepdrr, view):
    ct = box_thorax(table=False, spacing_mm=3.0)
    hu, grid = gaussian_filter(ct.hu, 1.0).astype(np.int16), ct.grid  # edges about as soft as a CT's
    geometry = view_geometry(view, isocentre_mm=grid.centre_mm, rows=128, columns=128, pixel_mm=3.2)
    beam, receptor = SpectrumSettings(), DetectorSettings()
    theirs = project_deepdrr(hu, grid, geometry, MaterialSettings(), spectrum=beam, detector=receptor)
    ours = project(hu, grid, geometry, density_model())
    signal, _ = transmission(ours, beam_quadrature(beam, receptor))
    assert relative_rms(theirs.area_density.sum(axis=0), ours.sum(axis=0)) < 0.005
    # DeepDRR interpolates density and labels apart, which moves density between the materials at their boundaries.
    for m, tolerance in zip(range(len(MATERIALS)), (0.4, 0.06, 0.06), strict=True):
        assert relative_rms(theirs.area_density[m], ours[m]) < tolerance, MATERIALS[m]
    assert relative_rms(theirs.signal, signal) < 0.01


@pytest.mark.gpu
@pytest.mark.parametrize("view", ["PA", "AP", "LL"])
def test_deepdrr_shows_markers_where_the_view_says(real_deepdrr, view):
    grid = Grid((40, 50, 60), (2.0, 1.5, 3.0), (-30.0, -20.0, -50.0))
    markers = np.array([(8, 10, 12), (30, 20, 50), (12, 40, 33)])
    hu = np.full(grid.shape, -1000, np.int16)
    hu[tuple(markers.T)] = 3000
    geometry = view_geometry(view, isocentre_mm=grid.centre_mm, rows=200, columns=240, pixel_mm=1.0)
    settings = {"spectrum": SpectrumSettings(), "detector": DetectorSettings()}
    bone = project_deepdrr(hu, grid, geometry, MaterialSettings(), **settings).area_density[2]
    for expected in geometry.project_points(grid.index_to_world(markers)):
        corner = np.rint(expected).astype(int) - 6
        window = np.clip(bone[corner[0] : corner[0] + 13, corner[1] : corner[1] + 13], 0, None)
        seen = [np.average(axis, weights=window) for axis in np.indices(window.shape)] + corner
        np.testing.assert_allclose(seen, expected, atol=0.5)
