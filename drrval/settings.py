"""What a user may set about image formation: units, defaults, allowed ranges. Study files use the same models."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Settings(BaseModel):
    """Base of all settings: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class MaterialSettings(Settings):
    """Hounsfield thresholds of the three materials; the defaults are DeepDRR's (Unberath et al. 2018)."""

    air_max_hu: float = Field(-800.0, ge=-1024, le=-100, description="highest Hounsfield value labelled air")
    soft_tissue_max_hu: float = Field(
        350.0, ge=50, le=1500, description="highest Hounsfield value labelled soft tissue"
    )


class SpectrumSettings(Settings):
    """X-ray tube. The defaults are the paper's: tungsten anode, 120 kV, 4.3 mm aluminium."""

    kvp: float = Field(120.0, ge=40, le=150, description="tube voltage, kV")
    filtration_mm_al: float = Field(4.3, ge=0.5, le=20, description="total filtration, mm aluminium")
    anode_angle_deg: float = Field(12.0, ge=5, le=25, description="anode angle, degrees")


class ScatterSettings(Settings):
    """Scattered radiation: a convolution estimate (see :mod:`drrval.physics.scatter`), or none."""

    model: Literal["convolution", "none"] = "convolution"
    amplitude: float = Field(0.9, ge=0, le=5, description="scatter produced per unit of forward-scatter potential")
    sigma_mm: float = Field(55.0, ge=5, le=300, description="Gaussian spread of scatter at the panel, mm")
    grid_selectivity: float = Field(
        6.0,
        ge=1,
        le=20,
        description="primary over scatter transmission of the anti-scatter grid, where a view has one",
    )


class DetectorSettings(Settings):
    """Image receptor. The photon count is the paper's: 1e5 per pixel in the unattenuated beam."""

    response: Literal["energy-integrating", "photon-counting"] = "energy-integrating"
    photons_per_pixel: float = Field(1e5, gt=0, le=1e9, description="photons per pixel in the unattenuated beam")
    noise: bool = Field(True, description="whether quantum and electronic noise are added")
    electronic_noise_photons: float = Field(0.0, ge=0, le=1e4, description="rms electronic noise, in photons")
    blur_sigma_mm: float = Field(0.0, ge=0, le=5, description="Gaussian blur of the receptor at the panel, mm")


class DisplaySettings(Settings):
    """From detector signal to displayed grey value.

    ``fixed``: logarithm of the signal between two fixed values, so that images of different days can be compared.
    ``minmax``: the same logarithm, scaled to each image's own extremes (DeepDRR's way; destroys that comparison).
    ``paper``: inverted linear signal scaled to each image's own extremes, 8 bit, and the gamma rule (Amer et al.,
    IV-C).
    """

    rule: Literal["fixed", "minmax", "paper"] = "fixed"
    window: tuple[float, float] | None = Field(
        None,
        description="-ln(signal) shown as black and as white (rule fixed; 0 is the unattenuated beam); by default "
        "that of fixed thicknesses of soft tissue in this beam (display_g_cm2 of the geometry preset)",
    )
    gamma: float = Field(0.2, gt=0, le=1, description="the paper's gamma, applied as exponent 1/gamma (rule paper)")
    gamma_above_mean: float = Field(
        220.0, ge=0, le=255, description="mean grey value behind the patient above which gamma applies (rule paper)"
    )

    @model_validator(mode="after")
    def _window_is_ordered(self) -> DisplaySettings:
        if self.window is not None and not self.window[0] < self.window[1]:
            raise ValueError(f"window {list(self.window)} must be [low, high] with low < high")
        return self
