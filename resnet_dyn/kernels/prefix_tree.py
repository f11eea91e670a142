"""Sub-networks as a tree of shared prefixes: how many block evaluations a set of them costs.

A sub-network is a sequence of steps from h_0 to h_L; a step applies a block under a gate, or
passes it by. Sequences that begin alike share what they share: a node of the tree is a distinct
prefix, and its price is 1 where its last step computes a branch, 0 where the block is deleted.

    singles and the full net  L(L+1)/2  instead of  L^2        all 2^L masks  2^L - 1

Here is the tree and its counts; `prefix_walk` runs it.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from resnet_dyn.kernels import masks as masks_lib


class Step(NamedTuple):
    """What a node does to its parent's h: merge(skip(h) + gate * sum of branches of `blocks`(h)).

    Gate 0 deletes: no branch is computed. No blocks: h as it is. Several blocks run in parallel.
    """

    blocks: tuple[int, ...]
    gate: float = 1.0

    @property
    def evaluations(self) -> int:
        """The number of branches that it computes."""
        return len(self.blocks) if self.gate != 0 else 0


class Level(NamedTuple):
    """The nodes of one depth in the order of the tree; those of one parent are neighbours."""

    parent_N: np.ndarray  # index into the nodes of the level above
    step_N: np.ndarray  # index into the tree's steps


class Tree(NamedTuple):
    """The distinct prefixes of M sequences of T steps."""

    steps: tuple[Step, ...]
    levels: tuple[Level, ...]
    leaf_M: np.ndarray  # the node of the last level where each sequence ends

    @property
    def leaves(self) -> int:
        """The number of different sequences."""
        return len(self.levels[-1].parent_N)

    @property
    def prices(self) -> np.ndarray:
        """The number of branches that each step computes, (len(steps),)."""
        return np.array([step.evaluations for step in self.steps])

    @property
    def evaluations(self) -> int:
        """The number of branches that all nodes compute together."""
        prices = self.prices
        return int(sum(prices[level.step_N].sum() for level in self.levels))


def from_masks(masks_ML: np.ndarray) -> Tree:
    """The tree of masks (M, L): step l puts block l under the gate mask[l]."""
    gates_V, codes = np.unique(masks_ML, return_inverse=True)
    blocks = masks_ML.shape[1]
    steps = [Step((block,), float(gate)) for block in range(blocks) for gate in gates_V]
    return build(codes.reshape(masks_ML.shape) + len(gates_V) * np.arange(blocks), steps)


def build(codes_MT: np.ndarray, steps: Sequence[Step]) -> Tree:
    """The tree of sequences (M, T) of indices into `steps`."""
    codes_UT, leaf_M = _distinct(codes_MT.astype(np.int32))
    new_U = _first_new(codes_UT)
    levels, above_U = [], np.zeros(len(codes_UT), int)
    for depth in range(codes_UT.shape[1]):
        start_N = np.flatnonzero(new_U <= depth)
        levels.append(Level(above_U[start_N], codes_UT[start_N, depth]))
        above_U = np.cumsum(new_U <= depth) - 1
    return Tree(tuple(steps), tuple(levels), leaf_M)


def split(tree: Tree, parts: int) -> list[tuple[Tree, np.ndarray]]:
    """The tree cut between leaves into at most `parts` trees of about equal price.

    Each comes with the leaves that are its own, as indices into those of the whole; its `leaf_M`
    counts them. What two parts share is computed by both. Memory and time are those of the nodes.
    Raises ValueError for fewer than 1 part.
    """
    if parts < 1:
        raise ValueError(f'parts={parts}: must be at least 1')
    every = np.arange(tree.leaves)
    if parts == 1 or tree.leaves == 1:
        return [(tree._replace(leaf_M=every), every)]
    spent_U = np.cumsum(_fresh(tree))
    goals = spent_U[-1] * np.arange(1, parts) / parts
    ends = [0, *np.searchsorted(spent_U, goals, side='right'), tree.leaves]
    return [(_between(tree, a, b), every[a:b]) for a, b in itertools.pairwise(ends) if a < b]


def block_evaluations(masks) -> int:
    """The exact number of distinct block evaluations that masks (M, L) cost, before anything runs.

    It is the number of distinct prefixes mask[:l+1] that end in a gate other than 0. Duplicates
    cost nothing. Raises ValueError for masks that are not finite or not of shape (M, L).
    """
    masks = np.asarray(masks)
    if masks.ndim not in (1, 2) or not masks.shape[-1]:
        raise ValueError(f'masks have shape {masks.shape}: give (M, L), one row a sub-network')
    if not masks.size:
        return 0
    return from_masks(masks_lib.check(masks, masks.shape[-1])).evaluations


def expected_block_evaluations(L: int, j: int, num: int, replace: bool = True) -> float:
    """The mean of `block_evaluations(masks.random(key, L, j, num, replace))` over keys.

    A prefix of d blocks that ends in a kept one and has z deleted is met by a random mask with
    probability pi = C(L-d, j-z) / C(L, j); the sum over all of them is

        sum_{d, z} C(d-1, z) [1 - (1 - pi)^num]                      masks drawn independently
        sum_{d, z} C(d-1, z) [1 - C(T-c, num) / C(T, num)]           all different

    with T = C(L, j) and c = C(L-d, j-z). Raises ValueError where masks.random would.
    """
    if L < 1 or not 0 <= j <= L or num < 0:
        raise ValueError(f'L={L}, j={j}, num={num}: need L >= 1, 0 <= j <= L and num >= 0')
    total = math.comb(L, j)
    if not replace and num > total:
        raise ValueError(f'num={num} different masks of L={L}, j={j}: there are only {total}')
    expected = 0.0
    for d in range(1, L + 1):
        for z in range(min(d - 1, j) + 1):
            through = math.comb(L - d, j - z)
            if through:
                met = _met(through, total, num, replace)
                expected += math.comb(d - 1, z) * met
    return expected


def _met(through: int, total: int, num: int, replace: bool) -> float:
    """The probability that at least one of `num` masks of `total` is one of `through`."""
    if through == total:
        return 1.0 if num else 0.0
    if replace:
        return -math.expm1(num * math.log1p(-through / total))
    if num > total - through:
        return 1.0
    if num <= 4096:  # the product form is exact where the gammas below lose digits
        return -math.expm1(sum(math.log1p(-through / (total - i)) for i in range(num)))
    ln = special.gammaln
    missed = ln(total - through + 1) - ln(total - through - num + 1) - ln(total + 1)
    return -math.expm1(missed + ln(total - num + 1))


def _distinct(codes_MT: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The different rows, sorted, and which of them each row is."""
    digits_MT = codes_MT - codes_MT.min(0)
    base = int(digits_MT.max()) + 1
    if base ** codes_MT.shape[1] < 2**62:  # a row as one number sorts 20 times faster
        numbers_M = digits_MT @ np.array([base**i for i in range(codes_MT.shape[1])][::-1])
        _, first_U, which_M = np.unique(numbers_M, return_index=True, return_inverse=True)
        return codes_MT[first_U], which_M
    codes_UT, which_M = np.unique(codes_MT, axis=0, return_inverse=True)
    return codes_UT, which_M.reshape(-1)


def _first_new(codes_UT: np.ndarray) -> np.ndarray:
    """The first step in which each of the sorted sequences differs from the one before, (U,)."""
    if len(codes_UT) == 0:
        return np.zeros(0, int)
    return np.concatenate([[0], (codes_UT[1:] != codes_UT[:-1]).argmax(1)])


def _fresh(tree: Tree) -> np.ndarray:
    """The price of what each leaf needs and no leaf before it does, (leaves,)."""
    first_N, fresh_U = np.arange(tree.leaves), np.zeros(tree.leaves)
    for level, below in zip(tree.levels[::-1], [None, *tree.levels[:0:-1]], strict=True):
        if below is not None:  # the first leaf of a node is that of its first child
            first_N = first_N[np.searchsorted(below.parent_N, np.arange(len(level.parent_N)))]
        np.add.at(fresh_U, first_N, tree.prices[level.step_N])
    return fresh_U


def _between(tree: Tree, low: int, high: int) -> Tree:
    """The tree of the leaves low..high-1; the nodes above them are neighbours at each level."""
    levels, leaves = [], high - low
    for level in reversed(tree.levels):
        parent_N, step_N = level.parent_N[low:high], level.step_N[low:high]
        low, high = parent_N[0], parent_N[-1] + 1
        levels.append(Level(parent_N - low, step_N))
    return Tree(tree.steps, tuple(levels[::-1]), np.arange(leaves))
