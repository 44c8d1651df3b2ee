"""Agreement of two labels beyond chance, from a square table of counts.

Counts are ``[..., reference label, test label]``; all leading axes (resamples, for instance) are worked at once.
Where a number is not defined (no count at all, or chance agreement of 1) it is NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest

Floats = npt.NDArray[np.float64]


def label_counts(reference: npt.ArrayLike, test: npt.ArrayLike, n_labels: int) -> Floats:
    """One-hot cells of pairs of labels: summed over pairs (and reshaped) they are the square table of counts.

    Args:
        reference, test: labels 0 to n_labels - 1, ``[pair]``.
        n_labels: number of labels.

    Returns:
        ``[pair, n_labels * n_labels]``, one 1 per row.
    """
    cell = np.asarray(reference, dtype=np.intp) * n_labels + np.asarray(test, dtype=np.intp)
    return np.eye(n_labels * n_labels)[cell]


def linear_weights(n_labels: int) -> Floats:
    """Agreement weights of ordered labels, ``1 - |i - j| / (n_labels - 1)`` (Cicchetti & Allison 1971)."""
    labels = np.arange(n_labels)
    return 1 - np.abs(labels[:, None] - labels) / (n_labels - 1)


def observed_agreement(counts: Floats, weights: Floats | None = None) -> Floats:
    """Share of pairs with equal labels, or the mean agreement weight.

    Args:
        counts: ``[..., label, label]``, not negative.
        weights: agreement weights ``[label, label]``, 1 on the diagonal; None: 1 there and 0 elsewhere.

    Returns:
        ``[...]``, 0 to 1.
    """
    return np.sum(_shares(counts) * _weights(counts, weights), axis=(-2, -1))


def cohen_kappa(counts: Floats, weights: Floats | None = None) -> Floats:
    """Cohen's kappa, weighted if weights are given.

    ``(p_o - p_e) / (1 - p_e)`` with the chance agreement ``p_e`` of independent labels with the observed margins
    (Cohen, Educ. Psychol. Meas. 1960;20:37-46, doi 10.1177/001316446002000104; weighted: Psychol. Bull.
    1968;70:213-220, doi 10.1037/h0026256). Arguments and result as for :func:`observed_agreement`; at most 1.
    """
    shares = _shares(counts)
    expected = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    by_chance = np.sum(expected * _weights(counts, weights), axis=(-2, -1))
    return _beyond_chance(observed_agreement(counts, weights), by_chance)


def gwet_ac(counts: Floats, weights: Floats | None = None) -> Floats:
    """Gwet's AC1, or AC2 if weights are given.

    As kappa with ``p_e = T / (q (q - 1)) * sum_k pi_k (1 - pi_k)``, where ``pi_k`` is the mean share of label k over
    the two columns, q the number of labels and T the sum of the weights (Gwet, Br. J. Math. Stat. Psychol.
    2008;61:29-48, doi 10.1348/000711006X126600). It does not fall with a rare label as kappa does. Arguments as for
    :func:`observed_agreement`.
    """
    shares = _shares(counts)
    used, n_labels = _weights(counts, weights), counts.shape[-1]
    prevalence = (shares.sum(axis=-1) + shares.sum(axis=-2)) / 2
    by_chance = used.sum() / (n_labels * (n_labels - 1)) * np.sum(prevalence * (1 - prevalence), axis=-1)
    return _beyond_chance(observed_agreement(counts, weights), by_chance)


def no_information_rate(counts: Floats) -> Floats:
    """Share of the most frequent reference label: the accuracy of always guessing it, ``[...]``."""
    return _shares(counts).sum(axis=-1).max(axis=-1)


def label_share(counts: Floats, label: int) -> Floats:
    """Share of one label of the reference, ``[...]``."""
    return _shares(counts).sum(axis=-1)[..., label]


def no_information_p(counts: Floats) -> float:
    """One-sided exact binomial p of an accuracy no better than the no-information rate.

    The no-information rate is taken as known and the pairs as independent (as caret's ``confusionMatrix`` does).

    Args:
        counts: one table ``[label, label]`` of whole numbers with at least one count.
    """
    n_agree, n_pairs = round(float(np.trace(counts))), round(float(counts.sum()))
    return float(binomtest(n_agree, n_pairs, float(no_information_rate(counts)), alternative="greater").pvalue)


def _shares(counts: Floats) -> Floats:
    total = counts.sum(axis=(-2, -1), keepdims=True)
    return np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)


def _weights(counts: Floats, weights: Floats | None) -> Floats:
    return np.eye(counts.shape[-1]) if weights is None else weights


def _beyond_chance(observed: Floats, by_chance: Floats) -> Floats:
    room = 1 - by_chance
    # Chance agreement of 1 but for rounding: both columns hold one and the same label only.
    return np.divide(observed - by_chance, room, out=np.full(np.shape(observed), np.nan), where=room > 1e-12)
