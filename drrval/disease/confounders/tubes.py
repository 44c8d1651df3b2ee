"""Tracheal and gastric tubes, central lines, chest drains and pacemakers."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from pydantic import Field

from drrval.disease.confounders.confounded import (
    HU,
    Confounded,
    Labels,
    axes_mm,
    code,
    reference,
    replace_by,
    start,
)
from drrval.disease.confounders.landmarks import Landmarks, find_landmarks
from drrval.disease.confounders.paths import tube_cover
from drrval.disease.confounders.placing import ball_box, soft_cover
from drrval.settings import Settings
from drrval.volume import Grid

Device = Literal["tracheal", "gastric", "central_line", "drain", "pacemaker"]
DEVICES: tuple[Device, ...] = get_args(Device)
Points = npt.NDArray[np.float64]

_LUMEN_HU = -1000.0
_BESIDE_MM = 4.0  # between a vessel's middle and the lung beside it
_SKIN_HU = -400.0


class TubeSettings(Settings):
    """Which devices; by default each with its usual probability in intensive care, one at least."""

    devices: tuple[Device, ...] | None = Field(None, description=f"any of {', '.join(DEVICES)}")
    drain_side: Literal["right", "left"] | None = Field(None, description="side of the chest drain")


def add_tubes(hu: HU, grid: Grid, lungs: Labels, settings: TubeSettings | None = None, seed: int = 0) -> Confounded:
    """Put tubes and lines where they belong, the courses being drawn around landmarks of the lungs and the trachea.

    Where a device lies within the lung map (a drain in the pleural space) it is no longer lung. Metal makes no
    artefacts.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: which.
        seed: of what is drawn.

    Raises:
        StudyError: lungs that do not fit the CT.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0x7B])
    chosen = settings or TubeSettings()
    draws = rng.random(len(DEVICES))
    chances = [reference()["tubes"]["probability"][device] for device in DEVICES]
    drawn = [d for d, draw, chance in zip(DEVICES, draws, chances, strict=True) if draw < chance] or ["central_line"]
    side = chosen.drain_side or ("right", "left")[int(rng.integers(2))]
    marks = find_landmarks(hu, grid, lungs)
    for device in DEVICES:
        own = np.random.default_rng([seed, DEVICES.index(device)])
        if device not in (drawn if chosen.devices is None else chosen.devices):
            continue
        if device == "pacemaker":
            _pacemaker(out, marks, own)
        elif device == "drain":
            _tube(out, grid, device, _drain(marks, side, own))
        else:
            _tube(out, grid, device, _ROUTES[device](marks, own))
    return out


def _tracheal(marks: Landmarks, rng: np.random.Generator) -> Points:
    tip = marks.carina[2] + rng.uniform(*reference()["tubes"]["tracheal"]["above_carina_mm"])
    heights = np.linspace(marks.top_mm, min(tip, marks.top_mm - 20.0), 12)
    return np.array([_by_trachea(marks, h, 0.0, 0.0) for h in heights])


def _by_trachea(marks: Landmarks, height_mm: float, left_mm: float, behind_mm: float) -> list[float]:
    """A point beside the middle of the trachea."""
    x, y = marks.trachea_at(height_mm)
    return [x + left_mm, y + behind_mm, height_mm]


def _gastric(marks: Landmarks, rng: np.random.Generator) -> Points:
    """Behind the trachea, in the narrow gap before the spine, through the hiatus and to the left into the stomach."""
    high, carina = marks.top_mm, marks.carina
    points = [_by_trachea(marks, h, 3.0, 13.0) for h in (high, (high + carina[2]) / 2.0, carina[2])]
    hiatus = marks.filled_height(0.15)
    for share in (0.35, 0.7, 1.0):
        height = carina[2] + share * (hiatus - carina[2])
        front, back = marks.depths(height)
        right, left = marks.gap(height, 0.62)
        points.append([right + 0.45 * (left - right), front + 0.62 * (back - front), height])
    x, y, _ = points[-1]
    side, forward = rng.uniform(30.0, 60.0), rng.uniform(25.0, 50.0)
    points += [
        [x + 12.0, y - 12.0, hiatus - 20.0],
        [x + side, y - forward, hiatus - 50.0],
        [x + side + 10.0, y - forward - 10.0, hiatus - 90.0],
    ]
    return np.array(points)


def _cava(marks: Landmarks, above_carina_mm: float) -> list[float]:
    """A point of the superior vena cava or the right atrium: in front of the trachea, beside the right lung."""
    height = marks.carina[2] + above_carina_mm
    front, back = marks.depths(height)
    right, _ = marks.gap(height, 0.38)
    return [right + _BESIDE_MM + 8.0, front + 0.38 * (back - front), height]


def _central_line(marks: Landmarks, rng: np.random.Generator) -> Points:
    """From the right side of the neck down the superior vena cava."""
    x, y = marks.trachea_at(marks.top_mm)
    neck = [[x - 28.0, y + 2.0, marks.top_mm], [x - 26.0, y, marks.height(0.97)]]
    junction = -float(rng.uniform(*reference()["tubes"]["central_line"]["below_carina_mm"]))
    return np.array([*neck, _cava(marks, 50.0), _cava(marks, 15.0), _cava(marks, junction)])


def _drain(marks: Landmarks, side: str, rng: np.random.Generator) -> Points:
    """Through the side of the chest wall, then along the inside of the ribs to the apex."""
    outwards = -1.0 if side == "right" else 1.0
    entry = float(rng.uniform(0.3, 0.45))
    points = []
    for share, depth in ((entry, 0.45), (entry + 0.08, 0.5), (0.65, 0.6), (0.78, 0.6), (0.88, 0.55)):
        height = marks.height(share)
        front, back = marks.depths(height)
        row = front + depth * (back - front)
        points.append([marks.outer(side, height, row) - outwards * 7.0, row, height])
    x, y, z = points[0]
    outside = [
        [x + outwards * 90.0, y, z - 45.0],
        [x + outwards * 40.0, y, z - 22.0],
        [x + outwards * 12.0, y, z - 4.0],
    ]
    return np.array(outside + points)


_ROUTES = {"tracheal": _tracheal, "gastric": _gastric, "central_line": _central_line}


def _pacemaker(out: Confounded, marks: Landmarks, rng: np.random.Generator) -> None:
    """A can under the skin below the left clavicle, and leads through the veins into the right atrium and ventricle."""
    table, grid = reference()["tubes"]["pacemaker"], marks.grid
    height = marks.height(float(rng.uniform(0.78, 0.86)))
    front, _ = marks.depths(height)
    _, left = marks.gap(height, 0.3)
    x = left + 0.65 * (marks.outer("left", height, front + 30.0) - left)
    can = np.array([x, _front_skin(out.hu, grid, x, height) + rng.uniform(9.0, 13.0), height])
    _box(out, grid, can, np.asarray(table["can_mm"]) / 2.0, table["can_hu"])
    front, back = marks.depths(marks.height(0.93))
    vein = [
        [can[0] - 15.0, can[1] + 5.0, can[2] + 25.0],
        [marks.gap(marks.height(0.93), 0.3)[1] + 10.0, front + 0.2 * (back - front), marks.height(0.99)],
        _by_trachea(marks, marks.height(0.85), 0.0, -28.0),
    ]
    cava = [_cava(marks, above) for above in (35.0, -5.0, -55.0)]
    low = marks.filled_height(0.22)
    front, back = marks.depths(low)
    _, left_border = marks.gap(low, 0.25)
    apex = [left_border - 14.0, front + 0.25 * (back - front), low]
    turn = [0.6 * cava[-1][0] + 0.4 * apex[0], apex[1] + 15.0, low + 8.0]
    beside = np.array([0.0, 3.0, 3.0])
    x, y, z = cava[-1]
    to_ventricle = np.array([can, *vein, *cava, turn, apex])
    to_atrium = np.array([can + beside, *(np.array(vein) + beside), *cava[:2], [x + 4.0, y - 16.0, z]])
    for route in (to_ventricle, to_atrium):
        _paint(out, grid, route, table["lead_mm"], table["lead_hu"])


def _tube(out: Confounded, grid: Grid, device: Device, points: Points) -> None:
    """A tube with its lumen, and the radio-opaque stripe in its wall."""
    table = reference()["tubes"][device]
    _paint(out, grid, points, table["outer_mm"], table["hu"])
    if "inner_mm" in table:
        _paint(out, grid, points, table["inner_mm"], _LUMEN_HU)
        aside = (table["outer_mm"] + table["inner_mm"]) / 4.0
        _paint(out, grid, points + np.array([aside, 0.0, 0.0]), table["stripe_mm"], table["stripe_hu"])


def _paint(out: Confounded, grid: Grid, points: Points, diameter_mm: float, value_hu: float) -> None:
    box, cover = tube_cover(points, diameter_mm, grid)
    _put(out, box, cover, value_hu, min(0.5, 0.5 * float(cover.max(initial=0.0))))


def _box(out: Confounded, grid: Grid, centre: Points, half_mm: Points, value_hu: float) -> None:
    box = ball_box(centre, 1.2 * float(half_mm.max()), grid)
    axes = axes_mm(box, grid)
    scaled = [np.abs(a - np.float32(c)) / np.float32(h) for a, c, h in zip(axes, centre, half_mm, strict=True)]
    radius = sum(s**4 for s in scaled) ** np.float32(0.25)
    _put(out, box, soft_cover((radius - 1.0) * np.float32(half_mm.min()), grid), value_hu, 0.5)


def _put(out: Confounded, box: tuple[slice, slice, slice], cover: HU, value_hu: float, counts: float) -> None:
    replace_by(out.hu[box], cover, value_hu)
    taken = cover > counts
    out.findings[box][taken] = code("tubes")
    out.lungs[box][taken] = 0


def _front_skin(hu: HU, grid: Grid, x_mm: float, z_mm: float) -> float:
    """Depth (y) of the skin in front at (x, z), mm: where the first 8 mm of tissue begin."""
    line = hu[round(z_mm / grid.spacing_mm[2]), :, round(x_mm / grid.spacing_mm[0])] > _SKIN_HU
    thick = max(2, round(8.0 / grid.spacing_mm[1]))
    return float(np.argmax(np.convolve(line, np.ones(thick), "valid") == thick)) * grid.spacing_mm[1]
