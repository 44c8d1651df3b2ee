"""Spearman's rank correlation of two columns, with the scans of a patient kept together."""

from __future__ import annotations

from typing import Unpack

import numpy as np

from drrval.stats.paired import Analysis, PairedScans
from drrval.stats.resampling import Floats, Resampling, patient_bootstrap

SPEARMAN = "Spearman's rank correlation over all scans, ties at their mean rank; each resample is ranked anew."


def rank_correlation(scans: PairedScans, **resampling: Unpack[Resampling]) -> Analysis:
    """Spearman's rho: Pearson's correlation of the ranks (Spearman, Am. J. Psychol. 1904;15:72-101).

    Returns:
        ``spearman_rho``, -1 to 1.
    """
    if problem := scans.problem("rank correlation"):
        return Analysis("rank_correlation", SPEARMAN, scans.nothing(("spearman_rho",), problem))
    units = scans.patients.scan_units

    def rho(weights: Floats) -> dict[str, Floats]:
        of_scans = weights[:, units]
        x, y = _centred_ranks(scans.x, of_scans), _centred_ranks(scans.y, of_scans)
        sxx, sxy, syy = (np.sum(of_scans * product, axis=1) for product in (x * x, x * y, y * y))
        with np.errstate(divide="ignore", invalid="ignore"):
            return {"spearman_rho": np.clip(sxy / np.sqrt(sxx * syy), -1, 1)}

    return Analysis("rank_correlation", SPEARMAN, patient_bootstrap(rho, scans.patients, **resampling))


def _centred_ranks(values: Floats, weights: Floats) -> Floats:
    """Mean ranks about their own mean, ``[resample, scan]``; a scan of weight 2 is two scans of one value."""
    order = np.argsort(values, kind="stable")
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.append(0, np.cumsum(counts)[:-1])
    tied = np.add.reduceat(weights[:, order], first, axis=1)
    ranks = (np.cumsum(tied, axis=1) - tied / 2)[:, place]
    return ranks - weights.sum(axis=1, keepdims=True) / 2
