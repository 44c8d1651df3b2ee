"""What a user may set about a virtual cohort."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from pydantic import Field, field_validator, model_validator

from drrval.disease import PATTERNS, Pattern
from drrval.phantom import PROTOCOLS
from drrval.phantom.thorax import SPACING_MM
from drrval.settings import Settings
from drrval.simulation.courses import SEVERITIES, Severity

_SEVERITY: dict[Severity, float] = {"none": 0.1, "mild": 0.3, "moderate": 0.3, "severe": 0.2, "relapse": 0.1}
_PATTERN: dict[Pattern, float] = {"covid": 0.8, "lobar": 0.1, "broncho": 0.1}


class TimepointSettings(Settings):
    """Scans per patient, drawn evenly between two numbers."""

    min: int = Field(ge=1, le=99)
    max: int = Field(ge=1, le=99)

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, value: Any) -> Any:
        return {"min": value, "max": value} if isinstance(value, int) else value

    @model_validator(mode="after")
    def _ordered(self) -> TimepointSettings:
        if self.min > self.max:
            raise ValueError(f"min {self.min} is above max {self.max}")
        return self


class ConfounderSettings(Settings):
    """How probable findings are that are not pneumonia: one that is there shows in every scan of the patient."""

    effusion: float = Field(0.1, ge=0, le=1, description="pleural effusion")
    atelectasis: float = Field(0.15, ge=0, le=1, description="bands of atelectasis")
    nodules: float = Field(0.15, ge=0, le=1, description="lung nodules")
    emphysema: float = Field(0.1, ge=0, le=1, description="emphysema")
    tubes: float = Field(0.1, ge=0, le=1, description="tracheal and gastric tube, central line")
    leads: float = Field(0.15, ge=0, le=1, description="ECG electrodes and leads")


class ProtocolSettings(Settings):
    """How the CT is taken (see :class:`drrval.phantom.Protocol`); a name alone stands for a common way."""

    slice_mm: float = Field(PROTOCOLS["standard"].slice_mm, ge=0.3, le=20, description="slice thickness, mm")
    kernel_fwhm_mm: float = Field(
        PROTOCOLS["standard"].kernel_fwhm_mm, ge=0, le=5, description="width of the point spread in the slice, mm"
    )
    noise_hu: float = Field(
        PROTOCOLS["standard"].noise_hu, ge=0, le=150, description="standard deviation of the noise in soft tissue, HU"
    )

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        if value not in PROTOCOLS:
            raise ValueError(f"unknown protocol {value!r}; expected one of: {', '.join(PROTOCOLS)}, or a mapping")
        return asdict(PROTOCOLS[value])


class CourseSettings(Settings):
    """Disease courses, whichever chests they are put into."""

    timepoints: TimepointSettings = Field(
        default_factory=lambda: TimepointSettings(min=4, max=4),
        description="scans per patient: a number, or {min: ..., max: ...}",
    )
    seed: int = Field(0, ge=0)
    severity: dict[Severity, float] = Field(
        default_factory=lambda: dict(_SEVERITY),
        description=f"share of the patients with each course: {', '.join(SEVERITIES)}",
    )
    pattern: dict[Pattern, float] = Field(
        default_factory=lambda: dict(_PATTERN),
        description=f"share of the patients with each distribution of disease: {', '.join(PATTERNS)}",
    )
    confounders: ConfounderSettings = ConfounderSettings()
    nuisance: bool = Field(
        True, description="whether breath, position, noise and what the patient wears differ from scan to scan"
    )

    @field_validator("severity", "pattern")
    @classmethod
    def _some_weight(cls, value: dict[str, float]) -> dict[str, float]:
        if any(weight < 0 for weight in value.values()) or sum(value.values()) <= 0:
            raise ValueError("needs weights of 0 or more, one of them above 0")
        return value


class SimulateSettings(CourseSettings):
    """A cohort of procedural thoraces."""

    patients: int = Field(4, ge=1, le=9999)
    spacing_mm: tuple[float, float, float] = Field(
        (2.0, 2.0, 2.0), description="voxel spacing, mm: a number, or [x, y, z]"
    )
    protocol: ProtocolSettings = ProtocolSettings()

    @field_validator("spacing_mm", mode="before")
    @classmethod
    def _cube(cls, value: Any) -> Any:
        return (value,) * 3 if isinstance(value, int | float) else value

    @field_validator("spacing_mm")
    @classmethod
    def _in_range(cls, value: tuple[float, float, float]) -> tuple[float, float, float]:
        low, high = SPACING_MM
        if not all(low <= v <= high for v in value):
            raise ValueError(f"every spacing must lie between {low:g} and {high:g} mm")
        return value
