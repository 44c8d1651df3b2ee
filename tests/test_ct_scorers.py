"""CT scorers against each other: the statistics, the flag on scans, and the section of the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import box_thorax
from report_factory import QUICK, SCANS, Page, make_output, measurement, resolved_study, write_json
from scipy import stats
from study_factory import study_file

from drrval.cli import main
from drrval.report import methods_text, write_reports
from drrval.stats.ct_scorers import (
    DISAGREE_FLAG,
    ct_disagreements,
    ct_scorers_document,
    ct_scorers_table,
    flag_disagreements,
)
from drrval.study.store import write_volume

HEAD = {"date": "2020-03-01", "status": "ok"}


def table(rows: list[tuple[str, str, str, float]], **changes: Any) -> pd.DataFrame:
    """Measurements of (subject, session, scorer, ratio); scorers named after a radiograph are radiograph rows."""
    return pd.DataFrame(
        [
            {
                **HEAD, "subject": subject, "session": session, "scorer": scorer, "ratio_percent": ratio, "flags": None,
                "modality": "CXR" if scorer == "film" else "CT", "view": "PA" if scorer == "film" else None, **changes,
            }
            for subject, session, scorer, ratio in rows
        ]
    )  # fmt: skip


MIXED = table([
    ("01", "01", "corona", 20.0), ("01", "01", "opacity", 25.0), ("01", "01", "film", 60.0),
    ("02", "01", "corona", 20.0), ("02", "01", "opacity", 25.5), ("02", "01", "film", 20.0),
    ("02", "02", "corona", 30.0), ("02", "02", "opacity", 22.0), ("02", "02", "other", 31.0),
    ("03", "01", "corona", 1.0), ("03", "01", "opacity", np.nan),
])  # fmt: skip


def test_only_larger_differences_are_listed_largest_first() -> None:
    found = ct_disagreements(MIXED, "corona", 5.0)
    assert found[["subject", "session", "scorer"]].to_numpy().tolist() == [
        ["02", "02", "opacity"],
        ["02", "01", "opacity"],
    ]
    assert found["difference_points"].tolist() == [-8.0, 5.5]
    assert ct_disagreements(MIXED, "opacity", 5.0)["scorer"].tolist() == ["other", "corona", "corona"]


def test_both_ct_rows_are_flagged_and_other_flags_kept() -> None:
    given = MIXED.assign(flags=["lungs_joined" if scorer == "opacity" else None for scorer in MIXED["scorer"]])
    flags = flag_disagreements(given, "corona", 5.0)["flags"].fillna("").tolist()
    both = f"lungs_joined;{DISAGREE_FLAG}"
    assert flags == [
        "", "lungs_joined", "", DISAGREE_FLAG, both, "", DISAGREE_FLAG, both, "", "", "lungs_joined",
    ]  # fmt: skip
    assert given["flags"].isna()[3]


def test_one_scorer_has_nothing_to_be_compared_with() -> None:
    alone = MIXED[MIXED["scorer"].isin(["corona", "film"])]
    document = ct_scorers_document(alone, "corona", settings=QUICK)
    assert (document["results"], document["disagreements"]) == ([], [])
    assert ct_scorers_table(document).empty
    assert flag_disagreements(alone, "corona", 5.0)["flags"].isna().all()
    empty = ct_scorers_document(alone.iloc[:0], "corona", settings=QUICK)
    assert empty["results"] == []


@pytest.fixture(scope="module")
def cohort() -> pd.DataFrame:
    rng = np.random.default_rng(4)
    rows = []
    for patient in range(12):
        for session in range(2):
            ratio = rng.uniform(2, 50)
            scan = (f"{patient:02d}", f"{session:02d}")
            rows += [(*scan, "corona", ratio), (*scan, "opacity", 1.1 * ratio + rng.normal(0, 1.5))]
    return table(rows)


def test_numbers_are_those_of_the_pairs(cohort: pd.DataFrame) -> None:
    document = ct_scorers_document(cohort, "corona", 4.0, settings=QUICK)
    json.dumps(document, allow_nan=False)
    [row] = document["results"]
    x, y = (cohort.loc[cohort["scorer"] == name, "ratio_percent"].to_numpy() for name in ("corona", "opacity"))
    line = stats.linregress(x, y)
    found = row["regression"]["least_squares"]["numbers"]
    assert found["slope"]["estimate"] == pytest.approx(line.slope)
    assert found["pearson_r"]["estimate"] == pytest.approx(line.rvalue)
    bias = row["agreement"]["limits_of_agreement"]["numbers"]["bias"]
    assert bias["estimate"] == pytest.approx(np.mean(y - x))
    assert bias["low"] < bias["estimate"] < bias["high"]
    assert (bias["n_patients"], row["n_scans"], row["n_compared"]) == (12, 24, 24)
    assert row["n_disagreements"] == len(document["disagreements"]) == np.sum(np.abs(y - x) > 4.0) > 0
    assert row["trends"] == {}
    tidy = ct_scorers_table(document).set_index(["scorer", "analysis", "number"])
    assert tidy.loc[("opacity", "least_squares", "slope"), "estimate"] == pytest.approx(line.slope)


def test_excluded_flags_leave_scans_out_but_not_because_scorers_disagree(cohort: pd.DataFrame) -> None:
    flagged = flag_disagreements(cohort, "corona", 4.0)
    flagged.loc[flagged["subject"] == "00", "flags"] = "lungs_joined"
    document = ct_scorers_document(flagged, "corona", 4.0, ["lungs_joined", DISAGREE_FLAG], QUICK)
    [row] = document["results"]
    assert (row["n_scans"], row["n_compared"]) == (22, 24)
    assert document["exclude_flags"] == ["lungs_joined"]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a study whose second CT scorer reads 2 points more, but 9 less on one scan."""
    out = make_output(tmp_path_factory.mktemp("report"))
    path = out / "results/measurements.tsv"
    given = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    second = []
    for subject, session, date, ratio in SCANS:
        other = ratio - 9 if (subject, session) == ("01", "02") else ratio + 2
        second.append(measurement(subject, session, date, other, "second", "n/a"))
        scan = out / f"sub-{subject}/ses-{session}/scan.json"
        record = json.loads(scan.read_text())
        record["measurements"].append({**second[-1], "flags": None})
        record["measurements"][0]["flags"] = None
        record["files"] = ["ct_second_slices.tsv", "scan.json"]
        (scan.parent / "ct_second_slices.tsv").touch()
        write_json(scan, record)
    joined = pd.concat([given, pd.DataFrame(second)])
    joined.to_csv(path, sep="\t", index=False)
    numbers = joined.assign(ratio_percent=joined["ratio_percent"].astype(float))
    write_json(out / "results/ct_scorers.json", ct_scorers_document(numbers, "opacity", settings=QUICK))
    (out / "results/ct_scorers_table.tsv").write_text("")
    write_reports(out)
    return out


def test_the_section_says_how_far_and_where_they_differ(report: Path) -> None:
    page = Page(report / "index.html")
    assert "CT scorers disagree on 1 of 5 scans" in page.text
    assert "second and the reference opacity differ by more than 5 percentage points on 1 of 5 scans" in page.text
    assert "sub-01 ses-02 second 31.0 40.0 \u22129.0" in page.text
    assert "ct-scorers" in page.values("id")
    assert "#ct-scorers" in page.values("href")
    assert "bias, points \u22120.2 " in page.text
    assert "Trends" not in page.text[page.text.index("second against opacity") : page.text.index("Figures")]
    for kind in ("regression", "bland-altman"):
        assert (report / f"figures/{kind}_ct_scorer-second.svg").is_file()
    assert not (report / "figures/course_ct_scorer-second.svg").exists()
    assert "sub-01.html#ses-02" in page.values("xlink:href")


def test_the_scan_is_flagged_on_both_pages(report: Path) -> None:
    index, patient = (Page(report / name).text for name in ("index.html", "sub-01.html"))
    assert index.count(DISAGREE_FLAG) == 2  # the scan, and what the flag is for
    assert patient.count(DISAGREE_FLAG) == 3  # the scan and both CT rows
    assert "CT scorers disagree: second 31.0 %, the reference 40.0 %." in patient
    assert DISAGREE_FLAG not in Page(report / "sub-02.html").text


def test_the_patient_page_links_the_slices(report: Path) -> None:
    links = Page(report / "sub-01.html").values("href")
    assert "sub-01/ses-02/ct_second_slices.tsv" in links
    assert not any("scan.json" in link for link in links)


def test_methods_text_explains_the_scorers() -> None:
    scorers = {"ct": ["corona", "opacity"], "cxr": ["dlnet-light", {"use": "dlnet", "options": {"folder": "mine"}}]}
    full = methods_text(resolved_study(scorers=scorers, statistics={"ct_disagreement_points": 4}))
    text = " ".join(full.paragraphs)
    for said in (
        "CT: corona (right and left lung by a U-Net [", "is the Corona Score [", "EfficientNet-Lite0 [",
        "dlnet (the method of [1]: DLNet, a ResNet50 [", "with folder mine", "dlnet-light (the method of [1]",
        "scans on which their ratios differ by more than 4 percentage points are flagged",
        "The reference was the CT scorer corona.",
    ):  # fmt: skip
        assert said in text
    assert "{" not in text
    assert {"10.1109/ICCV.2017.74", "10.48550/arXiv.2003.05037"} <= {reference.doi for reference in full.references}
    alone = " ".join(methods_text(resolved_study(scorers={"ct": ["opacity"]})).paragraphs)
    assert "are flagged" not in alone


STUDY_OF_TWO = """
name: two
cohort: {glob: {}}
views: [PA]
output: {keep_area_density: false}
statistics: {n_resamples: 100, ct_disagreement_points: 2.0}
scorers: {ct: [opacity, {use: 'study_factory:SlicingScorer', name: sliced}], cxr: [projected-area]}
"""


@pytest.mark.usefixtures("no_figures")
def test_a_study_with_two_ct_scorers(tmp_path: Path) -> None:
    out, data = tmp_path / "out", tmp_path / "data"
    for name, depth in (("a", 20), ("b", 30)):
        ct = box_thorax()
        ct.hu[20:40, 30 : 30 + depth, 25:35] = -780.0  # disease for the second scorer, and not for the first
        write_volume(data / f"{name}.nii.gz", ct.hu.astype(np.int16), ct.grid)
    study = study_file(tmp_path, STUDY_OF_TWO)
    command = ["run-study", str(study), "--data-root", str(data), "--out", str(out), "--no-progress"]
    assert main(command) == 0
    document = json.loads((out / "results/ct_scorers.json").read_text())
    [row] = document["results"]
    assert (row["scorer"], row["n_scans"], document["disagreement_points"]) == ("sliced", 2, 2.0)
    measured = pd.read_csv(out / "results/measurements.tsv", sep="\t", dtype=str).fillna("")
    flagged = measured[measured["flags"].str.contains(DISAGREE_FLAG)]
    assert len(flagged) == 2 * row["n_disagreements"] > 0
    assert set(flagged["modality"]) == {"CT"}
    scans = sorted(out.glob("sub-*/ses-*"))
    for scan in scans:
        slices = pd.read_csv(scan / "ct_sliced_slices.tsv", sep="\t")
        assert (slices["probability"] == (slices["lesion_cm2"] > 0)).all()
        assert not (scan / "ct_opacity_slices.tsv").exists()
    before = [(scan / "scan.json").stat().st_mtime_ns for scan in scans]
    study.write_text(STUDY_OF_TWO.replace("points: 2.0", "points: 90"))
    assert main(command) == 0
    assert DISAGREE_FLAG not in (out / "results/measurements.tsv").read_text()
    assert [(scan / "scan.json").stat().st_mtime_ns for scan in scans] == before
