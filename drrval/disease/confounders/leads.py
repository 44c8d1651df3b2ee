"""ECG electrodes and their wires on the skin."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from pydantic import Field

from drrval.body import find_body
from drrval.disease.confounders.confounded import HU, Confounded, Labels, axes_mm, code, reference, replace_by, start
from drrval.disease.confounders.landmarks import Landmarks, find_landmarks
from drrval.disease.confounders.paths import smooth_path, tube_cover
from drrval.disease.confounders.placing import ball_box
from drrval.settings import Settings
from drrval.volume import CTVolume, Grid

_SKIN_HU = -400.0


class LeadSettings(Settings):
    """ECG electrodes; what is not given is drawn."""

    count: int | None = Field(None, ge=1, le=5, description="3 to 5 electrodes as a rule")


def add_leads(hu: HU, grid: Grid, lungs: Labels, settings: LeadSettings | None = None, seed: int = 0) -> Confounded:
    """Stick electrodes on the front of the chest, with wires along the skin that leave the trunk at a side.

    Args:
        hu: float32 ``[z, y, x]``, Hounsfield units, noise-free or real.
        grid: its grid, in canonical form.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung.
        settings: how many.
        seed: of what is drawn.

    Raises:
        StudyError: lungs that do not fit the CT.
        IntakeError: no body is found in the CT.
    """
    out = start(hu, lungs)
    rng = np.random.default_rng([seed, 0xEC])
    drawn = int(rng.choice([3, 4, 5], p=[0.4, 0.2, 0.4]))
    count = (settings or LeadSettings()).count or drawn
    marks = find_landmarks(hu, grid, lungs)
    skin = _Skin(hu, grid)
    away = _exit(marks, rng)
    for x, z in _places(marks, rng)[:count]:
        _electrode(out, grid, skin, x, z)
        bend = np.array([(x + away[0]) / 2.0 + rng.normal(0.0, 25.0), (z + away[1]) / 2.0 + rng.normal(0.0, 25.0)])
        wire = smooth_path(np.array([[x, 0.0, z], [bend[0], 0.0, bend[1]], [away[0], 0.0, away[1]]]), 6.0)
        wire[:, 1] = [skin.depth(px, pz) for px, _, pz in wire]
        wire[:, 1] -= reference()["leads"]["wire_mm"] / 2.0 + 1.0
        box, cover = tube_cover(wire, reference()["leads"]["wire_mm"], grid)
        _put(out, box, cover, reference()["leads"]["wire_hu"])
    return out


class _Skin:
    """The front of the body as seen from before it, smoothed."""

    def __init__(self, hu: HU, grid: Grid) -> None:
        body = find_body(CTVolume(hu, grid, np.ones(hu.shape[1:], dtype=bool)))
        front = np.where(body.filled.any(axis=1), body.filled.argmax(axis=1), -1)
        self._hu, self._grid, self._front, self._stride = hu, grid, front, body.stride

    def depth(self, x_mm: float, z_mm: float) -> float:
        """y of the skin at a place, mm; beside the body that of its nearest column there."""
        sx, sy, sz = self._grid.spacing_mm
        k = int(np.clip(round(z_mm / sz), 0, self._hu.shape[0] - 1))
        row = self._front[min(k // self._stride[0], len(self._front) - 1)]
        columns = np.flatnonzero(row >= 0)
        wanted = x_mm / (sx * self._stride[2])
        column = int(columns[np.argmin(np.abs(columns - wanted))])
        begin = max(int(row[column] - 2) * self._stride[1], 0)
        line = self._hu[k, begin : begin + 5 * self._stride[1], min(column * self._stride[2], self._hu.shape[2] - 1)]
        first = int(np.argmax(line > _SKIN_HU)) if (line > _SKIN_HU).any() else 2 * self._stride[1]
        return (begin + first) * sy


def _places(marks: Landmarks, rng: np.random.Generator) -> list[npt.NDArray[np.float64]]:
    """Places (x, z) of the electrodes, mm: both shoulders, left flank, right flank, fourth left intercostal space."""
    middle = (marks.depths(marks.height(0.85))[0] + marks.depths(marks.height(0.85))[1]) / 2.0
    right, left = (marks.outer(side, marks.height(0.7), middle) for side in ("right", "left"))
    centre, half = (right + left) / 2.0, (left - right) / 2.0
    shares = [(-0.72, 0.9), (0.72, 0.9), (0.78, 0.12), (-0.78, 0.12), (0.15, 0.45)]
    jitter = rng.normal(0.0, 8.0, (len(shares), 2))
    return [np.array([centre + a * half, marks.height(b)]) + j for (a, b), j in zip(shares, jitter, strict=True)]


def _exit(marks: Landmarks, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    """Where the wires leave the chest, (x, z): over a shoulder or down a side, mm."""
    middle = sum(marks.depths(marks.height(0.7))) / 2.0
    side = ("right", "left")[int(rng.integers(2))]
    x = marks.outer(side, marks.height(0.7), middle)
    return np.array([x, marks.height(float(rng.choice([-0.15, 1.15])))]) + rng.normal(0.0, 15.0, 2)


def _electrode(out: Confounded, grid: Grid, skin: _Skin, x: float, z: float) -> None:
    """A pad that follows the skin, and its snap."""
    table = reference()["leads"]
    centre = np.array([x, skin.depth(x, z), z])
    for (diameter, thick), value, lift in (
        (table["pad_mm"], table["pad_hu"], 0.0),
        (table["snap_mm"], table["snap_hu"], table["pad_mm"][1]),
    ):
        box = ball_box(centre, diameter, grid)
        ax, ay, az = axes_mm(box, grid)
        columns, heights = ax.ravel(), az.ravel()
        flat = np.hypot(ax - x, az - z)[:, 0] < diameter / 2.0
        surface = np.full(flat.shape, centre[1], dtype=np.float32)
        for i, j in np.argwhere(flat):
            surface[i, j] = skin.depth(float(columns[j]), float(heights[i]))
        middle = surface[:, None, :] - np.float32(lift + thick / 2.0)
        edge = max(thick, grid.spacing_mm[1])
        cover = np.clip((thick / 2.0 + edge / 2.0 - np.abs(ay - middle)) / edge, 0.0, 1.0) * min(thick / edge, 1.0)
        _put(out, box, (cover * flat[:, None, :]).astype(np.float32), value)


def _put(out: Confounded, box: tuple[slice, slice, slice], cover: HU, value_hu: float) -> None:
    cover = cover * (out.lungs[box] == 0)
    current = out.hu[box]
    replace_by(current, cover * (current < value_hu), value_hu)
    out.findings[box][cover > min(0.5, 0.5 * float(cover.max(initial=0.0)))] = code("leads")
