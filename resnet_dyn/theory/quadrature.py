"""Integrals over one side of an eigenvalue at t, where M others feel w(x) = |x - t| exp(-x^2/2).

The line above t, from where others live to where w has fallen by exp(-45), is cut into panels of
Gauss-Legendre nodes, which shrink towards t. The line below t is that above -t, mirrored. On its
nodes functions f_i that are polynomials times w have the forms that `goe` needs,

    int int_{x<y} f_i(x) f_j(y) - f_j(x) f_i(y):

within a panel exact for polynomials below degree 48, across panels products of single integrals.
Host float64.

Axes: T points t, M functions f_i, P panels of Q nodes, X = P Q.
"""

import functools
import math
from typing import NamedTuple

import numpy as np
from scipy import special

_NODES = 48  # Gauss-Legendre nodes of a panel
_PHASE = 30.0  # radians the fastest oscillation may turn within a panel
_TAIL = 45.0  # weights below exp(-45) of the largest are cut off


class Side(NamedTuple):
    """Quadrature above t (or, mirrored, below): nodes run outwards from t."""

    offsets_TX: np.ndarray  # from the side's first point
    distances_TX: np.ndarray  # from t
    weights_TX: np.ndarray
    density_TX: np.ndarray  # w over its largest value on this side
    log_top: np.ndarray  # (T,) the logarithm of that value
    half_lengths_TP: np.ndarray


def side(t, M, crowd) -> Side:
    """The part of the line above t (T,), where up to `crowd` of the M others live."""
    edge = math.sqrt(2 * M)
    start = np.maximum(t, -edge - _decay_length(edge, M))
    wall = np.maximum(t, -math.sqrt(2 * crowd))
    pushed = 4 * crowd / (np.sqrt(wall**2 + 6 * crowd) + wall)  # length of a gas held by a wall
    gas = np.maximum(pushed, edge - start)
    length = (gas + _decay_length(start + gas, M))[:, None]
    fractions, half_lengths = _graded_panels(_panel_count(length, M))
    offsets_TX, start = length * fractions, start[:, None]
    distances_TX = start - t[:, None] + offsets_TX
    log_density_TX = np.log(distances_TX) - (start + offsets_TX / 2) * offsets_TX
    log_top = log_density_TX.max(axis=1)
    half_lengths_TP = length * half_lengths
    _, weights, _ = _panel_rule()
    return Side(
        offsets_TX=offsets_TX,
        distances_TX=distances_TX,
        weights_TX=(half_lengths_TP[:, :, None] * weights).reshape(offsets_TX.shape),
        density_TX=np.exp(log_density_TX - log_top[:, None]),
        log_top=log_top - start[:, 0] ** 2 / 2,
        half_lengths_TP=half_lengths_TP,
    )


def skew_form(values_TMX, side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Of one side the skew form of the docstring above (T, M, M), and int f_i (T, M)."""
    _, weights, kernel = _panel_rule()
    T, M, X = values_TMX.shape
    values_TPMQ = values_TMX.reshape(T, M, X // _NODES, _NODES).transpose(0, 2, 1, 3)
    values_TPMQ = values_TPMQ * side.half_lengths_TP[:, :, None, None]
    integrals_TMP = (values_TPMQ @ weights).transpose(0, 2, 1)
    before_TMP = np.cumsum(integrals_TMP, axis=2) - integrals_TMP
    across_TMM = before_TMP @ integrals_TMP.transpose(0, 2, 1)
    # panel by panel, as products this small stay on one thread of the BLAS
    within_TMM = (values_TPMQ @ kernel @ values_TPMQ.transpose(0, 1, 3, 2)).sum(axis=1)
    return within_TMM + across_TMM - across_TMM.transpose(0, 2, 1), integrals_TMP.sum(axis=2)


def node_estimate(M) -> int:
    """About how many nodes both sides of a point have together."""
    return 2 * _NODES * _panel_count(4 * math.sqrt(2 * M), M)


def _decay_length(last, M):
    """How far beyond the last eigenvalue x^(2M) exp(-x^2) falls by exp(-2 _TAIL)."""
    slope = last - M / last
    return 2 * _TAIL / (np.sqrt(slope**2 + 2 * _TAIL) + slope)


def _panel_count(length, M):
    return math.ceil(1 + math.sqrt(2 * M) * np.max(length) / _PHASE)


@functools.cache
def _graded_panels(count):
    """Nodes in (0, 1) and half lengths of panels that shrink towards 0, where the wall is."""
    nodes, _, _ = _panel_rule()
    breaks = 1 - np.cos(np.linspace(0, math.pi / 2, count + 1))
    half_lengths = np.diff(breaks) / 2
    fractions = breaks[:-1, None] + half_lengths[:, None] * (nodes + 1)
    return fractions.ravel(), half_lengths


@functools.cache
def _panel_rule():
    """Gauss-Legendre nodes and weights on (-1, 1), and the matrix of the skew form there."""
    nodes, weights = special.roots_legendre(_NODES)
    legendre = np.polynomial.legendre.legvander(nodes, _NODES)
    degrees = np.arange(_NODES)
    antiderivatives = (legendre[:, 1:] - np.roll(legendre, 1, axis=1)[:, :-1]) / (2 * degrees + 1)
    antiderivatives[:, 0] = nodes + 1
    projections = (2 * degrees[:, None] + 1) / 2 * legendre[:, :-1].T * weights
    integrated = weights[:, None] * (antiderivatives @ projections)
    return nodes, weights, integrated.T - integrated
