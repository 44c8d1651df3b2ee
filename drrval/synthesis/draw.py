"""One image's settings, all drawn from one seed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from drrval.settings import DetectorSettings, ScatterSettings, SpectrumSettings
from drrval.synthesis.settings import AcquisitionRanges, OverlayRanges, ProcessingRanges, SynthesisSettings

_FRONTAL = ("PA", "AP")


@dataclass(frozen=True)
class Acquisition:
    """How one radiograph is taken; fields as in :class:`drrval.synthesis.settings.AcquisitionRanges`.

    Attributes:
        view: ``PA``, ``AP`` or ``LL``.
        rotation_deg: turn of the beam about the LPS x, y and z axes, degrees.
        shift_mm: offset of the central ray from the chest's centre along the image's columns and rows, mm in the body.
        margins_mm: field beyond the lungs at the image's left, right, top and bottom, mm in the body.
        grid_ratio: of the anti-scatter grid; 0 without one.
    """

    view: str
    sid_mm: float
    body_to_panel_mm: float
    rotation_deg: tuple[float, float, float]
    shift_mm: tuple[float, float]
    margins_mm: tuple[float, float, float, float]
    kvp: float
    filtration_mm_al: float
    csi_mg_cm2: float
    air_kerma_ugy: float
    electronic_noise_photons: float
    mtf50_per_mm: float
    grid_ratio: float

    @property
    def spectrum(self) -> SpectrumSettings:
        """The tube."""
        return SpectrumSettings(kvp=self.kvp, filtration_mm_al=self.filtration_mm_al)

    @property
    def detector(self) -> DetectorSettings:
        """The receptor and its exposure."""
        return DetectorSettings(
            air_kerma_ugy=self.air_kerma_ugy,
            electronic_noise_photons=self.electronic_noise_photons,
            csi_mg_cm2=self.csi_mg_cm2,
            mtf50_per_mm=self.mtf50_per_mm,
        )

    @property
    def scatter(self) -> ScatterSettings:
        """Scatter, and the grid where there is one."""
        return ScatterSettings(grid_ratio=self.grid_ratio) if self.grid_ratio else ScatterSettings()


@dataclass(frozen=True)
class Processing:
    """One display; fields as in :class:`drrval.synthesis.settings.ProcessingRanges`."""

    style: str
    black_percentile: float
    white_percentile: float
    gamma: float
    sigmoid: float
    detail_gain: float
    detail_mm: float
    latitude: float
    clahe_clip: float
    top: float
    bottom: float


@dataclass(frozen=True)
class Overlays:
    """What is laid over one radiograph.

    Attributes:
        marker: ``R``, ``L`` or empty.
        lead_marker: the marker is of lead on the panel; otherwise it is burnt in.
        text: there is writing.
        collimation: share of the image that each border covers: left, right, top, bottom.
        leads, tubes: ECG leads, tubes and lines.
        jpeg_quality: 0 without compression.
        inverted: stored with bone dark.
    """

    marker: str
    lead_marker: bool
    text: bool
    collimation: tuple[float, float, float, float]
    leads: bool
    tubes: bool
    jpeg_quality: int
    inverted: bool


@dataclass(frozen=True)
class Draw:
    """All that makes one image differ from the others of its scan."""

    seed: int
    acquisition: Acquisition
    processing: Processing
    overlays: Overlays


def draw_image(settings: SynthesisSettings, seed: int) -> Draw:
    """Draw one image's settings; the same seed gives the same image."""
    rng = np.random.default_rng([seed, 0x5A])
    view = _choice(rng, settings.views)
    return Draw(
        seed=seed,
        acquisition=_acquisition(rng, settings.acquisition, view),
        processing=_processing(rng, settings.processing),
        overlays=_overlays(rng, settings.overlays, view),
    )


def _acquisition(rng: np.random.Generator, ranges: AcquisitionRanges, view: str) -> Acquisition:
    beams = [beam for beam in ranges.beams if view in beam.views]
    beam = beams[int(rng.integers(len(beams)))]
    turns = [round(float(top * (2.0 * rng.beta(3.0, 3.0) - 1.0)), 2) for top in ranges.rotation_deg]
    shift = rng.uniform(-ranges.shift_mm, ranges.shift_mm, 2)
    margins = [_between(rng, ranges.margin_mm, 1) for _ in range(4)]
    low, high = (math.log(v) for v in ranges.air_kerma_ugy)
    return Acquisition(
        view=view,
        sid_mm=_between(rng, ranges.sid_mm[view], 0),  # type: ignore[index]
        body_to_panel_mm=_between(rng, ranges.body_to_panel_mm, 0),
        rotation_deg=(turns[0], turns[1], turns[2]),
        shift_mm=(round(float(shift[0]), 1), round(float(shift[1]), 1)),
        margins_mm=(margins[0], margins[1], margins[2], margins[3]),
        kvp=beam.kvp,
        filtration_mm_al=beam.filtration_mm_al,
        csi_mg_cm2=beam.csi_mg_cm2,
        air_kerma_ugy=round(math.exp(rng.uniform(low, high)), 2),
        electronic_noise_photons=_between(rng, ranges.electronic_noise_photons, 1),
        mtf50_per_mm=_between(rng, ranges.mtf50_per_mm, 2),
        grid_ratio=_between(rng, ranges.grid_ratio, 0) if _happens(rng, ranges.grid_share, view) else 0.0,
    )


def _processing(rng: np.random.Generator, ranges: ProcessingRanges) -> Processing:
    style = _choice(rng, ranges.style)
    drawn = {name: _between(rng, value, 4) for name, value in ranges if name != "style"}
    return Processing(style=style, **drawn)


def _overlays(rng: np.random.Generator, shares: OverlayRanges, view: str) -> Overlays:
    side = "L" if view not in _FRONTAL else str(rng.choice(["R", "L"]))
    marker = side if rng.random() < shares.marker else ""
    lead = bool(rng.random() < shares.lead_marker)
    text = _happens(rng, shares.text, view)
    collimated = rng.random() < shares.collimation
    borders = [round(float(v), 3) if collimated and v > 0 else 0.0 for v in rng.uniform(-0.04, 0.07, 4)]
    return Overlays(
        marker=marker,
        lead_marker=lead,
        text=text,
        collimation=(borders[0], borders[1], borders[2], borders[3]),
        leads=_happens(rng, shares.leads, view),
        tubes=_happens(rng, shares.tubes, view),
        jpeg_quality=int(rng.uniform(*shares.jpeg_quality)) if rng.random() < shares.jpeg else 0,
        inverted=bool(rng.random() < shares.inverted),
    )


def _between(rng: np.random.Generator, ends: tuple[float, float], digits: int) -> float:
    return round(float(rng.uniform(*ends)), digits)


def _choice(rng: np.random.Generator, weights: Mapping[Any, float]) -> str:
    names = list(weights)
    share = np.array([weights[n] for n in names], dtype=float)
    return str(rng.choice(names, p=share / share.sum()))


def _happens(rng: np.random.Generator, shares: Mapping[Any, float], view: str) -> bool:
    return bool(rng.random() < shares.get(view, 0.0))
