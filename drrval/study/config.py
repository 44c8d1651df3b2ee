"""The study file: what it may say, and clear errors when it says something else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from ct_models.lungs import LUNG_FLAGS
from drrval.errors import StudyError
from drrval.geometry import default_preset, presets
from drrval.positioning import VIEW_FLAGS
from drrval.settings import (
    DetectorSettings,
    DisplaySettings,
    MaterialSettings,
    ScatterSettings,
    Settings,
    SpectrumSettings,
)
from drrval.settings_file import read_mapping, validated
from drrval.stats import ComparisonSettings, Criterion
from drrval.stats.ct_scorers import DISAGREE_FLAG, DISAGREEMENT_POINTS
from drrval.study.cohort_settings import CohortSettings

View = Literal["PA", "AP", "LL"]


class ScorerSpec(Settings):
    """A scorer by entry-point name, or ``module:attribute``, with the arguments its constructor gets."""

    use: str
    options: dict[str, Any] = Field(default_factory=dict)
    name: str = Field("", description="what to call it in tables and reports; by default what `use` says")

    @property
    def label(self) -> str:
        """What the scorer is called in this study."""
        return self.name or self.use

    @model_validator(mode="before")
    @classmethod
    def _name_alone(cls, value: Any) -> Any:
        return {"use": value} if isinstance(value, str) else value


class ScorerSettings(Settings):
    """Which scorers run, and which CT scorer is the reference that the radiograph is compared with."""

    ct: tuple[ScorerSpec, ...] = (ScorerSpec(use="corona"), ScorerSpec(use="opacity"))
    cxr: tuple[ScorerSpec, ...] = tuple(
        ScorerSpec(use=name) for name in ("dlnet-light", "projected-area", "projected-thickness")
    )
    reference: str = Field("", description="the CT scorer compared with; by default the first")

    @model_validator(mode="after")
    def _reference_is_listed(self) -> ScorerSettings:
        for key, specs in (("ct", self.ct), ("cxr", self.cxr)):
            names = [s.label for s in specs]
            if len(set(names)) != len(names):
                raise ValueError(f"scorers.{key} lists a scorer twice: {names}; give each its own name")
        if not self.ct:
            raise ValueError("needs at least one CT scorer")
        if self.reference and self.reference not in [s.label for s in self.ct]:
            raise ValueError(f"reference {self.reference!r} must be one of the CT scorers {[s.label for s in self.ct]}")
        return self

    @property
    def reference_name(self) -> str:
        """The CT scorer that the radiograph scorers are compared with."""
        return self.reference or self.ct[0].label


class StatisticsSettings(Settings):
    """What counts for the agreement, and how its intervals are found."""

    exclude_flags: tuple[str, ...] = Field(
        (), description="measurements with one of these flags are left out of the agreement (not of the tables)"
    )

    n_resamples: int = Field(
        2000, ge=100, le=100_000, description="resamples of the patient bootstrap that gives the intervals"
    )
    level: float = Field(0.95, gt=0.5, lt=1, description="confidence level of the intervals")
    seed: int | None = Field(None, ge=0, description="of the resamples; by default the study's seed")
    error_ratio: float = Field(
        1.0, gt=0, description="Deming regression: variance of the CT ratio's error by that of the radiograph ratio's"
    )
    margin_points: float = Field(
        5.0, gt=0, le=100, description="largest difference that does not matter, for the coverage probability"
    )
    ct_zone_points: float = Field(
        0.0,
        ge=0,
        le=100,
        description="change of the CT ratio that may be measurement error (its minimal detectable change)",
    )
    cxr_zone_points: float | None = Field(
        None, ge=0, le=100, description="the same of the radiograph ratio; by default as of the CT ratio"
    )

    ct_disagreement_points: float = Field(
        DISAGREEMENT_POINTS,
        gt=0,
        le=100,
        description="scans on which another CT scorer differs from the reference by more than this are flagged",
    )

    @field_validator("exclude_flags")
    @classmethod
    def _known_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*VIEW_FLAGS, *LUNG_FLAGS, DISAGREE_FLAG)
        if unknown := sorted(set(value) - set(known)):
            raise ValueError(f"unknown flags {unknown}; expected some of: {', '.join(known)}")
        return value


class CriterionSettings(Settings):
    """An acceptance criterion: a number of the agreement and the bound it must keep."""

    number: str = Field(description="as in results/agreement_table.tsv, such as pearson_r or bias")
    analysis: str = Field("", description="as there; by default the first analysis that has the number")
    bound: str = Field("interval", description="what must keep the rule: interval (both ends), estimate, low or high")
    at_least: float | None = None
    at_most: float | None = None
    within: float | None = Field(None, description="largest size, of either sign")
    view: View | None = Field(None, description="by default every view")
    scorer: str = Field("", description="by default every radiograph scorer")

    @model_validator(mode="after")
    def _can_be_evaluated(self) -> CriterionSettings:
        try:
            object.__setattr__(self, "analysis", self.criterion().analysis)
        except StudyError as error:
            raise ValueError(str(error).rstrip(".")) from None
        return self

    def criterion(self) -> Criterion:
        """The criterion as the statistics take it."""
        return Criterion(**{**self.model_dump(), "view": self.view or ""})


class OutputSettings(Settings):
    """What is written where."""

    folder: str = Field("", description="output folder, relative to the working directory; --out overrides it")
    keep_area_density: bool = Field(
        True, description="keep the area densities (npz, g/cm2, [material, row, col]) of every view"
    )


class Study(Settings):
    """A whole study."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    description: str = ""
    seed: int = Field(0, ge=0)
    cohort: CohortSettings
    views: tuple[View, ...] = Field(("PA", "AP"), min_length=1)
    geometry: dict[View, str] = Field(
        default_factory=dict, description="preset of each view; one name serves all views"
    )
    materials: MaterialSettings = MaterialSettings()
    spectrum: SpectrumSettings = SpectrumSettings()
    scatter: ScatterSettings = ScatterSettings()
    detector: DetectorSettings = DetectorSettings()
    display: DisplaySettings = DisplaySettings()
    scorers: ScorerSettings = ScorerSettings()
    statistics: StatisticsSettings = StatisticsSettings()
    acceptance: tuple[CriterionSettings, ...] = Field((), description="criteria that the agreement must meet")
    output: OutputSettings = OutputSettings()

    @model_validator(mode="before")
    @classmethod
    def _one_preset_for_all(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("geometry"), str):
            views = values.get("views", ("PA", "AP"))
            if isinstance(views, (list, tuple)):
                values = {**values, "geometry": dict.fromkeys(views, values["geometry"])}
        return values

    @field_validator("views")
    @classmethod
    def _views_once(cls, value: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(value)) != len(value):
            raise ValueError(f"lists a view twice: {list(value)}")
        return value

    @field_validator("geometry")
    @classmethod
    def _known_presets(cls, value: dict[View, str]) -> dict[View, str]:
        for name in value.values():
            if name not in presets():
                raise ValueError(f"unknown preset {name!r}; expected one of: {', '.join(presets())}")
        return value

    @field_validator("acceptance")
    @classmethod
    def _criteria_speak_of_this_study(
        cls, value: tuple[CriterionSettings, ...], info: ValidationInfo
    ) -> tuple[CriterionSettings, ...]:
        views = [str(view) for view in info.data.get("views", ())]
        scorers = [spec.label for spec in info.data["scorers"].cxr] if "scorers" in info.data else []
        for criterion in value:
            for key, name, known in (("view", criterion.view, views), ("scorer", criterion.scorer, scorers)):
                if name and known and name not in known:
                    raise ValueError(f"{key} {name!r} is not in this study; expected one of: {', '.join(known)}")
        return value

    def comparison(self) -> ComparisonSettings:
        """Settings of the agreement statistics."""
        chosen = self.statistics
        return ComparisonSettings(
            n_resamples=chosen.n_resamples,
            level=chosen.level,
            seed=self.seed if chosen.seed is None else chosen.seed,
            error_ratio=chosen.error_ratio,
            margin=chosen.margin_points,
            reference_zone=chosen.ct_zone_points,
            test_zone=chosen.cxr_zone_points,
        )

    def preset(self, view: str) -> str:
        """Geometry preset of a view."""
        return {**{v: default_preset(v) for v in self.views}, **self.geometry}[view]  # type: ignore[index]

    def resolved(self) -> dict[str, Any]:
        """Every setting with its value, JSON-ready."""
        values = self.model_dump(mode="json")
        values["geometry"] = {view: self.preset(view) for view in self.views}
        values["scorers"]["reference"] = self.scorers.reference_name
        return values


def load_study(path: Path) -> Study:
    """Read and validate a study file.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    return validated(Study, read_mapping(path, "study file", "name, cohort, views"), path)
