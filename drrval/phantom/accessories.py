"""What lies around the patient in a scanner: table, mattress, clothing, ECG electrodes and leads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import yaml

from drrval.errors import StudyError
from drrval.phantom.accessories_kernel import lay_cloth
from drrval.phantom.anatomy import Anatomy
from drrval.phantom.body_wall_hull import STEP_MM, azimuth_axis_y, body_hull, on_skin
from drrval.phantom.canvas import Box, Canvas
from drrval.phantom.labels import Label
from drrval.phantom.shapes import Array, Capsule, Vector, tube
from drrval.phantom.skeleton_shapes import Slab

_MOST_LEADS = 6
_SEEN = 0.1  # part of a voxel from which on it carries the label of a thing
_DISC_CORNERS = 24


@dataclass(frozen=True)
class Accessories:
    """What is around the patient; only the table by default.

    Attributes:
        table: carbon shell with foam, curved under the patient.
        mattress: between patient and table.
        shirt: a thin sheet of cloth with folds over the whole trunk.
        buttons, zip: down the front.
        bra_hook: metal at the back.
        leads: number of ECG electrodes with their wires, 0 to 6.
        seed: of folds, places and wires.

    Raises:
        StudyError: another number of leads.
    """

    table: bool = True
    mattress: bool = False
    shirt: bool = False
    buttons: bool = False
    zip: bool = False
    bra_hook: bool = False
    leads: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.leads <= _MOST_LEADS:
            raise StudyError(f"Accessories leads={self.leads!r}. Choose 0 to {_MOST_LEADS} electrodes.")


def random_accessories(seed: int, *, female: bool) -> Accessories:
    """Draw what a patient may wear in a scanner; the same seed gives the same things."""
    rng = np.random.default_rng([seed, 0xACC])
    shirt, mattress, leads = bool(rng.random() < 0.45), bool(rng.random() < 0.7), bool(rng.random() < 0.2)
    fastener = rng.random()
    return Accessories(
        mattress=mattress,
        shirt=shirt,
        buttons=shirt and fastener < 0.2,
        zip=shirt and fastener > 0.92,
        bra_hook=female and bool(rng.random() < 0.25),
        leads=int(rng.integers(3, 7)) if leads else 0,
        seed=seed,
    )


@cache
def accessory_tables() -> dict[str, Any]:
    """Contents of ``accessories.yaml``: sizes in mm and Hounsfield units."""
    text = files("drrval.phantom").joinpath("accessories.yaml").read_text(encoding="utf-8")
    tables: dict[str, Any] = yaml.safe_load(text)
    return tables


def paint_accessories(canvas: Canvas, anatomy: Anatomy, accessories: Accessories) -> None:
    """Paint what is around a patient who is already on the canvas; the patient's voxels are never changed."""
    rng = np.random.default_rng([accessories.seed, 0xC10])
    if accessories.shirt:
        _paint_shirt(canvas, anatomy, rng)
    for disc, hu, label in [*_buttons(anatomy, accessories, rng), *_electrodes(anatomy, accessories)]:
        field = canvas.distance([disc])
        _fill_air(canvas, field.box, np.clip(0.5 - field.mm / np.float32(canvas.edge_mm), 0.0, 1.0), hu, label)
    for rods, hu, label in _threads(anatomy, accessories, rng):
        box = _box_of(canvas, rods)
        _fill_air(canvas, box, canvas.fill(rods, box), hu, label)
    if accessories.table:
        paint_table(canvas, mattress=accessories.mattress)


def paint_table(canvas: Canvas, *, mattress: bool = False) -> None:
    """The table right below the patient. It belongs to the scanner: the patient's pose does not turn it."""
    table = accessory_tables()["table"]
    x, y, _ = canvas.axes
    shell, cushion = table["shell"], table["mattress"]
    bow = x[0] ** 2 / (2.0 * shell["curvature_radius_mm"])
    top = _lowest(canvas, bow) + canvas.spacing_mm[1] + table["gap_mm"]
    if mattress:
        layer = _layer(x[0], y[0], top - bow, cushion["thickness_mm"], cushion["half_width_mm"])
        _paint_rows(canvas, layer, cushion["cover_hu"])
        _paint_rows(canvas, layer + np.float32(cushion["cover_mm"]), cushion["hu"], replace=True)
        top += cushion["thickness_mm"]
    body = _layer(
        x[0],
        y[0],
        top - bow,
        shell["height_mm"] * (1.0 - 0.55 * (x[0] / shell["half_width_mm"]) ** 2),
        shell["half_width_mm"],
    )
    _paint_rows(canvas, body, shell["hu"])
    _paint_rows(canvas, body + np.float32(shell["thickness_mm"]), table["foam_hu"], replace=True)


def _lowest(canvas: Canvas, bow: Array) -> float:
    """y of the middle of a bowed surface that touches the patient from below, mm."""
    patient = ((canvas.labels > 0) & (canvas.labels < Label.TABLE)).any(axis=0)
    y = canvas.axes[1][0]
    return float(np.where(patient, y + bow, -np.inf).max())


def _layer(x: Array, y: Array, top: Array, thickness: Any, half_width: float) -> Array:
    """Signed distance ``[y, x]`` to a layer below ``top``, about right near its faces, mm."""
    depth = y - top
    return np.asarray(np.maximum(np.maximum(-depth, depth - thickness), np.abs(x) - half_width), dtype=np.float32)


def _paint_rows(canvas: Canvas, section: Array, hu: float, *, replace: bool = False) -> None:
    """Paint a cross-section ``[y, x]`` along the whole table."""
    rows = np.flatnonzero((section < canvas.edge_mm).any(axis=1))
    if rows.size == 0:
        return
    box = (slice(0, canvas.hu.shape[0]), slice(int(rows[0]), int(rows[-1]) + 1), slice(0, canvas.hu.shape[2]))
    weight = np.clip(0.5 - section[box[1]] / np.float32(canvas.edge_mm), 0.0, 1.0)
    for values, labels in zip(canvas.hu[box], canvas.labels[box], strict=True):
        free = (labels == Label.OUTSIDE) | (labels == Label.TABLE)
        if replace:
            values += np.where(labels == Label.TABLE, weight, 0.0) * (np.float32(hu) - values)
        else:
            values += np.where(free, weight * np.clip(-values / 1000.0, 0.0, 1.0), 0.0) * np.float32(hu + 1000.0)
            labels[free & (weight >= 0.5)] = Label.TABLE


def _fill_air(canvas: Canvas, box: Box, part: Array, hu: float, label: int) -> None:
    """Fill a part 0..1 of the air of each voxel of a box; the patient's voxels stay as they are."""
    values, labels = canvas.hu[box], canvas.labels[box]
    free = (labels == Label.OUTSIDE) | (labels >= Label.TABLE)
    air = np.clip(-values / np.float32(1000.0), 0.0, 1.0)
    values += np.where(free, part * air, 0.0).astype(np.float32) * np.float32(hu + 1000.0)
    labels[free & (part > _SEEN)] = label


def _box_of(canvas: Canvas, rods: Sequence[Capsule]) -> Box:
    placed = [rod.moved(canvas.motion).bounds() for rod in rods]
    margin = 2.0 * max(canvas.spacing_mm)
    return canvas.box(np.min([b[0] for b in placed], axis=0) - margin, np.max([b[1] for b in placed], axis=0) + margin)


def _paint_shirt(canvas: Canvas, anatomy: Anatomy, rng: np.random.Generator) -> None:
    cloth = accessory_tables()["clothing"]["cloth"]
    hull = body_hull(anatomy)
    count = int(rng.integers(*cloth["folds"]))
    folds = np.column_stack(
        [
            rng.uniform(-180.0, 180.0, count),  # azimuth at the middle of the lungs
            rng.normal(0.0, 0.12, count),  # slant, degrees per mm of height
            rng.uniform(0.5, 1.5, count) * cloth["width_mm"],
            rng.uniform(0.3, 1.0, count) * cloth["height_mm"],
        ]
    )
    lay_cloth(
        canvas.hu,
        canvas.labels,
        canvas.to_patient,
        canvas.edge_mm,
        hull.skin,
        hull.origin,
        STEP_MM,
        azimuth_axis_y(anatomy),
        folds,
        np.array([cloth["thickness_mm"], cloth["lift_mm"], cloth["hu"], 95.0 * anatomy.scale[2]]),
        np.uint8(Label.CLOTHING),
    )


def _buttons(anatomy: Anatomy, accessories: Accessories, rng: np.random.Generator) -> Iterator[tuple[Slab, float, int]]:
    part = accessory_tables()["clothing"]["button"]
    if accessories.buttons:
        for z in np.arange(70.0, -165.0, -part["spacing_mm"]) * anatomy.scale[2] + rng.normal(0.0, 4.0):
            yield _disc(anatomy, 178.0, float(z), part, 3.0), part["hu"], Label.CLOTHING


def _sites(anatomy: Anatomy, accessories: Accessories) -> Iterator[tuple[float, float]]:
    """Azimuth and height of the electrodes."""
    rng = np.random.default_rng([accessories.seed, 0xEC6])
    for azimuth, z in accessory_tables()["lead"]["sites"][: accessories.leads]:
        yield azimuth + rng.normal(0.0, 5.0), (z + rng.normal(0.0, 8.0)) * float(anatomy.scale[2])


def _electrodes(anatomy: Anatomy, accessories: Accessories) -> Iterator[tuple[Slab, float, int]]:
    pad, snap = accessory_tables()["lead"]["pad"], accessory_tables()["lead"]["snap"]
    for azimuth, z in _sites(anatomy, accessories):
        yield _disc(anatomy, azimuth, z, pad, 0.2), pad["hu"], Label.LEAD
        yield _disc(anatomy, azimuth, z, snap, 0.2 + pad["thickness_mm"]), snap["hu"], Label.LEAD


def _threads(
    anatomy: Anatomy, accessories: Accessories, rng: np.random.Generator
) -> Iterator[tuple[list[Capsule], float, int]]:
    """Zip, bra hooks and wires: rods that may be thinner than a voxel, with Hounsfield units and label."""
    table, wire = accessory_tables()["clothing"], accessory_tables()["lead"]["wire"]
    height = float(anatomy.scale[2])
    if accessories.zip:
        points, _ = on_skin(anatomy, np.full(30, 179.0), np.linspace(85.0, -165.0, 30) * height, 3.0)
        yield tube(points, table["zip"]["radius_mm"]), table["zip"]["hu"], Label.CLOTHING
    if accessories.bra_hook:
        z = float(rng.normal(-25.0, 8.0)) * height
        rows = [on_skin(anatomy, [a, a + 3.0], [z + dz] * 2, 3.0)[0] for a in (1.0, 6.0) for dz in (-8.0, 8.0)]
        rods = [rod for row in rows for rod in tube(row, table["hook"]["radius_mm"])]
        yield rods, table["hook"]["hu"], Label.CLOTHING
    for azimuth, z in _sites(anatomy, accessories):
        path = _wire_path(anatomy, azimuth, z, rng)
        yield tube(path, wire["radius_mm"]), wire["hu"], Label.LEAD
        yield tube(path, wire["cover_mm"]), wire["cover_hu"], Label.LEAD


def _disc(anatomy: Anatomy, azimuth: float, z: float, part: dict[str, float], outside_mm: float) -> Slab:
    """A flat disc on the skin."""
    points, normals = on_skin(anatomy, [azimuth], [z], outside_mm + part["thickness_mm"] / 2.0)
    normal = normals[0]
    across = np.cross(normal, [0.0, 0.0, 1.0])
    across /= np.linalg.norm(across)
    turn = np.linspace(0.0, 2.0 * np.pi, _DISC_CORNERS, endpoint=False)
    outline = part["radius_mm"] * np.column_stack([np.cos(turn), np.sin(turn)])
    frame = np.array([across, np.cross(normal, across), normal])
    return Slab(points[0], frame, outline, part["thickness_mm"] / 2.0, rounding_mm=0.3)


def _wire_path(anatomy: Anatomy, azimuth: float, z: float, rng: np.random.Generator) -> Vector:
    """Over the skin from an electrode to the feet's end of the field on the patient's left, with slack."""
    way = np.linspace(0.0, 1.0, 9)
    exit_azimuth = rng.normal(135.0, 12.0)
    start = azimuth if azimuth > 0 else azimuth + 360.0
    azimuths = start + way**1.5 * (exit_azimuth - start) + rng.normal(0.0, 3.0, 9) * np.sin(np.pi * way)
    heights = z + way * (-185.0 * anatomy.scale[2] - z) + rng.normal(0.0, 6.0, 9) * np.sin(np.pi * way)
    return on_skin(anatomy, azimuths, heights, 4.5)[0]
