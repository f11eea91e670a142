"""How the blocks of a network act together, from the values of all its 2^L sub-networks.

A table holds f(m), one value for every set m of kept blocks, in the order of `masks.all_masks`:
bit l of the row's index is block l. Two bases of such functions, S running over sets of blocks:

    Moebius   f(m) = sum_{S subset m} a_S,          a_S = sum_{T subset S} (-1)^{|S|-|T|} f(T)
    Walsh     f(m) = sum_S F_S (-1)^{|m and S|},    F_S = 2^-L sum_m f(m) (-1)^{|m and S|}

so that F_S = (-1)^{|S|} sum_{T superset S} 2^{-|T|} a_T. What follows from them:

    Parseval        Var f over all masks = sum_{S not empty} F_S^2
    single lesion   f(full) - f(full without i) = sum_{S containing i} a_S
    Shapley         phi_i = sum_{S containing i} a_S / |S|,   sum_i phi_i = f(full) - f(empty)

With linear blocks a_S is the signal of the one path through the branches S, and the sums of a_S^2
by |S| are the distribution of path lengths; with other blocks they are an analogue of it.

Which basis in float32: errors of size s of every f(m) make the sum of a_S^2 at |S| = k as large as
C(L,k) 2^k s^2, which drowns high orders; those of a Walsh coefficient are s / 2^{L/2} at every
order. So take Walsh in float32, and values of a smooth kind (logits rather than losses).

A table may have more axes behind its first (logits by example and class); they stay at the end of
every result. NumPy tables give NumPy results in their own dtype (float64 without any switch), JAX
tables give JAX results by pure functions (jit, vmap, grad). Whole numbers become floats.
"""

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from resnet_dyn.kernels import lesions, masks
from resnet_dyn.kernels import metrics as metrics_lib
from resnet_dyn.models import stack as stack_lib

LARGEST = 20  # blocks; a table of 2^20 float32 values is 4 MiB


class Shapley(NamedTuple):
    """Shapley values of L blocks estimated from random orders, and their standard errors."""

    value_L: np.ndarray
    error_L: np.ndarray  # sample standard deviation / sqrt(num); NaN for one order


def moebius(values):
    """The Moebius coefficients a_S, at the index whose bits are S.

    a_S is what the blocks S do together beyond what every smaller set of them does: a_empty is
    f(empty), and sum_S a_S = f(full) (Harsanyi's dividends). O(L 2^L) time, two tables of memory.

    Args:
      values: (2^L, ...) with L <= 20, in the order of `masks.all_masks`.

    Returns:
      Coefficients of the shape, dtype and library of `values`.

    Raises:
      ValueError: if the number of values is no power of two, or L > 20.
    """
    return _transform(values, lambda closed, opened: (closed, opened - closed))


def walsh(values):
    """The Walsh coefficients F_S = 2^-L sum_m f(m) (-1)^{|m and S|}, at the index whose bits are S.

    F_empty is the mean of f over all masks, and the sum of the other squares is its variance.
    Arguments, result, cost and errors as in `moebius`; the fast Walsh-Hadamard transform, halved
    at each of its L steps.
    """
    return _transform(values, lambda closed, opened: ((closed + opened) / 2, (closed - opened) / 2))


def by_order(coefficients):
    """The interaction spectrum: the sum of c_S^2 over all |S| = k, at index k = 0..L. (L+1, ...)

    Arguments and errors as in `moebius`, whose coefficients or those of `walsh` this takes.
    """
    table, L = _table(coefficients)
    return _sums(table**2, L)


def sums_by_order(coefficients):
    """The signed sum of c_S over all |S| = k, at index k = 0..L. (L+1, ...)

    Of Moebius coefficients they add up to f(full). Arguments and errors as in `moebius`.
    """
    return _sums(*_table(coefficients))


def shapley(values):
    """The Shapley value of each block, its share of f(full) - f(empty). (L, ...)

        phi_i = 1/L sum_k  mean over the C(L-1,k) sets S without i, |S| = k, of f(S + i) - f(S)

    the mean change as block i is opened, over all orders of opening the blocks one by one. Summed
    from the differences, each with a positive weight, which keeps float32 errors at the size of
    those of f (a sum over a_S / |S| would not). Arguments and errors as in `moebius`; L/2 tables of
    memory.

    Source: Shapley (1953), A value for n-person games.
    """
    table, L = _table(values)
    xp = table.__array_namespace__()
    if L == 0:
        return table[:0]
    changes = [opened - closed for closed, opened in (_pairs(table, l, L) for l in range(L))]
    changes = xp.stack([c.reshape(2 ** (L - 1), *table.shape[1:]) for c in changes], 1)
    sums = _sums(changes, L - 1)
    return sum(sums[k] / math.comb(L - 1, k) for k in range(L)) / L


def sampled_shapley(
    stack: stack_lib.ResidualStack,
    inputs,
    labels,
    key,
    num: int,
    metric: str | Mapping[str, Callable] = 'loss',
    **options,
) -> Shapley:
    """Shapley values of f = a metric of `lesions.score`, from `num` random orders of the blocks.

    phi_i is the mean, over orders in which blocks join the empty network one by one, of what f
    changes when block i joins (Castro et al. 2009); every order's changes sum to f(full) -
    f(empty), so the estimates do so exactly. A block that helps has a negative phi of the loss.
    `metric` is a name, or a mapping of one name to a function. Costs at most num (L-1) + 2
    sub-networks, which share their prefixes; `options` are those of `score`. Raises ValueError for
    fewer than 1 order.
    """
    if num < 1:
        raise ValueError(f'num={num}: sample at least 1 order')
    name, metric = metrics_lib.single(metric)
    L = stack_lib.num_blocks(stack)
    order_NL = masks.host_generator(key).permuted(np.tile(np.arange(L), (num, 1)), axis=1)
    turn_NL = np.argsort(order_NL, axis=1)  # when each block joins
    masks_NML = (turn_NL[:, None] < np.arange(L + 1)[:, None]).astype(np.float32)
    found = lesions.score(stack, inputs, labels, masks_NML.reshape(-1, L), metric, **options)[name]
    gain_NL = np.diff(metrics_lib.check_single(name, found).reshape(num, L + 1), axis=1)
    gain_NL = np.take_along_axis(gain_NL, turn_NL, axis=1)
    spread_L = gain_NL.std(0, ddof=1) if num > 1 else np.full(L, np.nan)
    return Shapley(gain_NL.mean(0), spread_L / math.sqrt(num))


def _table(values):
    """The values as an array of floats, and L."""
    if not hasattr(values, '__array_namespace__'):
        values = np.asarray(values)
    num = values.shape[0] if values.ndim else 0
    L = num.bit_length() - 1
    if num != 2**L:
        raise ValueError(
            f'a table of shape {values.shape} is of no L: it needs 2^L values, those of '
            'masks.all_masks(L) in their order'
        )
    if L > LARGEST:
        size = values.size * values.dtype.itemsize / 2**20
        raise ValueError(
            f'{num} values are all sub-networks of L={L} blocks, and a transform would hold '
            f'several tables of {size:.0f} MiB: at most L={LARGEST}; vary fewer blocks, or sample'
        )
    xp = values.__array_namespace__()
    return (values if xp.isdtype(values.dtype, 'real floating') else values * 1.0), L


def _transform(values, step):
    table, L = _table(values)
    xp = table.__array_namespace__()
    for l in range(L):
        table = xp.stack(step(*_pairs(table, l, L)), 1).reshape(table.shape)
    return table


def _pairs(table, l: int, L: int):
    """The values with block l closed and those with it open, the other blocks in their order."""
    pairs = table.reshape(2 ** (L - 1 - l), 2, 2**l, *table.shape[1:])
    return pairs[:, 0], pairs[:, 1]


def _sums(table, L: int):
    """Sums by the number of set bits: block by block a polynomial whose powers count the bits."""
    xp = table.__array_namespace__()
    sums = table[:, None]
    rest = [(0, 0)] * (table.ndim - 1)
    for _ in range(L):
        closed, opened = xp.split(sums, 2)
        sums = xp.pad(closed, [(0, 0), (0, 1), *rest]) + xp.pad(opened, [(0, 0), (1, 0), *rest])
    return sums[0]
