"""The thorax phantom: a CT of a healthy or diseased chest whose truth is known voxel by voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from drrval.phantom.legacy import skeleton
from drrval.phantom.legacy.anatomy import Anatomy, check_range, reference
from drrval.phantom.legacy.branching import grow_tree
from drrval.phantom.legacy.canvas import Canvas
from drrval.phantom.legacy.lesions import Lesion, paint_lesions
from drrval.phantom.legacy.shapes import Array, Shape, Vector
from drrval.volume import CTVolume

RIGHT, LEFT = 1, 2
SPACING_MM = (1.0, 6.0)  # smallest and largest voxel edge
_SKIN_MM = 1.5
_BLEND_MM = 7.0  # fillet between mediastinal organs, so that their outline is one smooth border
_DIAPHRAGM_MM = 4.0
_GRAVITY_HU_PER_MM = 0.3
_CORTEX_MM = 2.0
_VERTEBRAL_CORTEX_MM = 0.9
_MM_PER_INSPIRATION = 110.0  # rise of the domes for a whole lung volume less air (about 600 cm2 of lung base)
_TREES = {"arteries": (700, 0.7), "veins": (500, 0.7), "bronchi": (90, 0.8)}  # tips, tip radius in mm


@dataclass(frozen=True)
class PhantomScan:
    """A simulated CT and its truth.

    Attributes:
        volume: the CT, Hounsfield units, axis-aligned LPS grid.
        lungs: uint8 ``[z, y, x]``: 0 elsewhere, 1 right, 2 left lung; vessels and lesions inside count as lung.
        lesion: bool ``[z, y, x]``, True in lesions; inside ``lungs``.
        truth: ``lesion_cm3``, ``lung_cm3``, ``ratio_percent``, ``ratio_right_percent``, ``ratio_left_percent``;
            ratios are 100 * lesion volume / lung volume of both lungs or of that side.
    """

    volume: CTVolume
    lungs: npt.NDArray[np.uint8]
    lesion: npt.NDArray[np.bool_]
    truth: dict[str, float]


def make_thorax(
    anatomy: Anatomy,
    *,
    spacing_mm: float = 2.0,
    lesions: Sequence[Lesion] = (),
    inspiration: float = 1.0,
    table: bool = True,
    noise_hu: float = 15.0,
    seed: int = 0,
) -> PhantomScan:
    """Simulate a chest CT from the lower neck to the upper abdomen.

    Args:
        anatomy: whose chest.
        spacing_mm: edge of the cubic voxels, mm, 1 to 6.
        lesions: pneumonia, see :class:`drrval.phantom.Lesion`.
        inspiration: lung volume as a fraction of full inspiration, 0.6 to 1.05; lower means higher domes and
            denser lungs.
        table: whether the CT table is in the field.
        noise_hu: standard deviation of the image noise, HU.
        seed: of the noise and the lesions' texture.

    Raises:
        StudyError: a value outside its range.
    """
    check_range("spacing_mm", spacing_mm, *SPACING_MM)
    check_range("inspiration", inspiration, 0.6, 1.05)
    check_range("noise_hu", noise_hu, 0.0, 200.0)
    painter = _Thorax(anatomy, spacing_mm, inspiration)
    painter.paint_body()
    painter.paint_abdomen()
    painter.paint_mediastinum()
    painter.paint_lungs()
    rng = np.random.default_rng([seed, 0xC7])
    lesion = paint_lesions(painter.canvas, painter.lungs, lesions, rng)
    painter.paint_branches()
    painter.paint_airways()
    painter.paint_bones()
    if table:
        painter.paint_table()
    hu = painter.canvas.hu
    hu += np.float32(noise_hu) * rng.standard_normal(hu.shape, dtype=np.float32)
    np.maximum(hu, -1024.0, out=hu)
    volume = CTVolume(hu, painter.canvas.grid, np.ones(hu.shape[1:], dtype=bool), name=f"phantom {seed}")
    return PhantomScan(volume, painter.lungs, lesion, measure(painter.lungs, lesion, volume.grid.voxel_volume_cm3))


def measure(lungs: npt.NDArray[np.uint8], lesion: npt.NDArray[np.bool_], voxel_cm3: float) -> dict[str, float]:
    """Volumes (cm3) and infiltrated percentages of label maps, as in :class:`PhantomScan`."""
    lung = [int(np.count_nonzero(lungs == side)) for side in (RIGHT, LEFT)]
    sick = [int(np.count_nonzero(lesion & (lungs == side))) for side in (RIGHT, LEFT)]
    return {
        "lesion_cm3": sum(sick) * voxel_cm3,
        "lung_cm3": sum(lung) * voxel_cm3,
        "ratio_percent": 100.0 * sum(sick) / sum(lung),
        "ratio_right_percent": 100.0 * sick[0] / lung[0],
        "ratio_left_percent": 100.0 * sick[1] / lung[1],
    }


class _Thorax:
    """One chest while it is painted, from the skin inwards."""

    def __init__(self, anatomy: Anatomy, spacing_mm: float, inspiration: float) -> None:
        self.anatomy = anatomy
        self.tables = reference()
        self.tissue: dict[str, float] = self.tables["tissue_hu"]
        self.inspiration = inspiration
        self.lift_mm = anatomy.dome_lift_mm + (1.0 - inspiration) * _MM_PER_INSPIRATION
        lean = anatomy.loft("lean")
        self.front = float(lean.table[:, 2].min()) - anatomy.fat_mm - anatomy.breast_mm
        self.back = float(lean.table[:, 3].max()) + anatomy.fat_mm
        half = max(205.0, float(lean.table[:, 1].max()) + anatomy.fat_mm) + 8.0
        z = np.array([self.tables["extent"]["bottom"], self.tables["extent"]["top"]]) * anatomy.scale[2]
        self.canvas = Canvas([-half, self.front - 12.0, z[0]], [half, self.back + 24.0, z[1]], spacing_mm)
        inside_ribs = anatomy.loft("cage").distance(self.canvas.axes)
        self.cavity = np.maximum(inside_ribs, -anatomy.loft("paraspinal").distance(self.canvas.axes))
        self.below = self._below_diaphragm()

    def _below_diaphragm(self) -> Array:
        """Signed distance to the diaphragm, mm ``[z, y, x]``, negative on the abdominal side."""
        x, y, z = self.canvas.axes
        sides = []
        for name, outwards in (("right", -1.0), ("left", 1.0)):
            dome = self.tables["diaphragm"][name]
            top = self.anatomy.points(dome["top"])
            sx, sy, sz = self.anatomy.scale
            u, v = (x[0] - top[0]) * outwards / sx, (y[0] - top[1]) / sy
            fall = sum(
                dome[way][1] * (np.maximum(t, 0.0) / dome[way][0]) ** self.tables["diaphragm"]["power"]
                for way, t in (("lateral", u), ("medial", -u), ("front", -v), ("back", v))
            )
            sides.append(top[2] + self.lift_mm - fall * sz)
        height = np.where(x[0] < 0, *sides)
        slope = np.hypot(*np.gradient(height, self.canvas.spacing_mm))
        return np.asarray((z - height) / np.sqrt(1.0 + slope**2), dtype=np.float32)

    def _distance(self, shapes: Sequence[Shape], blend_mm: float = 0.0) -> Array:
        return self.canvas.distance(
            shapes, reach_mm=max(2.0 * self.canvas.spacing_mm, 2.0 * blend_mm), blend_mm=blend_mm
        )

    def paint_body(self) -> None:
        """Skin, fat and muscle, and the fatty inside of the rib cage."""
        lean = self.anatomy.loft("lean")
        skin = lean.grown(self.anatomy.fat_mm).distance(self.canvas.axes)
        if self.anatomy.breast_mm > 0:
            breast = self._distance(self._breasts())
            np.minimum(skin, breast, out=skin)
        self.canvas.paint(skin, self.tissue["skin"])
        self.canvas.paint(skin + np.float32(_SKIN_MM), self.tissue["fat"])
        self.canvas.paint(lean.distance(self.canvas.axes), self.tissue["muscle"])
        self.canvas.paint(self.cavity, self.tissue["mediastinal_fat"])

    def _breasts(self) -> list[Shape]:
        entry = dict(self.tables["breast"])
        out: list[Shape] = []
        for side in (1.0, -1.0):
            x, y, z = entry["centre"]
            radii = [entry["radii"][0], self.anatomy.breast_mm / self.anatomy.scale[1] + 12.0, entry["radii"][2]]
            placed = {"centre": [side * x, y + 12.0, z], "radii": radii, "tilt_deg": [0, 0, side * 20.0]}
            out.append(self.anatomy.ellipsoid(placed))
        return out

    def paint_abdomen(self) -> None:
        """Diaphragm, liver, spleen and stomach with its gas, all below the domes."""
        self.canvas.paint(np.maximum(self.cavity, self.below), self.tissue["muscle"])
        room = np.maximum(self.cavity, self.below) + np.float32(_DIAPHRAGM_MM)
        self.canvas.paint(room, self.tissue["mediastinal_fat"])
        shift = (0.0, 0.0, self.lift_mm)
        for organ in self.tables["abdomen"]:
            distance = self._distance([self.anatomy.ellipsoid(organ, shift=shift)])
            self.canvas.paint(np.maximum(distance, room - 1.0), self.tissue[organ["tissue"]])
        gas = self._distance([self.anatomy.ellipsoid(self.tables["gas_bubble"], shift=shift)])
        self.canvas.paint(np.maximum(gas, room + 4.0), self.tissue["gas"])

    def paint_mediastinum(self) -> None:
        """Heart, great vessels and oesophagus; also finds the lungs, which fill what is left."""
        heart_size = self.anatomy.heart_width_mm / self.tables["size"]["heart_width_mm"] / self.anatomy.scale[0]
        heart = [self.anatomy.ellipsoid(part, size=heart_size) for part in self.tables["heart"]]
        vessels = self._tubes("great_vessels", size=self.anatomy.aorta_factor)
        oesophagus = self.anatomy.tube(self.tables["oesophagus"])
        spine = skeleton.vertebral_bodies(self.anatomy, gap_mm=-2.0)
        organs = [*heart, *vessels, *oesophagus, *self._tubes("airways", extra_mm=1.5), *spine]
        apart = self._distance([self.anatomy.loft("mediastinum"), *organs], blend_mm=_BLEND_MM)
        self.lung = np.maximum(np.maximum(self.cavity, -self.below), np.float32(1.5) - apart)
        chest = np.maximum(self.cavity, -self.below)
        self.canvas.paint(np.maximum(self._distance(heart, blend_mm=_BLEND_MM), -self.below), self.tissue["heart"])
        self.canvas.paint(self._distance(vessels), self.tissue["blood"])
        self.canvas.paint(np.maximum(self._distance(oesophagus), chest), self.tissue["oesophagus"])

    def _tubes(self, name: str, *, size: float = 1.0, extra_mm: float = 0.0) -> list[Shape]:
        return [part for entry in self.tables[name] for part in self.anatomy.tube(entry, size=size, extra_mm=extra_mm)]

    def paint_lungs(self) -> None:
        """Aerated lung, denser at the back by gravity, and its labels.

        The back of the lung is up to 100 HU denser than the front, less in inspiration (Robinson and Kreel, J Comput
        Assist Tomogr 1979;3:740; Millar and Denison, Thorax 1989, 10.1136/thx.44.6.485).
        """
        density = (1.0 + self.anatomy.lung_hu / 1000.0) / self.inspiration
        y = self.canvas.axes[1]
        base = np.float32(1000.0 * (density - 1.0)) + np.float32(_GRAVITY_HU_PER_MM) * y
        self.canvas.paint(self.lung, np.broadcast_to(base, self.lung.shape))
        inside = self.lung < 0
        x = self.canvas.axes[0]
        self.lungs = np.where(inside, np.where(x < 0, RIGHT, LEFT), 0).astype(np.uint8)

    def paint_branches(self) -> None:
        """Arteries, veins and bronchi inside the lungs, down to a quarter of a voxel in radius."""
        rng = np.random.default_rng([self.anatomy.seed, 0xB7])
        found: dict[str, list[Shape]] = {name: [] for name in _TREES}
        for side in (RIGHT, LEFT):
            for name, (count, radius) in _TREES.items():
                root = self.anatomy.points(self.tables["hila"][name][side - RIGHT])
                tree = grow_tree(root, self._tips(side, count, rng), radius)
                found[name] += [b for b in tree if max(b.radii) > self.canvas.spacing_mm / 4.0]
        inside = self.lung + 1.0
        for name in ("arteries", "veins"):
            self.canvas.paint(np.maximum(self._distance(found[name]), inside), self.tissue["blood"])
        bronchi = self._distance(found["bronchi"])
        self.canvas.paint(np.maximum(bronchi - 0.8, inside), self.tissue["bronchial_wall"])
        self.canvas.paint(np.maximum(bronchi, inside), self.tissue["airway"])

    def _tips(self, side: int, count: int, rng: np.random.Generator) -> Vector:
        """About ``count`` random points (n, 3) inside a lung, a little off its surface, mm."""
        outward = 1.0 if side == LEFT else -1.0
        low, high = self.anatomy.points([[0.0, -115.0, -142.0], [138.0, 98.0, 140.0]])
        points = rng.uniform(low, high, (3 * count, 3)) * [outward, 1.0, 1.0]
        index = np.rint(self.canvas.grid.world_to_index(points)).astype(int)
        depth = self.lung[tuple(np.clip(index, 0, np.array(self.lung.shape) - 1).T)]
        return points[depth < -4.0][:count]

    def paint_airways(self) -> None:
        """Trachea and main bronchi, wall and lumen."""
        lumen = self._distance(self._tubes("airways"))
        self.canvas.paint(lumen - 1.5, self.tissue["bronchial_wall"])
        self.canvas.paint(lumen, self.tissue["airway"])

    def paint_bones(self) -> None:
        """Cartilage, discs, and bones with a cortical shell ."""
        self.canvas.paint(self._distance(skeleton.cartilage(self.anatomy)), self.tissue["cartilage"])
        self.canvas.paint(self._distance(skeleton.vertebral_bodies(self.anatomy, gap_mm=-1.0)), self.tissue["disc"])
        for shapes, cortex_mm in (
            (skeleton.vertebral_bodies(self.anatomy), _VERTEBRAL_CORTEX_MM),
            (skeleton.long_bones(self.anatomy), _CORTEX_MM),
        ):
            bone = self._distance(shapes)
            self.canvas.paint(bone, self.tissue["cortical"])
            self.canvas.paint(bone + np.float32(cortex_mm), self.anatomy.bone_hu)

    def paint_table(self) -> None:
        """A curved shell below the back."""
        entry = self.tables["table"]
        x, y, _ = self.canvas.axes
        top = self.back + entry["gap_mm"] + entry["thickness_mm"] / 2.0
        middle = top - x**2 / (2.0 * entry["curvature_radius_mm"])
        shell = np.maximum(np.abs(y - middle) - entry["thickness_mm"] / 2.0, np.abs(x) - entry["half_width_mm"])
        self.canvas.paint(shell.astype(np.float32), self.tissue["table_shell"])
