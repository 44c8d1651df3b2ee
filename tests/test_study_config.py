from pathlib import Path

import pytest

from drrval.errors import StudyError
from drrval.study.config import load_study

STUDIES = Path(__file__).parents[1] / "studies"


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("name", ["demo", "wenzhou", "local_ct", "virtual_trial", "virtual_real_ct"])
def test_shipped_studies_are_valid(name: str) -> None:
    study = load_study(STUDIES / f"{name}.yaml")
    assert study.views == ("PA", "AP")


def test_wenzhou_has_the_papers_settings() -> None:
    study = load_study(STUDIES / "wenzhou.yaml")
    assert study.preset("PA") == study.preset("AP") == "paper"
    assert (study.spectrum.kvp, study.spectrum.filtration_mm_al) == (120, 4.3)
    assert study.detector.photons_per_pixel == 1e5
    assert (study.display.rule, study.display.gamma, study.display.gamma_above_mean) == ("paper", 0.2, 220)
    assert (study.materials.air_max_hu, study.materials.soft_tissue_max_hu) == (-800, 350)


def test_defaults_are_resolved(tmp_path: Path) -> None:
    study = load_study(write(tmp_path, "name: s\ncohort: {simulate: {}}\n"))
    resolved = study.resolved()
    assert resolved["geometry"] == {"PA": "chest-pa", "AP": "chest-ap"}
    assert resolved["scorers"]["reference"] == "corona"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: s\ncohort: {simulate: {}}\nviews: [PX]\n", r"views\.0: got 'PX'.*'PA', 'AP' or 'LL'"),
        ("name: s\ncohort: {simulate: {}}\nview: [PA]\n", "view: unknown key. Expected one of: name, description"),
        ("name: s\ncohort: {simulate: {patient: 3}}\n", "simulate.patient: unknown key. Expected one of: .*patients"),
        ("name: s\ncohort: {}\n", "exactly one of simulate, insert, table, glob; got none"),
        ("name: s\ncohort: {table: a.tsv, glob: {}}\n", "got table, glob"),
        ("cohort: {simulate: {}}\n", "name: is missing"),
        (
            "name: s\ncohort: {simulate: {}}\nspectrum: {kvp: 1000}\n",
            r"spectrum\.kvp: got 1000.*less than or equal to 150",
        ),
        (
            "name: s\ncohort: {simulate: {}}\ngeometry: chest-xx\n",
            "unknown preset 'chest-xx'; expected one of: chest-pa",
        ),
        ("name: s\ncohort: {simulate: {}}\nviews: [PA, PA]\n", "lists a view twice"),
        ("name: s\ncohort: {simulate: {}}\nscorers: {reference: lungnet}\n", "'lungnet' must be one of the CT scorers"),
        ("name: s\ncohort: {glob: {name: '(?P<patient>.*)'}}\n", "needs the named group"),
        ("name: s\nname: t\n", r"key \['name'\] is given twice"),
        ("- a\n", "must hold a mapping"),
        ("name: [s\n", "not valid YAML"),
    ],
)
def test_broken_studies_name_key_value_and_rule(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(write(tmp_path, text))


def test_every_broken_rule_is_listed(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"breaks 2 rule\(s\)"):
        load_study(write(tmp_path, "name: s\ncohort: {simulate: {}}\nseed: -1\nfoo: 2\n"))


def test_missing_study_file(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="Cannot read the study file"):
        load_study(tmp_path / "none.yaml")
