"""The bundled lung segmentation through ``drrval evaluate``, on real radiographs."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from evaluate_factory import estimates, metrics, run, write_csv

from cxr_models.contract import CXRContract, CXRInput, CXRScore
from cxr_models.networks.lsnet import LSNet, segment
from cxr_models.pneumonia import WEIGHTS
from cxr_models.postprocessing import lung_masks, to_shape
from cxr_models.preprocessing import to_unit
from neural.store import load_settings, load_weights


class LungScorer:
    """Lungs alone."""

    name = "lungs"
    contract = CXRContract()

    def __init__(self) -> None:
        self.network = LSNet("lsnet-light")
        self.sha256 = load_weights(self.network, WEIGHTS, "lsnet-light")
        self.network.eval()
        self.size = int(load_settings(WEIGHTS, "lsnet-light")["size"])

    def score(self, radiograph: CXRInput) -> CXRScore:
        maps = segment(self.network, to_unit(radiograph.image, self.size))
        rows, cols = radiograph.image.shape
        return CXRScore(float("nan"), lung_mask=lung_masks(to_shape(maps, (rows, cols))).both)


@pytest.mark.data
def test_lungs_of_real_radiographs(data_root: Path, tmp_path: Path) -> None:
    folder = data_root / "cxr" / "openist"
    rows = [
        (folder / row.file, folder / "lung_masks" / row.lung_mask)
        for row in pd.read_csv(data_root / "cxr" / "openist.csv").head(4).itertuples()
    ]
    table = write_csv(tmp_path / "t.csv", "image,mask", rows)
    code, out = run("cxr-lungs", table, scorer="test_evaluate_real:LungScorer")
    assert code == 0
    assert metrics(out)["n_images"] == 4
    assert estimates(out, "both")["dice"] > 0.92
