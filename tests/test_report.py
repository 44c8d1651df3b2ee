"""Pages of a study, from a made-up output folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from report_factory import HOSTILE, SCANS, Page, make_output, resolved_study, write_agreement, write_json

from drrval.errors import StudyError
from drrval.report import methods_text, write_reports
from drrval.report.text import accuracy_text, file_label, number, p_text, plain


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output folder without pages, which no test may change."""
    return make_output(tmp_path_factory.mktemp("made"))


@pytest.fixture(scope="module")
def report(made: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    out = tmp_path_factory.mktemp("report") / "out"
    shutil.copytree(made, out)
    return out, write_reports(out)


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy of the output folder, for tests that change it."""
    return Path(shutil.copytree(made, tmp_path / "out"))


@pytest.fixture(scope="module")
def pages(report: tuple[Path, list[Path]]) -> dict[str, Page]:
    return {path.name: Page(path) for path in report[1] if path.suffix == ".html"}


KINDS = ("regression", "course", "bland-altman", "four-quadrant", "forest")


def test_writes_all_pages_and_figures(report: tuple[Path, list[Path]]) -> None:
    out, written = report
    assert {path.relative_to(out).as_posix() for path in written} == {
        "index.html", "sub-01.html", "sub-02.html", "sub-03.html",
        *(f"figures/{kind}_view-PA_scorer-projected-area.{ending}"
          for kind in KINDS for ending in ("png", "svg")),
    }  # fmt: skip
    assert all(path.is_file() for path in written)
    assert not list(out.rglob("*.part"))


def test_nothing_is_loaded_from_elsewhere(pages: dict[str, Page]) -> None:
    for page in pages.values():
        for tag, attrs in page.tags:
            assert tag not in {"script", "link", "iframe", "object"}
            for name in ("src", "href", "xlink:href", "srcset", "data"):
                value = attrs.get(name) or ""
                if "//" in value and not value.startswith("data:"):
                    assert (tag, name) == ("a", "href")
                    assert value.startswith("https://doi.org/")


def test_local_links_lead_somewhere(report: tuple[Path, list[Path]], pages: dict[str, Page]) -> None:
    out = report[0]
    for name, page in pages.items():
        for link in page.values("href", "xlink:href"):
            if link.startswith("https://"):
                continue
            file, _, anchor = unquote(link).partition("#")
            assert not file or (out / file).is_file(), link
            target = file or name
            if anchor and target in pages:
                assert anchor in pages[target].values("id"), link


def test_every_point_links_to_its_scan(pages: dict[str, Page]) -> None:
    links = pages["index.html"].values("xlink:href")
    assert {f"sub-{subject}.html#ses-{session}" for subject, session, *_ in SCANS} <= set(links)


def test_figure_file_links_up_to_the_pages(report: tuple[Path, list[Path]]) -> None:
    svg = (report[0] / "figures/regression_view-PA_scorer-projected-area.svg").read_text(encoding="utf-8")
    assert 'xlink:href="../sub-01.html#ses-03"' in svg


def test_ids_are_unique(pages: dict[str, Page]) -> None:
    for page in pages.values():
        ids = page.values("id")
        assert len(ids) == len(set(ids))


def test_hostile_text_is_shown_and_not_run(report: tuple[Path, list[Path]], pages: dict[str, Page]) -> None:
    for path in report[1]:
        if path.suffix == ".html":
            assert "<script" not in path.read_text(encoding="utf-8")
    for name in ("index.html", "sub-01.html", "sub-03.html"):
        assert HOSTILE in pages[name].text


def test_pictures_are_embedded(pages: dict[str, Page]) -> None:
    sources = pages["sub-01.html"].values("src")
    assert len(sources) == 3 * 3
    assert all(source.startswith("data:image/png;base64,iVBORw0KGgo") for source in sources)
    for caption in ("CT overview", "Radiograph", "Overlay"):
        assert caption in pages["sub-01.html"].text


def test_failed_scan_has_a_section_and_a_message(pages: dict[str, Page]) -> None:
    assert "ses-01" in pages["sub-03.html"].values("id")
    for name in ("index.html", "sub-03.html"):
        assert "truncated file" in pages[name].text
        assert "send it again" in pages[name].text
    assert "5 of 6 scans finished" in pages["index.html"].text


def test_headline_numbers(pages: dict[str, Page]) -> None:
    text = pages["index.html"].text
    assert "PA projected-area 2 5 1.00 < 0.001 1.10 3.0 1.00 1.00 (3 of 3)" in text
    assert "5 scans of 2 patients" in text
    assert "All: p_value takes all scans as independent" in text
    assert "drrval 9.9" in text


def test_numbers_with_intervals_and_what_they_rest_on(pages: dict[str, Page]) -> None:
    text = pages["index.html"].text
    for said in (
        "bias, points 4.5 ", "Lin's concordance 0.9", "no-information rate 0.67",
        "patients, scans, intervals between scans 2, 5, 3",
        "bootstrap of 100 resamples that draw patients",
        "5 scans of 2 patients. Solid: bias",
        "Changes between successive scans: 3 intervals",
    ):  # fmt: skip
        assert said in text
    assert "results/agreement_table.tsv" in pages["index.html"].values("href")


def test_acceptance_criteria_are_shown_with_their_values(pages: dict[str, Page]) -> None:
    text = pages["index.html"].text
    assert "Acceptance criteria not met" in text
    assert "least_squares pearson_r: estimate at least 0.9 PA projected-area 1.000 2 met" in text
    assert "limits_of_agreement bias: whole interval within 5 PA projected-area 4.500 2 not computable" in text
    assert "it needs at least 3 patients, got 2" in text
    assert "stated in the study file" in text
    assert "ab" * 32 in text


def test_one_ct_scorer_no_section(pages: dict[str, Page]) -> None:
    page = pages["index.html"]
    assert "ct-scorers" not in page.values("id")
    assert "CT scorer" not in page.text.partition("Methods text")[0].partition("Agreement with CT")[0]


@pytest.mark.usefixtures("no_figures")
def test_no_criteria_no_section(out: Path) -> None:
    write_json(out / "results/acceptance.json", {"study_sha256": "", "all_met": None, "outcomes": []})
    write_reports(out)
    assert "Acceptance" not in Page(out / "index.html").text


def test_writing_twice_gives_the_same_bytes(report: tuple[Path, list[Path]], tmp_path: Path) -> None:
    out, written = report
    copy = tmp_path / "copy"
    shutil.copytree(out, copy, ignore=shutil.ignore_patterns("*.html", "figures"))
    for first, second in zip(written, write_reports(copy), strict=True):
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


def test_a_study_in_which_all_scans_failed(out: Path) -> None:
    study = json.loads((out / "logs/study.json").read_text())
    write_json(out / "logs/study.json", {**study, "scans": [{"folder": "sub-03/ses-01"}]})
    table = pd.read_csv(out / "results/measurements.tsv", sep="\t", dtype=str)
    table.iloc[:0].to_csv(out / "results/measurements.tsv", sep="\t", index=False)
    write_agreement(out, table.iloc[:0])
    write_reports(out)
    text = Page(out / "index.html").text
    assert "no agreement to report" in text
    assert "0 of 1 scan finished" in text


@pytest.mark.usefixtures("no_figures")
def test_missing_picture_is_said(out: Path) -> None:
    (out / "sub-02/ses-01/view-PA_drr.png").unlink()
    write_reports(out)
    assert "sub-02/ses-01/view-PA_drr.png could not be read" in Page(out / "sub-02.html").text


@pytest.mark.usefixtures("no_figures")
def test_wide_pictures_are_reduced(out: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (900, 900), dtype=np.uint8)
    Image.fromarray(noise).save(out / "sub-02/ses-01/view-PA_drr.png")
    write_reports(out)
    source = Page(out / "sub-02.html").values("src")[0]
    assert 400_000 < len(source) < 4 / 3 * 1.1 * 640 * 640


@pytest.mark.parametrize(
    "name",
    [
        "logs/study.json",
        "results/measurements.tsv",
        "results/agreement.json",
        "results/ct_scorers.json",
        "results/acceptance.json",
        "dataset_description.json",
    ],
)
def test_not_an_output_folder(out: Path, name: str) -> None:
    (out / name).unlink()
    with pytest.raises(
        StudyError, match=rf"{Path(name).name} is missing. Give the output folder of `drrval run-study`"
    ):
        write_reports(out)


def test_damaged_files(out: Path) -> None:
    scan = out / "sub-01/ses-01/scan.json"
    write_json(scan, {"subject": "09", "session": "01"})
    with pytest.raises(StudyError, match=r"scan.json says that it is sub-09/ses-01. Remove that scan's folder"):
        write_reports(out)
    scan.write_text('{"subject": ')
    with pytest.raises(StudyError, match=r"scan.json is not readable as JSON .*Remove it and run the study again"):
        write_reports(out)
    scan.write_text("[]")
    with pytest.raises(StudyError, match=r"must hold a JSON object, got list"):
        write_reports(out)


def test_methods_text_states_the_settings() -> None:
    study = resolved_study(
        views=["PA", "AP"],
        geometry={"PA": "paper", "AP": "chest-ap"},
        detector={"noise": False, "response": "photon-counting"},
        scatter={"model": "none"},
        display={"rule": "minmax"},
        scorers={"ct": [{"use": "opacity", "options": {"threshold_hu": -600}}], "cxr": ["mine"]},
        statistics={"exclude_flags": ["lungs_outside_field"]},
        seed=5,
    )
    full = methods_text(study)
    text = " ".join(full.paragraphs)
    for said in (
        "Views: PA, AP", "4 procedural thorax phantoms", "1024 x 1024 pixels of 0.41 mm", "preset chest-ap",
        "air up to −800 HU, soft tissue up to 350 HU", "120 kV, 4.3 mm aluminium (SpekPy [3, 4])",
        "photon-counting response", "no noise", "no scatter", "rule minmax", "with threshold_hu -600",
        "Radiograph: mine.", "The reference was the CT scorer opacity", "flagged lungs_outside_field",
    ):  # fmt: skip
        assert said in text
    for unsaid in ("quantum noise", "study seed", "anti-scatter grid"):
        assert unsaid not in text
    assert [reference.number for reference in full.references] == list(range(1, 20))
    assert full.references[0].doi == "10.1109/JBHI.2021.3069169"
    noisy = " ".join(methods_text(resolved_study()).paragraphs)
    for said in (
        "energy-integrating response",
        "100000 photons per pixel",
        "scatter estimated by kernels",
        "study seed 0",
    ):
        assert said in noisy


def test_number_texts() -> None:
    assert [number(v) for v in (None, float("nan"), "n/a", 1.005, -7.234, -0.001)] == [
        "n/a", "n/a", "n/a", "1.00", "\u22127.23", "0.00",
    ]  # fmt: skip
    assert [p_text(p) for p in (None, 0.0, 0.0009, 0.0123)] == ["p n/a", "p < 0.001", "p < 0.001", "p = 0.012"]
    assert accuracy_text({"trend_accuracy": None, "trend_labels": [], "n_intervals": 0}) == "n/a"
    assert [plain(v) for v in (None, "", True, 0.1 + 0.2, [1, 2.5], {"a": 1})] == [
        "n/a", "n/a", "yes", "0.3", "1, 2.5", "a 1",
    ]  # fmt: skip
    assert [file_label(name) for name in ("projected-area", "my.pkg:Model/../x", "///")] == [
        "projected-area", "my.pkg-Model-..-x", "unnamed",
    ]  # fmt: skip
