from dataclasses import replace

import numpy as np
import pytest
from conftest import box_thorax

from drrval.body import body_mask, find_body, isolate_body
from drrval.errors import IntakeError


def test_table_is_removed_and_body_kept() -> None:
    with_table, without = box_thorax(table=True), box_thorax(table=False)
    mask = body_mask(with_table, find_body(with_table))
    assert not mask[:, 70:72].any()
    # The skin is exact: every tissue voxel of the body is inside, every lung voxel too.
    tissue = without.hu > -800
    assert mask[tissue].all()
    assert mask[without.hu == -850].all()
    assert mask.sum() <= 1.02 * (tissue | (without.hu == -850)).sum()


def test_lungs_open_at_the_end_slices_are_filled() -> None:
    ct = box_thorax()
    cut = replace(ct, hu=ct.hu[20:40], grid=replace(ct.grid, shape=(20, *ct.hu.shape[1:])))
    assert body_mask(cut, find_body(cut))[cut.hu == -850].all()


def test_outside_becomes_air_and_inside_keeps_its_values() -> None:
    ct = box_thorax()
    body = find_body(ct)
    isolated = isolate_body(ct, body)
    mask = body_mask(ct, body)
    assert isolated.dtype == np.int16
    assert (isolated[~mask] == -1000).all()
    assert np.array_equal(isolated[mask], ct.hu[mask].astype(np.int16))


def test_table_touching_the_back_is_removed() -> None:
    ct = box_thorax(table=False)
    hu = ct.hu.copy()
    hu[:, 68:70, 5:95] = -100.0  # meets the lowest point of the ellipse
    mask = body_mask(ct, find_body(replace(ct, hu=hu)))
    assert not mask[:, 68:70, :30].any()
    assert not mask[:, 68:70, 70:].any()


def test_no_body_and_no_lungs_are_errors() -> None:
    ct = box_thorax()
    with pytest.raises(IntakeError, match="no body found"):
        find_body(replace(ct, hu=np.full_like(ct.hu, -1000)))
    with pytest.raises(IntakeError, match="no lungs to project"):
        find_body(replace(ct, hu=np.where(ct.hu == -850, 40, ct.hu).astype(np.float32)))
