"""The study file: what it may say, and clear errors when it says something else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

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
from drrval.stats import ComparisonSettings, Criterion

View = Literal["PA", "AP", "LL"]


class SimulateSettings(Settings):
    """A generated cohort: procedural thoraces with a disease course."""

    patients: int = Field(4, ge=1, le=9999)
    timepoints: int = Field(4, ge=1, le=99)
    seed: int = Field(0, ge=0)
    spacing_mm: float = Field(2.0, ge=0.6, le=4.0)


class GlobSettings(Settings):
    """Scans found below the data root by pattern."""

    pattern: str = Field(
        "**", description="glob below the data root; every CT that it matches, or whose folder it matches, is one scan"
    )
    name: str = Field(
        r"(?P<subject>[^/]+?)(\.nii\.gz|\.[^./]+)?$",
        description="regular expression searched in the relative path; named groups subject, session, date; without a "
        "session the scans of a subject are numbered by date, then path",
    )

    @field_validator("name")
    @classmethod
    def _names_a_subject(cls, value: str) -> str:
        try:
            groups = re.compile(value).groupindex
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        if "subject" not in groups or set(groups) - {"subject", "session", "date"}:
            raise ValueError(
                "needs the named group (?P<subject>...) and at most (?P<session>...) and (?P<date>...) beside it"
            )
        return value


class CohortSettings(Settings):
    """Where the scans come from: exactly one of ``simulate``, ``table`` and ``glob``."""

    simulate: SimulateSettings | None = None
    table: str | None = Field(None, description="CSV or TSV with columns subject, session, date, path, series_uid")
    glob: GlobSettings | None = None
    instructions: str = Field("", description="what to put below the data root; shown when it is missing")

    @model_validator(mode="after")
    def _one_source(self) -> CohortSettings:
        given = [n for n in ("simulate", "table", "glob") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of simulate, table, glob; got {', '.join(given) or 'none'}")
        return self


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

    ct: tuple[ScorerSpec, ...] = (ScorerSpec(use="opacity"),)
    cxr: tuple[ScorerSpec, ...] = (ScorerSpec(use="projected-area"), ScorerSpec(use="projected-thickness"))
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

    @field_validator("exclude_flags")
    @classmethod
    def _known_flags(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        known = (*VIEW_FLAGS, *LUNG_FLAGS)
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
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StudyError(f"Cannot read the study file {path}: {error}. Give the path of a YAML file.") from None
    try:
        values = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise StudyError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise StudyError(f"{path} must hold a mapping of keys (name, cohort, views, ...), not {type(values).__name__}.")
    try:
        return Study.model_validate(values)
    except ValidationError as error:
        lines = list(
            dict.fromkeys(_explain(problem, values) for problem in error.errors() if problem["type"] != "too_short")
        )
        raise StudyError("\n".join([f"{path} breaks {len(lines)} rule(s):", *lines])) from None


_PLAIN = {
    "tuple_type": "It must be a list, such as [PA, AP]",
    "dict_type": "It must be a mapping of keys, such as {PA: chest-pa}",
    "model_type": "It must be a mapping of keys, such as {model: none}",
    "string_pattern_mismatch": "Use letters, digits, '.', '_' and '-', beginning with a letter or digit",
}


def _explain(problem: Any, values: dict[str, Any]) -> str:
    """One line: the key, the value, the rule."""
    parts = [str(p) for p in problem["loc"]]
    key = ".".join(parts) or "the study"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        return f"  {key}: is missing. Add this key."
    if problem["type"] == "extra_forbidden":
        return f"  {key}: unknown key. Expected one of: {', '.join(_allowed_keys(parts[:-1]))}."
    message = _PLAIN.get(problem["type"], message)
    return f"  {key}: got {problem['input']!r}. {message}."


def _allowed_keys(parents: list[str]) -> list[str]:
    """Keys of the model that a path of keys leads to."""
    model: type[Settings] = Study
    for part in parents:
        if part.isdigit() or part not in model.model_fields:
            continue
        found = _settings_in(model.model_fields[part].annotation)
        model = found or model
    return list(model.model_fields)


def _settings_in(annotation: Any) -> type[Settings] | None:
    if isinstance(annotation, type) and issubclass(annotation, Settings):
        return annotation
    return next((m for a in getattr(annotation, "__args__", ()) if (m := _settings_in(a))), None)


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice, which plain YAML silently overwrites."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        twice = {k for k in keys if keys.count(k) > 1}
        if twice:
            raise yaml.YAMLError(f"key {sorted(map(str, twice))} is given twice\n{node.start_mark}")
        return super().construct_mapping(node, deep=deep)
