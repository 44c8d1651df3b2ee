"""Numbers that tell how well a network does while it trains; intervals are the business of drrval's statistics."""

from __future__ import annotations

import numpy as np
from scipy import stats


def roc_auc(score: np.ndarray, positive: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half (Mann-Whitney); NaN without positives or without negatives."""
    n, m = int(positive.sum()), int((~positive).sum())
    if not n or not m:
        return float("nan")
    return float(stats.mannwhitneyu(score[positive], score[~positive]).statistic / (n * m))
