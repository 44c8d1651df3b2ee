"""Planning virtual cohorts: who the patients are and which scans they get."""

import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from pydantic import ValidationError

from drrval.simulation import CourseSettings, SimulateSettings, simulate_cohort
from drrval.simulation.patients import draw_patient
from drrval.simulation.settings import ConfounderSettings


def settings(**values: object) -> SimulateSettings:
    return SimulateSettings.model_validate({"spacing_mm": 6.0, "confounders": {}, **values})


def test_labels_count_subjects_and_sessions():
    cohort = simulate_cohort(settings(patients=2, timepoints=3, seed=1))
    assert [(s.subject, s.session) for s in cohort] == [(p, v) for p in ("01", "02") for v in ("01", "02", "03")]
    assert all(a.day < b.day for a, b in itertools.pairwise(cohort) if a.subject == b.subject)
    assert simulate_cohort(settings(patients=120, timepoints=1))[0].subject == "001"


def test_a_patient_does_not_depend_on_the_size_of_the_cohort():
    few = simulate_cohort(settings(patients=2, timepoints=2, seed=7))
    many = simulate_cohort(settings(patients=9, timepoints=2, seed=7))
    assert many[: len(few)] == few


def test_a_patient_keeps_anatomy_and_course_while_conditions_differ():
    first, second = simulate_cohort(settings(patients=1, timepoints=2, seed=3))
    assert first.patient == second.patient
    assert first.conditions != second.conditions
    assert first.conditions.seed != second.conditions.seed


def test_without_nuisance_only_the_noise_differs():
    scans = simulate_cohort(settings(patients=2, timepoints=3, seed=3, nuisance=False))
    assert {(s.conditions.inspiration, s.conditions.rotation_deg) for s in scans} == {(1.0, (0.0, 0.0, 0.0))}
    assert len({s.conditions.seed for s in scans}) == len(scans)


def test_numbers_of_scans_stay_in_their_range_and_use_all_of_it():
    counts = Counter(s.subject for s in simulate_cohort(settings(patients=60, timepoints={"min": 1, "max": 6})))
    assert set(counts.values()) == {1, 2, 3, 4, 5, 6}


def test_severities_come_close_to_the_stated_shares_in_small_cohorts():
    given = CourseSettings.model_validate({"severity": {"none": 1, "mild": 2, "severe": 1}})
    for seed in range(5):
        drawn = Counter(draw_patient(given.model_copy(update={"seed": seed}), n).severity for n in range(1, 21))
        assert drawn.keys() == {"none", "mild", "severe"}
        for name, share in (("none", 0.25), ("mild", 0.5), ("severe", 0.25)):
            assert abs(drawn[name] - 20 * share) <= 2  # the discrepancy of golden-ratio steps; binomial draws have sd 2


def test_findings_follow_their_probabilities():
    always = ConfounderSettings(effusion=1, atelectasis=0, nodules=0, emphysema=0, tubes=0, leads=1)
    patients = [draw_patient(CourseSettings(confounders=always), n) for n in range(1, 9)]
    assert {p.confounders for p in patients} == {("effusion", "leads")}
    half = always.model_copy(update={"effusion": 0.5})
    shown = [
        bool(draw_patient(CourseSettings(confounders=half), n).confounders[0] == "effusion") for n in range(1, 401)
    ]
    assert abs(np.mean(shown) - 0.5) < 4 * np.sqrt(0.25 / 400)


def test_recipes_are_small_and_pickle():
    recipe = simulate_cohort(settings(patients=1, timepoints=1))[0]
    text = pickle.dumps(recipe)
    assert pickle.loads(text) == recipe
    assert len(text) < 4000


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"patients": 0}, "greater than or equal to 1"),
        ({"seed": -1}, "greater than or equal to 0"),
        ({"spacing_mm": 0.3}, r"every spacing must lie between 0\.5 and 8 mm"),
        ({"spacing_mm": [1, 1, 9]}, "every spacing must lie"),
        ({"protocol": "sharp"}, "unknown protocol 'sharp'; expected one of: thin, standard"),
        ({"timepoints": {"min": 4, "max": 2}}, "min 4 is above max 2"),
        ({"timepoints": 0}, "greater than or equal to 1"),
        ({"severity": {"mild": 0}}, "weights of 0 or more, one of them above 0"),
        ({"severity": {"deadly": 1}}, "'none', 'mild', 'moderate', 'severe' or 'relapse'"),
        ({"pattern": {"covid": -1, "lobar": 2}}, "weights of 0 or more"),
        ({"confounders": {"effusion": 2}}, "less than or equal to 1"),
    ],
)
def test_bad_settings_name_the_rule(values, message):
    with pytest.raises(ValidationError, match=message):
        SimulateSettings.model_validate(values)
