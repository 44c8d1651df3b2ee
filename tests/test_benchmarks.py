"""The parts of the benchmark that measure nothing: its input, its bookkeeping, its tables."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

import benchmarks
from benchmarks import comparison, rendering, scaling
from benchmarks.__main__ import main
from benchmarks.case import camera_to_world, density, hounsfield, load_case
from benchmarks.environments import MeasurementError, last_error, measured
from benchmarks.measure import FEW_RUNS, RUNS, SLOW_S, peak_mb, repeated, reset_peak
from benchmarks.page import PAGE
from benchmarks.scan import (
    PANEL_MM,
    VIEWS,
    benchmark_ct,
    benchmark_geometry,
    centred,
    centred_grid,
    resampled,
    scan_name,
    write_case,
)
from drrval.volume import CTVolume, Grid
from validation.markdown import table

PEERS = Path(benchmarks.__file__).parent / "peers"
# The keys that readers of peers.json rely on.
PUBLISHED_KEYS = {
    *("tool", "version", "method", "volume", "detector", "materials", "threads"),
    *("median_s", "min_s", "max_s", "peak_rss_mb", "rel_rms"),
}


@pytest.fixture
def ct() -> CTVolume:
    """Values that differ along every axis, on voxels that differ along every axis."""
    hu = np.linspace(-1024.4, 1500.4, 3 * 4 * 5, dtype=np.float32).reshape(3, 4, 5)
    return centred(CTVolume(hu, Grid(hu.shape, (1.0, 2.0, 3.0), (70.0, -20.0, 8.0)), np.ones((4, 5), bool)))


@pytest.fixture
def case(ct, tmp_path):
    return write_case(ct, tmp_path)


def result(tool="peer", materials=1, seconds=(3.0, 1.0, 2.0)):
    return {
        "tool": tool,
        "version": "1",
        "method": "Siddon",
        "voxels": "float32 g/cm3",
        "materials": materials,
        "seconds": list(seconds),
        "peak_rss_mb": 10.0,
    }


def test_every_tool_gets_the_density_of_the_same_rounded_values(case, tmp_path):
    hu = hounsfield(tmp_path)
    assert hu.dtype == np.int16
    assert (hu.min(), hu.max()) == (-1024, 1500)
    # DeepDRR's lines, as its paper's code prints them.
    expected = np.maximum(np.minimum(0.001029 * hu + 1.03, 0.0005886 * hu + 1.03), 0.0)
    np.testing.assert_allclose(density(tmp_path), expected, rtol=1e-6, atol=1e-7)
    assert density(tmp_path).dtype == np.float32


def test_the_image_file_holds_the_same_volume_at_the_same_place(case, tmp_path):
    image = sitk.ReadImage(str(tmp_path / "density.mha"))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(image), density(tmp_path))
    index = (4, 1, 2)  # x, y, z
    expected = (case.index_to_world @ [*index, 1.0])[:3]
    np.testing.assert_allclose(image.TransformIndexToPhysicalPoint(index), expected)
    np.testing.assert_allclose(expected, [2.0, -1.0, 3.0])


def test_a_case_survives_its_file(case, tmp_path):
    assert load_case(tmp_path) == case


@pytest.mark.parametrize("view", VIEWS)
def test_all_views_have_the_stated_distances(view):
    geometry = benchmark_geometry(view, 64)
    assert np.linalg.norm(geometry.source_mm) == pytest.approx(1500.0)
    assert geometry.sid_mm == pytest.approx(1800.0)
    assert np.asarray(geometry.detector_centre_mm) @ geometry.normal == pytest.approx(300.0)
    assert geometry.pixel_mm * 64 == pytest.approx(PANEL_MM)


def test_the_oblique_view_is_parallel_to_no_volume_axis():
    geometry = benchmark_geometry("oblique")
    axes = np.abs([geometry.column_axis, geometry.row_axis, geometry.normal])
    assert axes.max() < np.cos(np.deg2rad(10.0))


@pytest.mark.parametrize("view", VIEWS)
def test_camera_coordinates_lead_to_the_pixel(view, case):
    geometry = benchmark_geometry(view)
    row, column = 100, 900
    u, v = (np.array([column, row]) - 511.5) * 0.42
    world = camera_to_world(case.views[view]) @ [u, v, 1800.0, 1.0]
    np.testing.assert_allclose(world[:3], geometry.pixel_position(row, column), atol=1e-9)


def test_resampling_keeps_positions_and_fills_with_air():
    z, y, x = np.mgrid[:4, :3, :6].astype(np.float32)
    ramp = 10.0 * x + 20.0 * y + 40.0 * z
    ct = centred(CTVolume(ramp, Grid(ramp.shape, (2.0, 2.0, 5.0), (0.0, 0.0, 0.0)), np.ones((3, 6), bool)))
    fine = resampled(ct, 8)
    assert fine.hu.shape == (8, 512, 512)
    assert fine.grid.spacing_mm == pytest.approx((12 / 512, 12 / 512, 2.5))
    at = np.array([0.7, -0.9, 2.2])
    index = tuple(np.rint(fine.grid.world_to_index(at)).astype(int))
    where = ct.grid.world_to_index(fine.grid.index_to_world(index))
    assert fine.hu[index] == pytest.approx(where @ [40.0, 20.0, 10.0], abs=1e-3)
    assert fine.hu[4, 10, 256] == -1000.0


def test_the_named_scan_is_read_and_centred(ct, tmp_path, monkeypatch):
    path = tmp_path / "scan.nii.gz"
    hu = np.full((24, 32, 32), -1000, np.int16)
    hu[:, 8:24, 6:26] = 40
    hu[:, 20:23, 14:18] = 700
    image = sitk.GetImageFromArray(hu)
    image.SetSpacing((4.0, 4.0, 5.0))
    image.SetOrigin((-100.0, 5.0, 900.0))
    sitk.WriteImage(image, str(path))
    monkeypatch.setenv("BENCH_CT", str(path))
    found = benchmark_ct()
    np.testing.assert_allclose(found.grid.centre_mm, 0.0, atol=1e-9)
    assert found.hu.shape == (24, 32, 32)
    assert scan_name() == "scan.nii.gz"


def test_fast_work_is_repeated_seven_times_and_slow_work_three():
    assert len(repeated(lambda: 0.1)) == RUNS == 7
    assert len(repeated(lambda: SLOW_S + 1.0)) == FEW_RUNS == 3
    assert len(repeated(lambda: 0.1, runs=2)) == 2


def test_peak_memory_sees_what_has_been_freed():
    before = reset_peak()
    np.ones(50_000_000, np.uint8)
    assert peak_mb() > before + 40.0
    assert reset_peak() < before + 40.0
    assert peak_mb() < before + 40.0


def test_a_row_has_the_published_keys_and_statistics(case):
    row = comparison.row(result(), "PA", case, (0.01, 0.002))
    assert set(row) >= PUBLISHED_KEYS
    assert (row["median_s"], row["min_s"], row["max_s"]) == (2.0, 1.0, 3.0)
    assert (row["volume"], row["detector"], row["threads"]) == ("5x4x3", "1024x1024", 2)
    assert row["note"] == "median of 3: slow"
    assert not comparison.row(result(seconds=[1.0] * 7), "PA", case, (0.01, 0.002))["note"]


def test_a_failed_peer_has_the_same_keys_and_its_reason(case):
    row = comparison.failed_row("RTK", "PA", "no such wheel")
    assert set(row) == set(comparison.row(result(), "PA", case, (None, None)))
    assert row["median_s"] is None
    assert "no such wheel" in comparison.peers_table([row])


def test_targets_compare_with_the_fastest_peer_of_the_view(case):
    rows = [
        comparison.row(result("drrval", seconds=[0.1]), "PA", case, (None, None)),
        comparison.row(result("drrval", 3, seconds=[0.5]), "PA", case, (0.0, 0.0)),
        comparison.row(result("fast", seconds=[4.0]), "PA", case, (0.0, 0.0)),
        comparison.row(result("slow", seconds=[9.0]), "PA", case, (0.0, 0.0)),
        comparison.failed_row("broken", "PA", "no"),
    ]
    one, three, oblique = comparison.TARGETS
    assert comparison.speedups(rows, one) == {"PA": pytest.approx(40.0)}
    assert comparison.speedups(rows, three) == {"PA": pytest.approx(8.0)}
    assert comparison.speedups(rows, oblique) == {}
    met = [line.split("|")[-2].strip() for line in comparison.targets_table(rows).splitlines()[2:]]
    assert met == ["yes", "no", "no"]


def test_relative_rms():
    assert comparison.relative_rms(np.array([1.0, 5.0]), np.array([1.0, 7.0])) == pytest.approx(np.sqrt(4 / 50))


def test_the_fitted_exponent_is_that_of_a_power_law():
    sizes = np.array([128.0, 256.0, 1024.0]) ** 3
    assert scaling.fitted_exponent(sizes, 3e-9 * sizes**0.7) == pytest.approx(0.7)


def test_exponents_take_the_size_that_grows():
    points = dict.fromkeys(point for sweep in scaling.SWEEPS.values() for point in sweep)
    rows = [
        {"view": view, "materials": m, "voxels_a_side": n, "pixels_a_side": d, "median_s": 1e-9 * n * d**2}
        for n, d in points
        for view, m in scaling.METHODS
    ]
    fits = {fit["grows"]: fit["exponent"] for fit in scaling.exponents(rows)}
    assert fits == {"voxels": pytest.approx(1 / 3), "pixels": pytest.approx(1.0), "both": pytest.approx(1.0)}


def test_a_cube_shows_the_whole_scan():
    scan = np.arange(2 * 3 * 4, dtype=np.int16).reshape(2, 3, 4)
    cube = scaling.cube(scan, 12)
    assert cube.shape == (12, 12, 12)
    np.testing.assert_array_equal(cube[::6, ::4, ::3], scan)
    np.testing.assert_array_equal(cube[5, 3, 2], scan[0, 0, 0])


def test_the_stages_are_functions_of_the_rendering():
    with rendering.stopwatch() as watch:
        assert all(getattr(module, name).__qualname__.startswith("Stopwatch") for module, name in rendering.STAGES)
    assert set(watch.seconds) == {rendering.REST}


def test_a_stage_within_a_stage_counts_once(monkeypatch):
    ticks = iter([0.0, 1.0, 4.0, 10.0])
    monkeypatch.setattr(rendering.time, "perf_counter", lambda: next(ticks))
    watch = rendering.Stopwatch()
    with watch.stage("outer"):
        watch.timed(lambda: None, "inner")()
    assert watch.seconds == {"outer": 7.0, "inner": 3.0}


def test_render_table_says_whether_the_aims_are_met():
    seconds = {"median_s": 2.0, "min_s": 1.0, "max_s": 3.0}
    figures = {
        **{"volume": "512x512x300", "detector": "1024x1024", "view": "PA", "runs": 7},
        "seconds": {"projection": seconds, rendering.TOTAL: seconds},
        "memory_mb": {"ct_float32": 315.0, "ct_as_int16": 157.0, "beyond_ct": 157.0},
        "memory_multiple_of_int16": 1.0,
    }
    text = rendering.render_table(figures)
    assert "measured 2.00 s: not met" in text
    assert "1.00 times the volume as int16" in text
    assert "at most 2.5: met" in text


@pytest.mark.parametrize("script", sorted(PEERS.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_peers_pin_every_package_and_need_nothing_of_drrval(script):
    pins = script.with_suffix(".txt").read_text().split()
    assert pins
    assert all("==" in pin for pin in pins)
    for path in (script, PEERS.parent / "case.py", PEERS.parent / "measure.py"):
        nodes = ast.walk(ast.parse(path.read_text()))
        froms = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
        ours = {name for name in froms if name and name.split(".")[0] in ("benchmarks", "drrval")}
        assert ours <= {"benchmarks.case", "benchmarks.measure"}
    assert script.stem in comparison.PEERS


def test_a_failed_process_gives_one_line():
    with pytest.raises(MeasurementError, match=r"No module named benchmarks\.peers\.none"):
        measured("benchmarks.peers.none", python=Path(sys.executable))


def test_last_error_starts_at_the_error():
    printed = "Traceback\n  File x\nRuntimeError: bad\n ITK ERROR:  region\n  Size: [0, 0]\n"
    assert last_error(printed) == "RuntimeError: bad ITK ERROR: region Size: [0, 0]"
    assert last_error("pip says\nERROR: no wheel\n") == "ERROR: no wheel"
    assert last_error("killed\n") == "killed"
    assert last_error("") == ""


def test_a_table_is_markdown():
    assert table(["a", "bcde"], [["1", "2"]]) == "| a   | bcde |\n| --- | ---- |\n| 1   | 2    |"


def test_the_page_has_a_place_for_every_table():
    page = PAGE.read_text(encoding="utf-8")
    for name in ("peers", "targets", "render", "scaling"):
        assert page.index(f"<!-- measured: {name} -->") < page.index(f"<!-- end: {name} -->")


def test_an_unknown_section_is_refused(capsys):
    assert main(["speed"]) == 2
    assert "Expected some of: peers, render, scaling" in capsys.readouterr().err


def test_a_centred_grid_is_centred():
    np.testing.assert_allclose(centred_grid((3, 4, 5), (1.0, 2.0, 3.0)).centre_mm, 0.0, atol=1e-12)
