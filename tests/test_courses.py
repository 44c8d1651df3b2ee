"""Disease courses over days, days of scans and the conditions of a scan."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from conftest import box_thorax

from drrval.disease import KINDS, PATTERNS, Pattern, disease_truth, insert_disease
from drrval.errors import StudyError
from drrval.simulation.conditions import Conditions, draw_conditions
from drrval.simulation.courses import SEVERITIES, Course, Severity, Wave, draw_course, draw_days

DAYS = np.arange(0.0, 60.0, 1.0)
ILL: tuple[Severity, ...] = ("mild", "moderate", "severe", "relapse")


def curve(course: Course) -> np.ndarray:
    return np.array([course.expected_percent(day) for day in DAYS])


def peaks(values: np.ndarray) -> list[int]:
    """Local maxima that stand out by a fifth of the highest."""
    from scipy.signal import find_peaks

    return list(find_peaks(np.concatenate([[0.0], values, [0.0]]), prominence=0.2 * values.max())[0] - 1)


def test_wave_is_smooth_and_halves_when_it_says() -> None:
    wave = Wave(start_day=2.0, peak_day=10.0, half_days=7.0)
    assert [wave.level(day) for day in (-1.0, 2.0, 6.0, 10.0, 17.0)] == pytest.approx([0.0, 0.0, 0.5, 1.0, 0.5])
    fine = np.array([wave.level(day) for day in np.arange(0.0, 40.0, 0.01)])
    assert np.abs(np.diff(fine)).max() < 0.01 * 1.5 / 8.0 + 1e-6  # the steepest part of a smoothstep of 8 days


@pytest.mark.parametrize("severity", ILL)
@pytest.mark.parametrize("pattern", PATTERNS)
def test_nothing_at_onset_then_a_peak_about_day_ten(severity: Severity, pattern: Pattern) -> None:
    for seed in range(8):
        course = draw_course(seed, severity, pattern)
        values = curve(course)
        assert course.at(0.0) == ()
        found = peaks(values)
        assert 9.0 <= DAYS[found[0]] <= 12.0
        assert abs(DAYS[found[0]] - course.peak_day) <= 1.5
        assert values[-1] < 0.35 * values.max()


def test_only_a_relapse_has_a_second_peak() -> None:
    for seed in range(12):
        relapse = draw_course(seed, "relapse")
        found = peaks(curve(relapse))
        assert len(found) == 2
        assert relapse.second_peak_day is not None
        assert abs(DAYS[found[1]] - relapse.second_peak_day) <= 1.5
        assert len(peaks(curve(draw_course(seed, "moderate")))) == 1


@pytest.mark.parametrize("severity", ILL)
def test_extent_and_density_change_gradually(severity: Severity) -> None:
    for seed in range(8):
        course = draw_course(seed, severity)
        values = curve(course)
        assert np.abs(np.diff(values)).max() <= 0.35 * values.max()
        for focus in course.foci:
            if focus.peak.kind != "ggo":
                continue
            hu = [next((x.hu for x in focus.at(day, 5000.0)), np.nan) for day in DAYS]
            steps = np.abs(np.diff(hu))
            assert np.nanmax(steps) <= 0.45 * (focus.peak.hu + 800.0)
            assert np.nanmax(hu) <= max(focus.peak.hu, -690.0) + 1e-9


def test_severity_orders_the_peaks_as_the_table_says() -> None:
    # Lanza et al., Eur Radiol 2020 (10.1007/s00330-020-07013-2): below 6 %, 6-23 %, above 23 % of the lungs.
    peak = {s: [curve(draw_course(seed, s)).max() for seed in range(30)] for s in ILL}
    assert max(peak["mild"]) <= 6.5
    assert 5.5 <= min(peak["moderate"]) <= max(peak["moderate"]) <= 23.5
    assert 21.0 <= min(peak["severe"]) <= max(peak["severe"]) <= 62.0
    medians = [np.median(peak[s]) for s in ("mild", "moderate", "severe")]
    assert medians == pytest.approx([4.0, 13.0, 36.0], rel=0.15)


def test_lesions_keep_their_place_and_their_look() -> None:
    course = draw_course(4, "severe")
    early, late = ({(x.side, x.centre, x.seed) for x in course.at(day)} for day in (6.0, 12.0))
    assert early
    assert early <= {(x.side, x.centre, x.seed) for day in DAYS for x in course.at(day)}
    assert len(early & late) >= 0.8 * len(early)


def test_ground_glass_comes_first_and_last() -> None:
    kinds = {day: {x.kind for s in range(6) for x in draw_course(s, "severe").at(day)} for day in (3.0, 10.5, 45.0)}
    assert kinds == {3.0: {"ggo"}, 10.5: set(KINDS), 45.0: {"ggo"}}


def test_no_disease_and_same_seed() -> None:
    healthy = draw_course(1, "none")
    assert healthy.at(10.0) == ()
    assert healthy.expected_percent(10.0) == 0.0
    assert draw_course(7, "relapse", "broncho") == draw_course(7, "relapse", "broncho")
    assert draw_course(7, "mild") != draw_course(8, "mild")
    assert set(SEVERITIES) == {"none", *ILL}


def test_larger_lungs_get_larger_lesions() -> None:
    course = draw_course(2, "moderate")
    small, large = course.at(10.0, 2500.0), course.at(10.0, 5000.0)
    ratio = [b.radii_mm[0] / a.radii_mm[0] for a, b in zip(small, large, strict=True)]
    assert ratio == pytest.approx([2.0 ** (1.0 / 3.0)] * len(ratio))


def test_inserted_extent_follows_the_course() -> None:
    ct = box_thorax(spacing_mm=4.0)
    lungs = np.where(ct.hu == -850.0, 1, 0).astype(np.uint8)
    lungs[:, :, 50:] *= 2
    lung_cm3 = (lungs > 0).sum() * ct.grid.voxel_volume_cm3
    course = draw_course(3, "severe")
    ratios = []
    for day in (0.0, 5.0, 10.5, 40.0):
        inserted = insert_disease(ct.hu, ct.grid, lungs, course.at(day, lung_cm3))
        ratios.append(disease_truth(lungs, inserted.lesions, ct.grid.voxel_volume_cm3)["ratio_percent"])
    assert ratios[0] == 0.0 < ratios[1] < ratios[2] > ratios[3]
    assert ratios[2] == pytest.approx(course.expected_percent(10.5), rel=0.4)  # of a typical lung, not of two columns


def test_days_are_those_of_a_clinic() -> None:
    drawn = [draw_days(seed, 6) for seed in range(200)]
    assert all(len(days) == 6 and list(days) == sorted(set(days)) for days in drawn)
    # Zhou et al. Eur Radiol 2020 (10.1007/s00330-020-07007-0): first CT on day 3 +- 2, then every 5 +- 2 days.
    assert np.mean([days[0] for days in drawn]) == pytest.approx(3.5, abs=0.7)
    early = [b - a for days in drawn for a, b in itertools.pairwise(days) if a < 20]
    assert np.mean(early) == pytest.approx(4.5, abs=0.5)
    assert len(set(early)) > 4
    assert draw_days(5, 3) == draw_days(5, 3) == draw_days(5, 6)[:3]
    assert len(draw_days(5, 1)) == 1


def test_conditions_differ_from_scan_to_scan() -> None:
    drawn = [draw_conditions(1, visit) for visit in range(100)]
    assert len({c.seed for c in drawn}) == 100
    assert all(0.8 <= c.inspiration <= 1.0 and max(map(abs, c.rotation_deg)) <= 8.0 for c in drawn)
    assert np.std([c.table_height_mm for c in drawn]) == pytest.approx(12.0, rel=0.3)
    still = draw_conditions(1, 3, nuisance=False)
    assert still == Conditions(seed=still.seed)
    assert draw_conditions(1, 3) == draw_conditions(1, 3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: draw_course(1, "awful"), r"severity='awful'\. Expected one of: 'none', 'mild'"),  # type: ignore[arg-type]
        (lambda: draw_course(1, "mild", "flu"), r"pattern='flu'\. Expected one of: 'covid'"),  # type: ignore[arg-type]
        (lambda: draw_course(-1, "mild"), r"seed=-1 is negative\. Choose"),
        (lambda: draw_days(1, 0), r"n=0 scans with seed=1\. Ask for at least one"),
    ],
)
def test_bad_values_are_explained(call: object, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        call()  # type: ignore[operator]
