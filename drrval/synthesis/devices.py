"""Tubes, lines and ECG leads on or in the patient, drawn as what they project to: mass along the rays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.interpolate import CubicSpline

Image = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]

# Outer radius, bore (mm) and effective bone-like density (g/cm3) of what is drawn. Barium stripes make tubes of plastic
# visible; wires are copper or carbon in plastic. Outer diameters: tracheal tube 7.5-8 mm bore (ISO 5361), gastric tube
# 14-18 Ch, central line 7 Ch (1 Ch = 1/3 mm).
_TRACHEAL, _GASTRIC, _LINE = (5.3, 3.8, 0.35), (2.7, 1.8, 0.5), (1.2, 0.5, 0.9)
_LEAD, _ELECTRODE = (0.9, 0.0, 0.6), (5.0, 0.0, 0.0)
_STUD_MM, _STUD_G_CM2, _PAD_G_CM2 = 3.0, 1.2, 0.12
_STEP = 0.3  # pixels between points of a line


@dataclass(frozen=True)
class Frame:
    """Where the lungs lie in an image: fractions 0-1 across and down their box become pixels.

    Attributes:
        rows, columns: first and last row and column of the lungs' shadows.
        pixel_mm: pixel pitch, mm.
        shape: of the image.
    """

    rows: tuple[float, float]
    columns: tuple[float, float]
    pixel_mm: float
    shape: tuple[int, int]

    def points(self, across_down: list[tuple[float, float]]) -> Points:
        """Pixels (n, [row, column]) of places (across, down)."""
        across, down = np.array(across_down, dtype=float).T
        rows = self.rows[0] + down * (self.rows[1] - self.rows[0])
        columns = self.columns[0] + across * (self.columns[1] - self.columns[0])
        return np.stack([rows, columns], axis=1)


def lung_frame(lungs: npt.NDArray[np.bool_], pixel_mm: float) -> Frame:
    """Frame of the lungs' shadows, bool ``[row, col]``; of the whole image where there are none."""
    seen = lungs if lungs.any() else np.ones_like(lungs)
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    return Frame((rows[0], rows[-1]), (columns[0], columns[-1]), pixel_mm, (lungs.shape[0], lungs.shape[1]))


def draw_devices(frame: Frame, *, leads: bool, tubes: bool, rng: np.random.Generator) -> tuple[Image, tuple[str, ...]]:
    """Mass of devices along each ray.

    Args:
        frame: where the lungs are.
        leads: ECG electrodes with leads.
        tubes: one or more of tracheal tube, gastric tube, central line.
        rng: source of number, course and size.

    Returns:
        float32 ``[row, col]``, g/cm2 as bone; and the names of what was drawn.
    """
    image = np.zeros(frame.shape, np.float32)
    names: list[str] = []
    if leads:
        _ecg(image, frame, rng)
        names.append("ecg_leads")
    if tubes:
        chosen = [name for name in _COURSES if rng.random() < 0.55] or [str(rng.choice(list(_COURSES)))]
        for name in chosen:
            course, size = _COURSES[name]
            _tube(image, frame.points(_jittered(course, rng)), size, frame.pixel_mm)
        names += chosen
    return image, tuple(names)


_COURSES: dict[str, tuple[list[tuple[float, float]], tuple[float, float, float]]] = {
    "tracheal_tube": ([(0.51, -0.35), (0.5, -0.1), (0.5, 0.05), (0.5, 0.22)], _TRACHEAL),
    "gastric_tube": ([(0.51, -0.35), (0.5, 0.0), (0.51, 0.5), (0.52, 0.85), (0.6, 1.1), (0.7, 1.2)], _GASTRIC),
    "central_line": ([(0.34, -0.35), (0.38, -0.05), (0.43, 0.1), (0.44, 0.25), (0.44, 0.4)], _LINE),
}


def _jittered(course: list[tuple[float, float]], rng: np.random.Generator) -> list[tuple[float, float]]:
    offset = rng.normal(0.0, 0.012)
    return [(a + offset + float(rng.normal(0, 0.006)), d + float(rng.normal(0, 0.015))) for a, d in course]


def _ecg(image: Image, frame: Frame, rng: np.random.Generator) -> None:
    """Three to five electrodes, their leads running to one side or down."""
    spots = [(0.12, 0.02), (0.9, 0.03), (0.88, 0.8), (0.1, 0.82), (0.62, 0.6)][: int(rng.integers(3, 6))]
    out = (float(rng.uniform(0.2, 0.8)), 1.5) if rng.random() < 0.6 else (float(rng.choice([-0.5, 1.5])), 0.5)
    for across, down in spots:
        start = (across + float(rng.normal(0, 0.04)), down + float(rng.normal(0, 0.04)))
        bend = (
            (start[0] + out[0]) / 2 + float(rng.normal(0, 0.12)),
            (start[1] + out[1]) / 2 + float(rng.normal(0, 0.12)),
        )
        end = (out[0] + float(rng.normal(0, 0.04)), out[1])
        _tube(image, frame.points([start, bend, end]), _LEAD, frame.pixel_mm)
        centre = frame.points([start])[0]
        _disc(image, centre, _ELECTRODE[0] * 2.0 / frame.pixel_mm, _PAD_G_CM2)
        _disc(image, centre, _STUD_MM / frame.pixel_mm, _STUD_G_CM2)


def _tube(image: Image, knots: Points, size: tuple[float, float, float], pixel_mm: float) -> None:
    """Add a tube along a smooth curve through ``knots`` (n, [row, column])."""
    outer, bore, density = size
    distance = _distance_to(image.shape, _curve(knots), outer / pixel_mm + 2.0) * pixel_mm
    image += np.float32(density / 10.0) * (_chord_mm(distance, outer, pixel_mm) - _chord_mm(distance, bore, pixel_mm))


def _chord_mm(distance_mm: Image, radius_mm: float, pixel_mm: float) -> Image:
    """Length of a ray in a cylinder; one thinner than a pixel is drawn a pixel wide, its mass kept."""
    if radius_mm <= 0:
        return np.zeros_like(distance_mm)
    drawn = max(radius_mm, 0.75 * pixel_mm)
    chord = 2.0 * np.sqrt(np.maximum(drawn**2 - distance_mm**2, 0.0))
    return np.asarray(chord * (radius_mm / drawn) ** 2, np.float32)


def _curve(knots: Points) -> Points:
    """Points (n, 2) a fraction of a pixel apart along a cubic spline."""
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(knots, axis=0), axis=1))])
    count = max(2, int(along[-1] / _STEP))
    return np.asarray(CubicSpline(along, knots, bc_type="natural")(np.linspace(0.0, along[-1], count)))


def _distance_to(shape: tuple[int, ...], points: Points, reach: float) -> Image:
    """Distance in pixels from each pixel to the nearest point, right up to ``reach``."""
    distance = np.full(shape, np.float32(1e6))
    span = np.arange(-int(reach) - 1, int(reach) + 2)
    rows = np.rint(points[:, 0]).astype(int)[:, None, None] + span[None, :, None]
    columns = np.rint(points[:, 1]).astype(int)[:, None, None] + span[None, None, :]
    away = np.hypot(rows - points[:, 0][:, None, None], columns - points[:, 1][:, None, None])
    rows, columns = np.broadcast_arrays(rows, columns)
    inside = (rows >= 0) & (rows < shape[0]) & (columns >= 0) & (columns < shape[1])
    np.minimum.at(distance, (rows[inside], columns[inside]), away[inside].astype(np.float32))
    return distance


def _disc(image: Image, centre: Points, radius: float, g_cm2: float) -> None:
    """Add a disc of one thickness, its edge a pixel wide."""
    rows, columns = np.indices(image.shape)
    distance = np.hypot(rows - centre[0], columns - centre[1])
    image += np.asarray(g_cm2 * np.clip(radius + 0.5 - distance, 0.0, 1.0), np.float32)
