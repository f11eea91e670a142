"""Depths that are read off curves over depth, after Hu et al. 2025 (arXiv 2512.14064).

Their code takes the first depth at which a curve is beyond a share; here it is the depth from which
on it is, as a curve may come back. Two measures ask so, and count otherwise:

    effective_depth   whole depths, strictly beyond, as their numbers are counted in layers
    depth_use         `between` depths, where the line from one to the next crosses the share: it
                      has a number at every step of a training, which moves as the curve does

A divergence is compared with a share of its largest, an overlap of the n likeliest of K classes
with a share of what is above chance, n / K: a half for 5 of 10 classes, nothing in a vocabulary.
"""

import numpy as np

ROUNDING = 1e-6  # nats: a divergence of less is none


def from_on(curve_N, threshold: float, between: bool) -> float:
    """The depth from which on a curve is below a threshold; NaN where the last depth is not.

    NaN in a curve are depths that it does not have. `between` depths a curve is linear, and at the
    threshold it is there; else the depth is the first that is below it. Where all are, it is the
    first that there is.
    """
    there_N = np.flatnonzero(~np.isnan(curve_N))
    values_N = curve_N[there_N]
    above_N = there_N[values_N > threshold if between else values_N >= threshold]
    if not above_N.size:
        return float(there_N[0]) if there_N.size else np.nan
    last = above_N[-1]
    if last == there_N[-1]:
        return np.nan
    if not between:
        return float(there_N[there_N > last][0])
    high, low = curve_N[last], curve_N[last + 1]
    return float(last + (high - threshold) / (high - low))


def share_of_largest(divergence_N, share: float) -> float:
    """A share of the largest divergence that there is; at least what rounding makes, in nats."""
    there_N = divergence_N[~np.isnan(divergence_N)]
    return max(ROUNDING, share * there_N.max(initial=0))


def beyond_chance(overlap_N, chance: float):
    """An overlap as a share of what is above chance, 1 for all; as it is where all is chance."""
    return (overlap_N - chance) / (1 - chance) if chance < 1 else overlap_N
