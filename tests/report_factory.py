"""A made-up output folder of a study, and a reader of its pages."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from drrval.stats import ComparisonSettings, agreement_document, agreement_table, evaluate
from drrval.stats.acceptance import Criterion, all_met
from drrval.stats.ct_scorers import ct_scorers_document
from drrval.study.config import Study

HOSTILE = "<script>alert('x')</script> & \"q\""
SCANS = [("01", "01", "2020-03-01", 20.0), ("01", "02", "2020-03-08", 40.0), ("01", "03", "2020-03-20", 10.0),
         ("02", "01", "2020-03-02", 5.0), ("02", "02", "2020-03-09", 0.0)]  # fmt: skip
VOID = {"meta", "img", "br", "path", "use", "link", "input"}


class Page(HTMLParser):
    """Collects what a page holds, and fails on tags that do not close."""

    def __init__(self, path: Path):
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))
        assert self._open == []
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self._open.pop() == tag
        self.text += " "

    def handle_data(self, data: str) -> None:
        self.text += data

    def values(self, *names: str) -> list[str]:
        return [attrs[name] or "" for _, attrs in self.tags for name in names if name in attrs]


def measurement(subject: str, session: str, date: str, ratio: float, scorer: str, view: str) -> dict[str, Any]:
    modality = "CT" if view == "n/a" else "CXR"
    return {
        "subject": subject, "session": session, "date": date, "view": view, "scorer": scorer, "modality": modality,
        "ratio_percent": ratio, "ratio_right_percent": ratio, "ratio_left_percent": "n/a", "p_pneumonia": "n/a",
        "score": "n/a", "severity": "n/a", "status": "ok", "flags": "n/a",
    }  # fmt: skip


def write_json(path: Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def good_scan(out: Path, subject: str, session: str, date: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    folder = out / f"sub-{subject}" / f"ses-{session}"
    folder.mkdir(parents=True)
    picture = np.random.default_rng(int(subject + session)).integers(0, 256, (30, 40), dtype=np.uint8)
    for name in ("ct_overview.png", "view-PA_drr.png", "view-PA_area_overlay.png"):
        Image.fromarray(picture).save(folder / name)
    return {
        "scan_id": f"sub-{subject}_ses-{session}", "subject": subject, "session": session, "date": date,
        "source": f"ct/{HOSTILE}.nii.gz", "key": "0" * 64, "status": "ok", "message": "", "flags": [HOSTILE],
        "intake": {"status": "repaired", "findings": [{"rule": "gap", "outcome": "repaired", "message": HOSTILE}],
                   "facts": {"slice_count": 120, "spacing_mm": [1.5, 0.7, 0.7], "tilt": None}},
        "pictures": [{"file": "ct_overview.png", "caption": "CT overview"}],
        "views": {"PA": {"geometry": {"preset": "chest-pa", "sid_mm": 1800.0}, "seed": 7, "flags": ["body_cropped"],
                         "pictures": [{"file": "view-PA_drr.png", "caption": "Radiograph"},
                                      {"file": "view-PA_area_overlay.png", "caption": "Overlay"}]}},
        "measurements": rows,
    }  # fmt: skip


def resolved_study(**settings: Any) -> dict[str, Any]:
    return Study.model_validate({"name": "made", "cohort": {"simulate": {}}, **settings}).resolved()


QUICK = ComparisonSettings(n_resamples=100)
CRITERIA = [Criterion("pearson_r", bound="estimate", at_least=0.9), Criterion("bias", within=5)]


def write_agreement(out: Path, numbers: pd.DataFrame) -> None:
    """The agreement, and two criteria on it: one met, one not computable with two patients."""
    document = agreement_document(numbers, "opacity", settings=QUICK)
    write_json(out / "results/agreement.json", document)
    write_json(out / "results/ct_scorers.json", ct_scorers_document(numbers, "opacity", settings=QUICK))
    agreement_table(document).to_csv(out / "results/agreement_table.tsv", sep="\t", index=False)
    outcomes = evaluate(CRITERIA, document["results"])
    acceptance = {"study_sha256": "ab" * 32, "all_met": all_met(outcomes), "outcomes": outcomes}
    write_json(out / "results/acceptance.json", acceptance)


def make_output(out: Path) -> Path:
    """A finished study of two patients, five scans, one radiograph scorer, and a third patient that failed."""
    rows = []
    for subject, session, date, ratio in SCANS:
        mine = [
            measurement(subject, session, date, ratio, "opacity", "n/a"),
            measurement(subject, session, date, 1.1 * ratio + 3, "projected-area", "PA"),
        ]
        rows += mine
        write_json(out / f"sub-{subject}/ses-{session}/scan.json", good_scan(out, subject, session, date, mine))
    scan = {"scan_id": "sub-03_ses-01", "subject": "03", "session": "01", "date": "", "source": "broken.dcm",
            "key": "1" * 64, "status": "failed", "flags": [],
            "message": f"truncated file {HOSTILE}; send it again"}  # fmt: skip
    write_json(out / "sub-03/ses-01/scan.json", scan)
    (out / "results").mkdir()
    table = pd.DataFrame(rows)
    table.to_csv(out / "results/measurements.tsv", sep="\t", index=False)
    numbers = table.assign(ratio_percent=table["ratio_percent"].astype(float))
    write_agreement(out, numbers)
    intake = pd.DataFrame([{"subject": "01", "session": "01", "status": "repaired", "message": HOSTILE}])
    intake.to_csv(out / "results/intake.tsv", sep="\t", index=False)
    write_json(
        out / "dataset_description.json", {"Name": "made", "GeneratedBy": [{"Name": "drrval", "Version": "9.9"}]}
    )
    write_json(
        out / "logs/study.json",
        {
            **resolved_study(views=["PA"], display={"rule": "paper"}, seed=11),
            "name": f"study {HOSTILE}",
            "scans": [{"folder": path.parent.relative_to(out).as_posix()} for path in out.rglob("scan.json")],
        },
    )  # fmt: skip
    return out
