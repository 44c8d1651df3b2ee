"""What a study file may say about its cohort."""

from __future__ import annotations

import re
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from drrval.settings import Settings
from drrval.settings_file import read_mapping, validated
from drrval.simulation.settings import CourseSettings, SimulateSettings


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


class InsertSettings(CourseSettings):
    """A cohort of real chest CTs, each the chest of one virtual patient, with disease put into them.

    The scans are found by exactly one of ``glob`` and ``table``.
    """

    glob: GlobSettings | None = None
    table: str | None = Field(
        None, description="CSV or TSV with columns subject, path and, as wanted, lungs (a lung mask's file), series_uid"
    )

    @model_validator(mode="after")
    def _one_source(self) -> InsertSettings:
        if (self.glob is None) == (self.table is None):
            raise ValueError(f"needs exactly one of glob, table; got {'both' if self.glob else 'none'}")
        return self


class CohortSettings(Settings):
    """Where the scans come from: exactly one of ``simulate``, ``insert``, ``table`` and ``glob``."""

    simulate: SimulateSettings | None = None
    insert: InsertSettings | None = None
    table: str | None = Field(None, description="CSV or TSV with columns subject, session, date, path, series_uid")
    glob: GlobSettings | None = None
    instructions: str = Field("", description="what to put below the data root; shown when it is missing")

    @model_validator(mode="after")
    def _one_source(self) -> CohortSettings:
        sources = ("simulate", "insert", "table", "glob")
        given = [name for name in sources if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"needs exactly one of {', '.join(sources)}; got {', '.join(given) or 'none'}")
        return self


class VirtualCohortSettings(Settings):
    """A cohort that ``drrval simulate`` can write: one with ``simulate`` or ``insert``."""

    cohort: CohortSettings

    @field_validator("cohort")
    @classmethod
    def _is_virtual(cls, value: CohortSettings) -> CohortSettings:
        if value.simulate is None and value.insert is None:
            raise ValueError("needs simulate or insert; the scans of a table or glob exist already")
        return value


def load_virtual_cohort(path: Path) -> CohortSettings:
    """Read what to simulate: from a study file, or a file with the key ``cohort``, ``simulate`` or ``insert`` alone.

    Raises:
        StudyError: naming the file, each key, the value given and what is allowed.
    """
    values = read_mapping(path, "cohort file", "simulate")
    return validated(VirtualCohortSettings, {"cohort": values.get("cohort", values)}, path).cohort
