"""Table, clothing and leads around the phantom."""

import copy
from functools import cache

import numpy as np
import pytest
from scipy import ndimage as ndi

from drrval.errors import StudyError
from drrval.phantom.accessories import Accessories, paint_accessories, random_accessories
from drrval.phantom.anatomy import Anatomy
from drrval.phantom.body_wall import body_box, paint_body_wall
from drrval.phantom.canvas import Canvas
from drrval.phantom.labels import Label

PATIENT = Anatomy()
ALL = Accessories(mattress=True, shirt=True, buttons=True, zip=True, bra_hook=True, leads=6, seed=4)


@cache
def undressed(spacing: float) -> Canvas:
    low, high = body_box(PATIENT)
    canvas = Canvas(low - np.array([12, 18, 0]), high + np.array([12, 84, 0]), spacing)
    paint_body_wall(canvas, PATIENT)
    return canvas


def dressed(accessories: Accessories, spacing: float = 3.0) -> Canvas:
    canvas = copy.deepcopy(undressed(spacing))
    paint_accessories(canvas, PATIENT, accessories)
    return canvas


@pytest.fixture(scope="module")
def bare() -> Canvas:
    return dressed(Accessories(table=False))


@pytest.fixture(scope="module")
def everything() -> Canvas:
    return dressed(ALL)


def test_only_the_table_by_default(bare):
    assert np.unique(bare.labels).max() < Label.TABLE
    usual = dressed(Accessories())
    assert set(np.unique(usual.labels[usual.labels >= Label.TABLE])) == {Label.TABLE}


def test_nothing_changes_the_patient(bare, everything):
    patient = bare.labels > 0
    assert np.array_equal(bare.labels[patient], everything.labels[patient])
    assert np.array_equal(bare.hu[patient], everything.hu[patient])
    assert (everything.hu >= bare.hu - 1e-3).all(), "only air is filled"


def test_table_lies_behind_the_patient_and_is_a_light_shell(bare):
    canvas = dressed(Accessories())
    table = canvas.labels == Label.TABLE
    rows = [np.flatnonzero(mask.any(axis=(0, 2))) for mask in (table, bare.labels > 0)]
    middle = canvas.labels.shape[2] // 2
    highest = np.flatnonzero(table[:, :, middle].any(axis=0))[0]
    assert highest > rows[1][-1]
    assert ndi.label(table)[1] == 1
    values = canvas.hu[table]
    assert np.median(values) < -900, "mostly foam"
    assert values.max() > -300
    assert not (table & ndi.binary_dilation(bare.labels > 0)).any(), "it touches no one"
    whole = table.all(axis=0)
    assert np.ptp(canvas.hu[:, whole], axis=0).max() < 1e-3, "alike along its length"
    assert np.count_nonzero(whole) > 0.95 * np.count_nonzero(table[50])


def test_mattress_lifts_the_patient_off_the_table():
    soft, hard = dressed(Accessories(mattress=True)), dressed(Accessories())
    middle = soft.labels.shape[2] // 2
    foam = soft.hu[5, :, middle]
    assert np.count_nonzero((foam > -960) & (foam < -850)) * 3.0 >= 6
    shells = [np.flatnonzero(c.hu[5, :, middle] > -400)[-1] for c in (soft, hard)]
    assert shells[0] > shells[1]


def test_clothing_is_a_thin_sheet_around_the_trunk(bare):
    canvas = dressed(Accessories(table=False, shirt=True, seed=2))
    cloth = canvas.labels == Label.CLOTHING
    assert cloth.any()
    distance = ndi.distance_transform_edt(bare.labels == 0, sampling=3.0)
    assert distance[cloth].max() < 30
    assert canvas.hu[cloth].max() < -300


def test_each_thing_can_be_chosen(bare):
    for chosen, label in (
        (Accessories(table=False, buttons=True), Label.CLOTHING),
        (Accessories(table=False, zip=True), Label.CLOTHING),
        (Accessories(table=False, bra_hook=True), Label.CLOTHING),
        (Accessories(table=False, leads=3), Label.LEAD),
    ):
        canvas = dressed(chosen)
        found = canvas.labels > 199
        assert set(np.unique(canvas.labels[found])) == {label}, chosen
        assert np.abs(canvas.hu - bare.hu)[~found].max() < 2000


def test_every_electrode_has_a_dense_snap():
    canvas = dressed(Accessories(table=False, leads=4), 1.5)
    lead = canvas.labels == Label.LEAD
    _, count = ndi.label(ndi.binary_dilation(ndi.binary_opening(lead, iterations=1), iterations=3))
    assert count >= 4
    assert canvas.hu[lead].max() > 1500


def test_same_seed_same_things():
    assert random_accessories(7, female=True) == random_accessories(7, female=True)
    first, again, other = (dressed(Accessories(shirt=True, leads=3, seed=s), 5.0) for s in (1, 1, 2))
    assert first.hu.tobytes() == again.hu.tobytes()
    assert first.hu.tobytes() != other.hu.tobytes()


def test_drawn_accessories_vary_and_hooks_belong_to_women():
    drawn = [random_accessories(seed, female=False) for seed in range(60)]
    assert len(set(drawn)) > 40
    assert not any(a.bra_hook for a in drawn)
    assert 0 < sum(a.shirt for a in drawn) < 60
    assert all(a.shirt for a in drawn if a.buttons or a.zip)


def test_too_many_leads_are_refused():
    with pytest.raises(StudyError, match="leads=9"):
        Accessories(leads=9)
