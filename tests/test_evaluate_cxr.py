"""Radiograph tasks, against numbers worked by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from evaluate_factory import draw_quickly, estimates, mask, metrics, picture, run, write_csv
from PIL import Image

READING = "evaluate_factory:ReadingGreyScorer"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_quickly(monkeypatch)


def detection_table(folder: Path) -> Path:
    """Percent and label of six images of four patients: AUC 8 of 9 pairs, at 0.5 two of three found, one false."""
    answers = [(90, 1, "a"), (60, 1, "a"), (40, 1, "b"), (50, 0, "c"), (30, 0, "c"), (10, 0, "d")]
    rows = []
    for place, (percent, label, patient) in enumerate(answers):
        picture(folder / f"i{place}.png", percent)
        rows.append((f"i{place}.png", patient, label))
    return write_csv(folder / "table.csv", "image,patient,label", rows)


def test_detection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run("cxr-detection", detection_table(tmp_path))
    assert code == 0
    found = estimates(out, "detection")
    assert found == pytest.approx(
        {
            "auc": 8 / 9,
            "auc_clustered": 8 / 9,
            "accuracy": 4 / 6,
            "sensitivity": 2 / 3,
            "specificity": 2 / 3,
            "positive_predictive_value": 2 / 3,
            "negative_predictive_value": 2 / 3,
        }
    )
    document = metrics(out)
    (result,) = document["results"]
    assert (document["n_images"], document["n_patients"], document["failed"]) == (6, 4, [])
    assert result["threshold"] == {"value": 0.5, "from": "the scorer's detection_threshold"}
    assert (result["scorer_name"], result["weights_sha256"]) == ("grey", "cafe")
    number = result["numbers"]["detection"]["auc"]
    assert (number["n_images"], number["n_patients"], number["level"]) == (6, 4, 0.95)
    assert number["low"] < 8 / 9 <= number["high"]
    for name, one in result["numbers"]["detection"].items():
        assert (one["interval"] == "none") == (one["low"] is None), name
    assert document["versions"]["drrval"]
    table = pd.read_csv(out / "predictions.csv")
    assert list(table.columns[:4]) == ["image", "patient", "scorer", "view"]
    assert table["p_pneumonia"].tolist() == pytest.approx([0.9, 0.6, 0.4, 0.5, 0.3, 0.1])
    assert table["label"].tolist() == [1, 1, 1, 0, 0, 0]
    assert [path.stem for path in (out / "figures").iterdir()] == ["evaluate-factory-GreyScorer_roc"]
    printed = capsys.readouterr().out
    assert "6 images, 4 patients" in printed
    assert "sensitivity" in printed
    assert "too few patients" in number["note"]
    assert f"note: auc: {number['note']}" in printed


def test_threshold_and_level_can_be_given(tmp_path: Path) -> None:
    code, out = run("cxr-detection", detection_table(tmp_path), "--threshold", "0.35", "--level", "0.8")
    assert code == 0
    assert estimates(out, "detection")["sensitivity"] == 1.0
    (result,) = metrics(out)["results"]
    assert result["threshold"] == {"value": 0.35, "from": "--threshold"}
    assert result["numbers"]["detection"]["accuracy"]["level"] == 0.8


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--threshold", "50"), "--threshold must lie between 0 and 1, got 50"),
        (("--level", "95"), "--level must lie between 0 and 1, got 95"),
        (("--scorer", "a", "--scorer", "a"), "A scorer is named twice"),
        (("--scorer", "nonsense"), "Unknown CXR scorer 'nonsense'"),
    ],
)
def test_bad_options(
    tmp_path: Path, options: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = run("cxr-detection", detection_table(tmp_path), *options)
    assert code == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_bad_images_do_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = detection_table(tmp_path)
    upset = np.asarray(Image.open(tmp_path / "i0.png")).copy()
    upset[0, 2] = 255
    Image.fromarray(upset).save(tmp_path / "upset.png")
    (tmp_path / "damaged.png").write_bytes((tmp_path / "i0.png").read_bytes()[:60])
    with table.open("a") as file:
        file.write("nowhere.png,a,1\ndamaged.png,b,0\nupset.png,c,0\n")
    code, out = run("cxr-detection", table)
    assert code == 1
    failed = metrics(out)["failed"]
    assert [(one["case"], one["row"]) for one in failed] == [("nowhere.png", 8), ("damaged.png", 9), ("upset.png", 10)]
    assert "there is no such image. Check the path" in failed[0]["message"]
    assert "cannot be read as an image" in failed[1]["message"]
    assert "this picture upsets the scorer" in failed[2]["message"]
    assert estimates(out, "detection")["auc"] == pytest.approx(8 / 9)
    assert "row 8, nowhere.png: " in capsys.readouterr().out


def test_flags_are_counted_and_unsuitable_images_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = detection_table(tmp_path)
    picture(tmp_path / "odd.png", 70, lesion=(0, 1, 3, 4))
    picture(tmp_path / "turned.png", 70, lesion=(0, 1, 4, 5))
    with table.open("a") as file:
        file.write("odd.png,a,1\nturned.png,b,0\n")
    code, out = run("cxr-detection", table)
    assert code == 1
    document = metrics(out)
    assert document["results"][0]["flags"] == {"odd_picture": 1, "lungs_uncertain": 1}
    assert "turn it" in document["failed"][0]["message"]
    flags = pd.read_csv(out / "predictions.csv").set_index("image")["flags"]
    assert flags["odd.png"] == "odd_picture;lungs_uncertain"
    assert flags.drop("odd.png").isna().all()
    assert "flags: odd_picture 1, lungs_uncertain 1 (predictions.csv says which" in capsys.readouterr().out


def test_nothing_scored_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out = run("cxr-detection", write_csv(tmp_path / "t.csv", "image,label", [("a.png", 1), ("b.png", 0)]))
    assert code == 2
    assert "None of the 2 cases" in capsys.readouterr().err
    assert not out.exists()


def test_one_class_gives_no_curve(tmp_path: Path) -> None:
    picture(tmp_path / "a.png", 60)
    code, out = run("cxr-detection", write_csv(tmp_path / "t.csv", "image,label", [("a.png", 1)]))
    assert code == 0
    document = metrics(out)
    (result,) = document["results"]
    assert "No ROC curve: 1 of 1 scans are diseased" in result["notes"][0]
    assert result["numbers"]["detection"]["auc"]["estimate"] is None
    assert "patient of its own" in document["patients"]
    assert not (out / "figures").exists()


def test_predictions_outlive_a_figure_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no font")

    monkeypatch.setattr("drrval.evaluation.cxr_detection.roc_figure", broken)
    with pytest.raises(RuntimeError, match="no font"):
        run("cxr-detection", detection_table(tmp_path))
    assert len(pd.read_csv(tmp_path / "out" / "predictions.csv")) == 6
    assert estimates(tmp_path / "out", "detection")["auc"] == pytest.approx(8 / 9)


def lung_rows(folder: Path, labels: tuple[int, int]) -> Path:
    """Two images: lungs found as they are; the right one missed by half (40 x 20 instead of 40 x 40)."""
    boxes = {"lung_right": (20, 60, 5, 45), "lung_left": (20, 60, 55, 95)}
    picture(folder / "whole.png", **boxes)
    picture(folder / "half.png", **{**boxes, "lung_right": (20, 60, 5, 25)})
    mask(folder / "masks" / "m.png", *boxes.values(), labels=labels)
    return write_csv(folder / "t.csv", "image,mask", [("whole.png", "masks/m.png"), ("half.png", "masks/m.png")])


def test_lungs_of_a_mask_without_sides(tmp_path: Path) -> None:
    code, out = run("cxr-lungs", lung_rows(tmp_path, (255, 255)), scorer=READING)
    assert code == 0
    assert list(metrics(out)["results"][0]["numbers"]) == ["both"]
    # 1 and 2 * 2400 / (2400 + 3200); 1 and 2400 / 3200
    dice, jaccard = [1.0, 6 / 7], [1.0, 0.75]
    found = estimates(out, "both")
    assert found["dice"] == pytest.approx(np.mean(dice))
    assert found["dice_sd"] == pytest.approx(np.std(dice, ddof=1))
    assert found["jaccard"] == pytest.approx(np.mean(jaccard))


def test_lungs_of_a_labelled_mask(tmp_path: Path) -> None:
    code, out = run("cxr-lungs", lung_rows(tmp_path, (1, 2)), scorer=READING)
    assert code == 0
    assert estimates(out, "right")["dice"] == pytest.approx((1 + 2 / 3) / 2)
    assert estimates(out, "left")["dice"] == 1.0
    # A scorer that gives one mask for both lungs is not asked for the sides.
    run("cxr-lungs", tmp_path / "t.csv")
    assert list(metrics(out)["results"][0]["numbers"]) == ["both"]


def test_masks_that_do_not_fit(tmp_path: Path) -> None:
    table = lung_rows(tmp_path, (1, 2))
    Image.fromarray(np.full((50, 50), 255, np.uint8)).save(tmp_path / "small.png")
    Image.fromarray(np.full((50, 80), 255, np.uint8)).save(tmp_path / "wide.png")
    mask(tmp_path / "empty.png")
    with table.open("a") as file:
        file.writelines(f"{name}.png,{name}.png\n" for name in ("wide", "empty"))
    for name in ("wide", "empty"):
        picture(tmp_path / f"{name}_i.png")
    text = table.read_text().replace("\nwide.png", "\nwide_i.png").replace("\nempty.png", "\nempty_i.png")
    table.write_text(text + "whole.png,small.png\n".replace("whole", "again"))
    picture(tmp_path / "again.png", lung=(0, 100, 0, 100))
    code, out = run("cxr-lungs", table)
    assert code == 1
    messages = [one["message"] for one in metrics(out)["failed"]]
    assert "the mask has (50, 80) pixels, the image (100, 100): not the same field" in messages[0]
    assert "the lung mask is empty" in messages[1]
    again = pd.read_csv(out / "predictions.csv").set_index("image").loc["again.png"]
    assert again["dice"] > 0.999  # a mask of half the size is brought to the image's pixels


def test_severity_against_scores(tmp_path: Path) -> None:
    # experts 0, 2, 4, 8; predicted 0.4, 1.6, 5.0, 7.0, rounded 0, 2, 5, 7
    experts, predicted = [0.0, 2.0, 4.0, 8.0], [0.4, 1.6, 5.0, 7.0]
    rows = []
    for place, (expert, severity) in enumerate(zip(experts, predicted, strict=True)):
        picture(tmp_path / f"{place}.png", 80, severity, lung=(20, 60, 5, 45), lesion=(20, 20 + 5 * place, 5, 45))
        rows.append((f"{place}.png", f"p{place}", expert))
    code, out = run("cxr-severity", write_csv(tmp_path / "t.csv", "image,patient,score", rows))
    assert code == 0
    x, y = np.array(experts), np.array(predicted)
    found = estimates(out, "severity")
    assert found["pearson_r"] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found["spearman_rho"] == pytest.approx(1.0)
    assert found["r_squared"] == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)
    assert found["mae"] == pytest.approx((0.4 + 0.4 + 1 + 1) / 4)
    assert found["bias"] == pytest.approx(0.0)
    # 1 - (0.16 + 0.16 + 1 + 1) / 35, with squares of the experts about their mean of 3.5: 12.25 + 2.25 + 0.25 + 20.25
    assert found["r2_prediction"] == pytest.approx(1 - 2.32 / 35)
    score = estimates(out, "score_0_8")
    assert score["exact_agreement"] == 0.5
    # quadratic kappa = 1 - sum of observed squares / sum of expected squares over all pairs of the margins
    rounded = np.array([0, 2, 5, 7])
    expected = np.mean([(a - b) ** 2 for a in x for b in rounded])
    assert score["quadratic_kappa"] == pytest.approx(1 - np.mean((x - rounded) ** 2) / expected)
    (result,) = metrics(out)["results"]
    counts = np.array(result["details"]["confusion_score_0_8"])
    assert counts.sum() == 4
    assert counts[4, 5] == counts[8, 7] == 1
    assert "mae" not in estimates(out, "ratio_by_score")
    assert "ratio_percent" not in result["numbers"]
    kinds = {path.stem.partition("_")[2] for path in (out / "figures").glob("*.png")}
    assert {"scatter_score_0_8", "bland_altman_severity", "confusion_severity", "scatter_ratio_by_score"} <= kinds


def test_ratio_against_lesion_masks(tmp_path: Path) -> None:
    right, left = (20, 60, 0, 50), (20, 60, 50, 100)
    lungs = mask(tmp_path / "lungs.png", right, left, labels=(1, 2))
    rows = []
    for place, (found, true) in enumerate([(10, 10), (20, 10), (20, 30), (30, 40)]):
        picture(tmp_path / f"{place}.png", 80, 1, right=right, left=left, lesion=(20, 20 + found, 0, 50))
        lesion = mask(tmp_path / f"lesion{place}.png", (20, 20 + true, 0, 50))
        rows.append((f"{place}.png", lungs.name, lesion.name))
    code, out = run("cxr-severity", write_csv(tmp_path / "t.csv", "image,mask,lesion_mask", rows))
    assert code == 0
    table = pd.read_csv(out / "predictions.csv")
    assert table["true_ratio_percent"].tolist() == pytest.approx([12.5, 12.5, 37.5, 50.0])
    assert table["true_ratio_right_percent"].tolist() == pytest.approx([25, 25, 75, 100])
    assert table["true_ratio_left_percent"].tolist() == [0, 0, 0, 0]
    found = estimates(out, "ratio_right_percent")
    assert found["mae"] == pytest.approx((0 + 25 + 25 + 25) / 4)
    assert found["bias"] == pytest.approx((0 + 25 - 25 - 25) / 4)
    given = write_csv(tmp_path / "g.csv", "image,ratio", [(row[0], 20) for row in rows])
    run("cxr-severity", given)
    assert pd.read_csv(out / "predictions.csv")["true_ratio_percent"].tolist() == [20, 20, 20, 20]


def box_table(folder: Path) -> Path:
    """Predicted boxes of 40 x 40 pixels (a lesion; none below the threshold of detection) against true ones.

    a: IoU 0.6, over 0.40, 0.45, 0.50 and 0.55, so 4/8. b: one of two boxes found exactly: 1/2. c: a false alarm: 0.
    d: neither, does not count. e: missed, because detection says no; the map alone finds it.
    """
    lesion = (10, 50, 20, 60)
    for name, percent in (("a", 90), ("b", 90), ("c", 90), ("e", 20)):
        picture(folder / f"{name}.png", percent, lung=(5, 95, 5, 95), lesion=lesion)
    picture(folder / "d.png", 90, lung=(5, 95, 5, 95))
    rows = [
        ("a.png", "p1", 20, 10, 40, 24),
        ("b.png", "p2", 20, 10, 40, 40),
        ("b.png", "p2", 70, 70, 10, 10),
        ("c.png", "p3", "", "", "", ""),
        ("d.png", "p4", "", "", "", ""),
        ("e.png", "p5", 20, 10, 40, 40),
    ]
    return write_csv(folder / "t.csv", "image,patient,x,y,width,height", rows)


def test_localisation(tmp_path: Path) -> None:
    code, out = run("cxr-localisation", box_table(tmp_path), scorer=READING)
    assert code == 0
    found = estimates(out, "localisation")
    assert found["map"] == pytest.approx((0.5 + 0.5 + 0 + 0) / 4)
    assert found["map_images_with_boxes"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    assert found["precision_iou_0.40"] == pytest.approx((1 + 0.5 + 0 + 0) / 4)
    assert found["precision_iou_0.75"] == pytest.approx((0 + 0.5 + 0 + 0) / 4)
    assert estimates(out, "localisation_whatever_detection_says")["map"] == pytest.approx((0.5 + 0.5 + 0 + 1) / 4)
    (result,) = metrics(out)["results"]
    assert result["details"] == {"n_true_boxes": 4, "n_predicted_boxes": 3}
    assert result["numbers"]["localisation"]["map"]["n_images"] == 4
    table = pd.read_csv(out / "predictions.csv").set_index("image")
    assert table.loc["a.png", "predicted_boxes"] == "20.0 10.0 40.0 40.0"
    assert np.isnan(table.loc["d.png", "average_precision"])


def test_localisation_of_a_scorer_without_a_map(tmp_path: Path) -> None:
    code, out = run("cxr-localisation", box_table(tmp_path))
    assert code == 0
    # Its lesion mask is taken as it is: e is found.
    assert estimates(out, "localisation")["map"] == pytest.approx((0.5 + 0.5 + 0 + 1) / 4)
    assert list(metrics(out)["results"][0]["numbers"]) == ["localisation"]


def test_boxes_of_another_image_size_are_refused(tmp_path: Path) -> None:
    table = box_table(tmp_path)
    table.write_text(table.read_text() + "a2.png,p6,80,80,40,40\n")
    picture(tmp_path / "a2.png", 90)
    code, out = run("cxr-localisation", table, scorer=READING)
    assert code == 1
    message = metrics(out)["failed"][0]["message"]
    assert "a box reaches x, y = 120, 120, but the image has 100 columns and 100 rows" in message


def test_a_scorer_module_may_lie_beside_the_table(tmp_path: Path) -> None:
    (tmp_path / "beside_the_table.py").write_text("from evaluate_factory import GreyScorer as Mine\n")
    code, out = run("cxr-detection", detection_table(tmp_path), scorer="beside_the_table:Mine")
    assert code == 0
    assert metrics(out)["results"][0]["scorer"] == "beside_the_table:Mine"


def test_weights_are_handed_to_the_scorer(tmp_path: Path) -> None:
    options = ("--weights", str(tmp_path / "mine"))
    code, out = run("cxr-detection", detection_table(tmp_path), *options, scorer="evaluate_factory:stored")
    assert code == 0
    assert metrics(out)["results"][0]["weights_sha256"] == "mine"


def test_the_scorer_of_the_guide_runs(tmp_path: Path) -> None:
    guide = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    (tmp_path / "model_of_the_guide.py").write_text(guide.split("```python\n")[1].split("```")[0], encoding="utf-8")
    code, out = run("cxr-detection", detection_table(tmp_path), scorer="model_of_the_guide:MyScorer")
    assert code == 0
    assert metrics(out)["results"][0]["scorer_name"] == "mine"
