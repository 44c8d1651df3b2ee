"""Disease courses and the simulated cohort."""

import itertools
import pickle

import numpy as np
import pytest

from drrval.errors import StudyError
from drrval.phantom import disease_course, simulate_cohort

SPACING = 5.0


def extent(lesions):
    return sum(float(np.prod(lesion.radii_mm)) for lesion in lesions)


@pytest.mark.parametrize("seed", range(6))
def test_course_rises_to_a_peak_about_day_ten_and_falls(seed):
    course = disease_course(seed, 12)
    days = [day for day, _ in course]
    sizes = [extent(lesions) for _, lesions in course]
    assert days == sorted(set(days))
    top = int(np.argmax(sizes))
    assert 7 <= days[top] <= 14
    assert sizes[0] < 0.7 * sizes[top]
    assert sizes[-1] < 0.7 * sizes[top]


def test_course_is_bilateral_and_mostly_peripheral_posterior_and_basal():
    lesions = [lesion for seed in range(10) for lesion in disease_course(seed, 1)[0][1]]
    assert {lesion.side for lesion in lesions} == {"right", "left"}
    lateral, back, up = np.mean([lesion.centre for lesion in lesions], axis=0)
    assert lateral > 0.65
    assert back > 0.6
    assert up < 0.45


def test_severity_orders_the_extent():
    sizes = [extent(disease_course(3, 1, severity=name)[0][1]) for name in ("mild", "moderate", "severe")]
    assert sizes == sorted(sizes)


def test_cohort_spans_mild_to_severe_and_every_scan_has_disease():
    ratios: dict[str, list[float]] = {}
    for recipe in simulate_cohort(4, 3, seed=11, spacing_mm=SPACING):
        ratios.setdefault(recipe.subject, []).append(recipe.make().truth["ratio_percent"])
    assert [len(r) for r in ratios.values()] == [3, 3, 3, 3]
    assert min(min(r) for r in ratios.values()) > 0
    assert max(max(r) for r in ratios.values()) > 30
    assert min(max(r) for r in ratios.values()) < 10
    steps = np.concatenate([np.diff(r) for r in ratios.values()])
    assert (steps > 0).any()
    assert (steps < 0).any()


def test_labels_count_subjects_and_sessions():
    cohort = simulate_cohort(2, 3, seed=1, spacing_mm=SPACING)
    labels = [(scan.subject, scan.session) for scan in cohort]
    assert labels == [(s, v) for s in ("01", "02") for v in ("01", "02", "03")]
    assert all(a.day < b.day for a, b in itertools.pairwise(cohort) if a.subject == b.subject)


def test_scan_does_not_depend_on_order_company_or_process():
    alone = simulate_cohort(1, 2, seed=7, spacing_mm=SPACING)[1]
    company = simulate_cohort(3, 2, seed=7, spacing_mm=SPACING)
    company[4].make()
    first = alone.make()
    second = pickle.loads(pickle.dumps(company[1])).make()
    assert first.volume.hu.tobytes() == second.volume.hu.tobytes()
    assert first.lesion.tobytes() == second.lesion.tobytes()
    assert first.truth == second.truth
    assert first.volume.name == "simulated subject 01, session 02"


def test_patients_differ_and_one_patient_keeps_the_anatomy():
    scans = [scan.make() for scan in simulate_cohort(2, 2, seed=2, spacing_mm=6.0)]
    assert scans[0].volume.grid.shape == scans[1].volume.grid.shape
    assert scans[0].volume.hu.tobytes() != scans[1].volume.hu.tobytes()
    assert scans[0].volume.grid.origin_mm != scans[2].volume.grid.origin_mm


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 3, 1, 2.0), r"patients=0 is outside 1\.\.99"),
        ((2, 13, 1, 2.0), r"n_timepoints=13 is outside 1\.\.12"),
        ((2, 3, -1, 2.0), r"seed=-1 is negative"),
        ((2, 3, 1, 0.5), r"spacing_mm=0\.5 is outside 1\.\.6"),
    ],
)
def test_bad_cohorts_are_refused(arguments, message):
    with pytest.raises(StudyError, match=message):
        simulate_cohort(*arguments)


def test_unknown_severity_is_refused():
    with pytest.raises(StudyError, match=r"severity='deadly'\. Expected one of: 'mild', 'moderate', 'severe'"):
        disease_course(1, 2, severity="deadly")  # type: ignore[arg-type]
