"""Can two groups of images be told apart? Simple classifiers, tested on subjects that they have not seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats
from scipy.spatial.distance import cdist

Array = npt.NDArray[np.float64]
Group = Mapping[str, Array]  # subject -> features of its images, [image, feature]
Classifier = Callable[[Array, npt.NDArray[np.bool_], Array], npt.NDArray[np.bool_]]

_RIDGE = 1.0  # weight of the penalty on the squared coefficients of standardised features
_DRAWS = 20_000


@dataclass(frozen=True)
class Told:
    """How often subjects of two groups were put into the right one.

    Attributes:
        shares: for each group, the share of images put right, one number per subject.
    """

    shares: tuple[Array, Array]

    @property
    def balanced_accuracy(self) -> float:
        """Mean over the groups of the mean over their subjects, 0..1; 0.5 by chance."""
        return float(np.mean([share.mean() for share in self.shares]))

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Credible interval of the balanced accuracy, each subject counted once.

        Beta posteriors of both groups' accuracies with flat priors (Brodersen et al., The balanced accuracy and its
        posterior distribution, ICPR 2010, doi:10.1109/ICPR.2010.764); the share of a subject's images that were put
        right counts as its part of a success.
        """
        rng = np.random.default_rng(0)
        draws = [rng.beta(1.0 + s.sum(), 1.0 + s.size - s.sum(), _DRAWS) for s in self.shares]
        low, high = np.quantile(np.mean(draws, axis=0), [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
        return float(low), float(high)


def nearest_neighbour(train: Array, is_second: npt.NDArray[np.bool_], test: Array) -> npt.NDArray[np.bool_]:
    """The group of the closest image of the training set (Euclidean distance of standardised features)."""
    known, new = _standardised(train, test)
    return np.asarray(is_second[cdist(new, known).argmin(axis=1)])


def logistic_regression(train: Array, is_second: npt.NDArray[np.bool_], test: Array) -> npt.NDArray[np.bool_]:
    """Logistic regression of standardised features with a ridge penalty.

    It is fitted in the span of the training images, where the penalised optimum lies.
    """
    known, new = _standardised(train, test)
    left, size, right = np.linalg.svd(known, full_matrices=False)
    kept = size > 1e-8 * size[0]
    scores, sign = left[:, kept] * size[kept], np.where(is_second, 1.0, -1.0)

    def loss(weights: Array) -> tuple[float, Array]:
        margin = sign * (scores @ weights[1:] + weights[0])
        slope = -sign * special.expit(-margin)
        penalty = 0.5 * _RIDGE * float(weights[1:] @ weights[1:])
        gradient = np.concatenate([[slope.sum()], scores.T @ slope + _RIDGE * weights[1:]])
        return float(np.logaddexp(0.0, -margin).sum()) + penalty, gradient

    found = optimize.minimize(loss, np.zeros(1 + int(kept.sum())), jac=True, method="L-BFGS-B").x
    return np.asarray(new @ right[kept].T @ found[1:] + found[0] > 0.0)


def tell_apart(first: Group, second: Group, classify: Classifier) -> Told:
    """Leave one subject of each group out, in every combination, train on the others and classify these two."""
    right: tuple[dict[str, list[float]], dict[str, list[float]]] = ({n: [] for n in first}, {n: [] for n in second})
    for out in product(first, second):
        train = [np.concatenate([x for n, x in group.items() if n not in out]) for group in (first, second)]
        is_second = np.repeat([False, True], [len(part) for part in train])
        test = [first[out[0]], second[out[1]]]
        called = classify(np.concatenate(train), is_second, np.concatenate(test))
        right[0][out[0]].append(float(np.mean(~called[: len(test[0])])))
        right[1][out[1]].append(float(np.mean(called[len(test[0]) :])))
    a, b = (np.array([np.mean(values) for values in group.values()]) for group in right)
    return Told((a, b))


def pooled(found: Sequence[Told]) -> Told:
    """Several comparisons as one: the first group is the same in all of them, the second ones differ."""
    return Told((np.mean([told.shares[0] for told in found], axis=0), np.concatenate([t.shares[1] for t in found])))


def effect_size(first: Group, second: Group) -> Array:
    """Difference of the means over subjects, second minus first, over the pooled standard deviation, per feature."""
    a, b = (np.stack([x.mean(axis=0) for x in group.values()]) for group in (first, second))
    spread = np.sqrt((a.var(axis=0, ddof=1) + b.var(axis=0, ddof=1)) / 2.0)
    return np.asarray((b.mean(axis=0) - a.mean(axis=0)) / np.maximum(spread, 1e-12))


def separation(first: Group, second: Group) -> Array:
    """Area under the ROC curve of each feature alone (means over subjects), 0.5 to 1 whichever way it points."""
    a, b = (np.stack([x.mean(axis=0) for x in group.values()]) for group in (first, second))
    area = stats.mannwhitneyu(b, a, axis=0).statistic / (len(a) * len(b))
    return np.asarray(np.maximum(area, 1.0 - area))


def _standardised(train: Array, test: Array) -> tuple[Array, Array]:
    """Features with mean 0 and variance 1 over the training set, over the root of their number."""
    mean, spread = train.mean(axis=0), np.maximum(train.std(axis=0), 1e-9) * np.sqrt(train.shape[1])
    return (train - mean) / spread, (test - mean) / spread
