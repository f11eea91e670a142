"""The pictures of the measures, and the numbers of each that stand in the closing table.

A number is (title, function of a record -> (S,), format).
"""

import numpy as np

from resnet_dyn.plots import depth, gammas, influence, interactions, lesions, orders, paths

PICTURES = {
    'gammas': (gammas.profiles, 'Gammas'),
    'depth': (depth.law, 'Predicted depth of the virtual ensemble'),
    'singles': (lesions.singles, 'Single lesions'),
    'pairs': (lesions.pairs, 'Pairs of lesions'),
    'random': (lesions.random, 'Random lesions'),
    'greedy': (lesions.greedy, 'Greedy lesions'),
    'reorder': (orders.reorder, 'Blocks in another order'),
    'paths': (paths.spectrum, 'The gradient by path length'),
    'interactions': (interactions.spectra, 'Interactions of blocks'),
    'influence': (influence.influences, 'What blocks do to the signal'),
}
LAST_ONLY = ('pairs',)  # pictures of the last step alone


def half_deleted_error(record) -> np.ndarray:
    """The error (S,) of RandomLesions with about half of the blocks deleted."""
    half = np.abs(record.deleted_J - record.deleted_J[-1] / 2).argmin()
    return record.error_SJ[:, half]


def spare_blocks(record, points: float = 0.05) -> np.ndarray:
    """How many blocks (S,) GreedyLesions delete before the error has risen by `points`."""
    risen_SJ = record.error_SJ > record.error_SJ[:, :1] + points
    return np.where(risen_SJ.any(1), risen_SJ.argmax(1) - 1, risen_SJ.shape[1] - 1)


def mean_length(record) -> np.ndarray:
    """The mean (S,) of k under the energies S_k of a PathSpectrum."""
    return paths.shares(record.root_energy_SR**2) @ np.arange(len(record.paths_R))


def short_share(record) -> np.ndarray:
    """The share (S,) of the energy in paths that use at most half of the blocks."""
    short = np.arange(len(record.paths_R)) <= (len(record.paths_R) - 1) / 2
    return paths.shares(record.root_energy_SR**2)[:, short].sum(1)


def alone_share(record) -> np.ndarray:
    """The share (S,) of the variance over all sub-networks at order 1: blocks by themselves."""
    return record.walsh_SR[:, 1] / record.walsh_SR[:, 1:].sum(1)


def distinct_pairs(record) -> np.ndarray:
    """The errors (S, C(L, 2)) of PairLesions; of a single block where there are no pairs."""
    rows, columns = np.triu_indices(record.error_SLL.shape[1], 1)
    return record.error_SLL[:, rows, columns] if len(rows) else record.error_SLL[:, 0]


COLUMNS = {
    'gammas': (('mean |gamma|', lambda r: np.nanmean(r.mean_SLN[..., -1], -1), '.3f'),),
    'depth': (
        ('E[r] incoherent', lambda r: r.incoherent_mean_S, '.2f'),
        ('E[r] coherent', lambda r: r.coherent_mean_S, '.2f'),
    ),
    'singles': (
        ('error %', lambda r: 100 * r.full_error_S, '.2f'),
        ('one deleted, mean', lambda r: 100 * r.error_SL.mean(-1), '.2f'),
        ('worst', lambda r: 100 * r.error_SL.max(-1), '.2f'),
    ),
    'pairs': (('two deleted, mean', lambda r: 100 * distinct_pairs(r).mean(-1), '.2f'),),
    'random': (('half deleted', lambda r: 100 * half_deleted_error(r), '.2f'),),
    'greedy': (('spare at +5 points', spare_blocks, '.1f'),),
    'reorder': (
        ('one swap', lambda r: 100 * r.error_SJN[:, 0].mean(-1), '.2f'),
        ('many swaps', lambda r: 100 * r.error_SJN[:, -1].mean(-1), '.2f'),
    ),
    'paths': (
        ('mean length k', mean_length, '.2f'),
        ('energy in short half', short_share, '.4f'),
        ('closure', lambda r: r.closure_S, '.1e'),
    ),
    'interactions': (('variance at order 1', alone_share, '.3f'),),
    'influence': (
        ('|branch| / |skip|', lambda r: np.nanmean(r.branch_over_skip_SL, -1), '.3f'),
        ('influence', lambda r: np.nanmean(r.block_influence_SL, -1), '.3f'),
    ),
}
