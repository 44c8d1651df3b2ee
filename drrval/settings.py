"""What a user may set about image formation: units, defaults, allowed ranges. Study files use the same models."""

from __future__ import annotations

from typing import Any, Literal

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
    filtration_mm_al: float = Field(4.3, ge=0.5, le=50, description="total filtration, mm aluminium")
    anode_angle_deg: float = Field(12.0, ge=5, le=25, description="anode angle, degrees")


class ScatterSettings(Settings):
    """Scattered radiation (see :mod:`drrval.physics.scatter`) and the anti-scatter grid of views that have one."""

    model: Literal["fitted", "none"] = "fitted"
    grid_ratio: float = Field(12.0, ge=5, le=15, description="height of the grid's strips over their distance")
    grid_selectivity: float | None = Field(
        None,
        ge=1,
        le=30,
        description="measured primary over scatter transmission of the grid; by default that of its ratio and the "
        "tube voltage",
    )


class DetectorSettings(Settings):
    """Image receptor. By default an ideal one: it absorbs every photon and blurs nothing.

    The exposure is stated either in photons or in air kerma, both in the unattenuated beam at the receptor; the default
    is the paper's 1e5 photons per pixel.
    """

    response: Literal["energy-integrating", "photon-counting"] = "energy-integrating"
    photons_per_pixel: float | None = Field(
        1e5, gt=0, le=1e9, description="photons per pixel in the unattenuated beam; None where the air kerma is given"
    )
    air_kerma_ugy: float | None = Field(
        None, gt=0, le=1e5, description="air kerma at the receptor in the unattenuated beam, uGy"
    )
    noise: bool = Field(True, description="whether quantum and electronic noise are added")
    electronic_noise_photons: float = Field(
        0.0, ge=0, le=1e4, description="rms electronic noise per pixel, in photons of the unattenuated beam"
    )
    csi_mg_cm2: float | None = Field(
        None, gt=0, le=1000, description="caesium iodide of the scintillator, mg/cm2; None absorbs every photon"
    )
    mtf50_per_mm: float | None = Field(
        None,
        ge=0.2,
        le=10,
        description="frequency at which the scintillator's MTF is one half, cycles/mm; the pixel aperture comes on "
        "top; None blurs nothing",
    )

    @model_validator(mode="before")
    @classmethod
    def _kerma_replaces_photons(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("air_kerma_ugy") is not None:
            return {"photons_per_pixel": None, **given}
        return given

    @model_validator(mode="after")
    def _one_exposure(self) -> DetectorSettings:
        if (self.photons_per_pixel is None) == (self.air_kerma_ugy is None):
            raise ValueError(
                f"photons_per_pixel={self.photons_per_pixel} and air_kerma_ugy={self.air_kerma_ugy} state the exposure "
                "twice or not at all. Give exactly one of them"
            )
        return self


class DisplaySettings(Settings):
    """From detector signal to displayed grey value.

    ``fixed``: logarithm of the signal between two fixed values, so that images of different days can be compared.
    Clinical displays add detail (unsharp masking); ``detail_gain`` does so, with the same filter for every image.
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
    detail_gain: float = Field(
        0.0,
        ge=0,
        le=5,
        description="how often the difference to the surroundings is added to the logarithm (rule fixed); 2 gives "
        "chest CTs the lung texture of clinical radiographs down to about 5 mm",
    )
    detail_mm: float = Field(
        2.0, ge=0.5, le=50, description="standard deviation of the Gaussian that averages the surroundings, mm"
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
