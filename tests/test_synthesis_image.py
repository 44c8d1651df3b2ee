"""What is drawn for an image, what is laid over it, and how it is displayed."""

from __future__ import annotations

from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from synthesis_factory import chest, settings

from drrval.errors import StudyError
from drrval.synthesis import Draw, PreparedScan, SynthesisSettings, draw_image, load_synthesis, make_image, prepare
from drrval.synthesis.devices import draw_devices, lung_frame
from drrval.synthesis.draw import Processing
from drrval.synthesis.markers import draw_stamps
from drrval.synthesis.processing import brightness

QUIET = settings()
LOUD = SynthesisSettings.model_validate(
    {"name": "loud", "cohorts": [{"glob": {}}], "views": {"PA": 1, "AP": 1, "LL": 1}, "overlays": {"marker": 1}}
)
PLAIN = Processing("plain", 1.0, 99.0, 1.0, 0.0, 0.0, 2.0, 1.0, 0.01, 1.0, 0.0)


@pytest.fixture(scope="module")
def prepared() -> PreparedScan:
    return prepare(chest())


def test_a_seed_decides_everything_that_is_drawn() -> None:
    assert draw_image(LOUD, 5) == draw_image(LOUD, 5)
    assert draw_image(LOUD, 5) != draw_image(LOUD, 6)


def test_draws_stay_in_their_ranges() -> None:
    for seed in range(200):
        drawn = draw_image(LOUD, seed)
        taken, ranges = drawn.acquisition, LOUD.acquisition
        assert ranges.sid_mm[taken.view][0] <= taken.sid_mm <= ranges.sid_mm[taken.view][1]  # type: ignore[index]
        assert all(abs(turn) <= top for turn, top in zip(taken.rotation_deg, ranges.rotation_deg, strict=True))
        assert ranges.air_kerma_ugy[0] <= taken.air_kerma_ugy <= ranges.air_kerma_ugy[1]
        assert any(taken.view in b.views and taken.kvp == b.kvp for b in ranges.beams)
        assert LOUD.processing.gamma[0] <= drawn.processing.gamma <= LOUD.processing.gamma[1]


@pytest.mark.parametrize("seed", range(12))
def test_the_marker_is_on_the_side_that_it_names(seed: int) -> None:
    drawn = draw_image(LOUD, seed)
    field = np.ones((200, 180), bool)
    for view in ("PA", "AP"):
        for text in ("R", "L"):
            overlays = replace(drawn.overlays, marker=text, text=False)
            (stamp,) = draw_stamps(overlays, view, field, 2.0, np.random.default_rng(seed))
            ink = np.argwhere(stamp.on((200, 180)) > 0.5)
            assert stamp.text == text
            assert (ink[:, 1].max() < 90) if text == "R" else (ink[:, 1].min() > 90)


def test_a_lead_marker_shows_white_and_only_where_the_beam_is(prepared: PreparedScan) -> None:
    fine = settings(size=256)  # letters of a centimetre need pixels of a millimetre or two
    base = draw_image(fine, 3)
    marked = replace(base, overlays=replace(base.overlays, marker="L", lead_marker=True))
    without, image = (make_image(prepared, d, fine) for d in (base, marked))
    (stamp,) = image.stamps
    ink = stamp.on(image.image.shape) > 0.8
    assert ink.any()
    assert image.image[ink].mean() > without.image[ink].mean()
    assert image.image[ink].mean() > np.percentile(image.image, 80)
    dark = draw_stamps(marked.overlays, "PA", np.zeros((96, 96), bool), 4.0, np.random.default_rng(0))
    assert not dark[0].lead


def test_writing_is_recorded_and_burnt_in(prepared: PreparedScan) -> None:
    base = draw_image(QUIET, 3)
    image = make_image(prepared, replace(base, overlays=replace(base.overlays, text=True)), QUIET)
    (stamp,) = image.stamps
    assert stamp.text in ("PA", "ERECT", "PA ERECT", "UPRIGHT")
    assert image.image[stamp.on(image.image.shape) > 0.99].min(initial=65535) > 64000


def test_tubes_and_leads_add_mass_but_change_no_label(prepared: PreparedScan) -> None:
    base = draw_image(QUIET, 3)
    image = make_image(prepared, replace(base, overlays=replace(base.overlays, leads=True, tubes=True)), QUIET)
    bare = make_image(prepared, base, QUIET)
    assert "ecg_leads" in image.devices
    assert len(image.devices) > 1
    assert not np.array_equal(image.image, bare.image)
    assert all(np.array_equal(image.labels.masks[n], bare.labels.masks[n]) for n in bare.labels.masks)


def test_a_straight_tube_has_the_mass_of_its_wall() -> None:
    frame = lung_frame(np.ones((200, 200), bool), 0.5)
    image, names = draw_devices(frame, leads=False, tubes=True, rng=np.random.default_rng(0))
    assert names
    assert image.min() >= 0
    # The central line: a wall between radii of 1.2 and 0.5 mm at 0.9 g/cm3 is 0.9 pi (0.12^2 - 0.05^2) = 0.0337 g/cm.
    from drrval.synthesis import devices

    line = np.zeros((200, 60), np.float32)
    devices._tube(line, np.array([[-20.0, 30.2], [220.0, 30.2]]), devices._LINE, 0.5)
    per_cm = line[100].sum() * 0.05
    assert per_cm == pytest.approx(0.9 * np.pi * (0.12**2 - 0.05**2), rel=0.12)


def test_an_inverted_image_is_the_negative(prepared: PreparedScan) -> None:
    base = draw_image(QUIET, 3)
    image = make_image(prepared, replace(base, overlays=replace(base.overlays, inverted=True)), QUIET)
    bare = make_image(prepared, base, QUIET)
    assert np.abs(image.image.astype(int) + bare.image - 65535).max() <= 1


def test_compression_changes_the_8_bit_image_alone(prepared: PreparedScan) -> None:
    base = draw_image(QUIET, 3)
    image = make_image(prepared, replace(base, overlays=replace(base.overlays, jpeg_quality=50)), QUIET)
    bare = make_image(prepared, base, QUIET)
    assert np.array_equal(image.image, bare.image)
    assert 0 < np.abs(image.image8.astype(int) - bare.image8).mean() < 8


@pytest.mark.parametrize("style", ["plain", "unsharp", "multi-frequency", "clahe"])
def test_more_tissue_is_brighter_in_every_style(style: str) -> None:
    steps = np.repeat(np.exp(-np.linspace(0.4, 4.0, 6)), 40).astype(np.float32)
    wedge = np.tile(steps, (160, 1))
    drawn = replace(PLAIN, style=style, detail_gain=0.5)
    shown = brightness(wedge, np.ones(wedge.shape, bool), drawn, 1.0)
    middles = shown[80, 20::40]
    assert 0 <= shown.min() <= shown.max() <= 1
    assert all(a < b for a, b in pairwise(middles[:-1]))


def test_a_plain_display_is_linear_in_the_logarithm() -> None:
    logs = np.linspace(0.5, 4.5, 1001)
    shown = brightness(np.exp(-logs)[None].astype(np.float32), np.ones((1, 1001), bool), PLAIN, 1.0)[0]
    low, high = np.percentile(logs, [1, 99])
    assert shown == pytest.approx(np.clip((logs - low) / (high - low), 0, 1), abs=1e-5)


def test_what_is_drawn_is_json_ready() -> None:
    drawn = asdict(draw_image(LOUD, 1))
    assert all(
        not isinstance(v, np.generic) for part in drawn.values() if isinstance(part, dict) for v in part.values()
    )
    assert isinstance(draw_image(LOUD, 1), Draw)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\ncohorts: [{glob: {}, table: a.tsv}]", "needs exactly one of simulate, .*labelled; got"),
        ("name: x\ncohorts: [{glob: {}}]\nsplit: {train: 0.5}", "it must be 1"),
        ("name: x\ncohorts: [{glob: {}}]\nviews: {PA: 0}", "one of them above 0"),
        ("name: x\ncohorts: [{glob: {}}]\nacquisition: {grid_ratio: [9, 6]}", r"must be \[low, high\]"),
        ("name: x\ncohorts: [{glob: {}}]\nacquisition: {beams: [{views: [AP]}]}", "no tube for view PA"),
        ("name: x\ncohorts: [{glob: {}}]\nsizes: 3", "unknown key"),
    ],
)
def test_settings_that_break_a_rule_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "set.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StudyError, match=message):
        load_synthesis(path)


def test_the_example_is_valid() -> None:
    example = load_synthesis(Path(__file__).parents[1] / "studies" / "synthesis.yaml")
    assert example.cohorts[0].simulate is not None
