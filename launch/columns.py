"""The pictures of the measures, and the numbers of each that stand in the closing table.

A number is (title, function of a record -> (S,), format).
"""

import numpy as np

from resnet_dyn.analysis import summaries
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
    'pairs': (('two deleted, mean', lambda r: 100 * summaries.pair_errors(r).mean(-1), '.2f'),),
    'random': (('half deleted', lambda r: 100 * summaries.half_deleted_error(r), '.2f'),),
    'greedy': (('spare at +5 points', summaries.spare_blocks, '.1f'),),
    'reorder': (
        ('one swap', lambda r: 100 * r.error_SJN[:, 0].mean(-1), '.2f'),
        ('many swaps', lambda r: 100 * r.error_SJN[:, -1].mean(-1), '.2f'),
    ),
    'paths': (
        ('mean length k', summaries.mean_length, '.2f'),
        ('energy in short half', summaries.short_share, '.4f'),
        ('closure', lambda r: r.closure_S, '.1e'),
    ),
    'interactions': (('variance at order 1', summaries.alone_share, '.3f'),),
    'influence': (
        ('|branch| / |skip|', lambda r: np.nanmean(r.branch_over_skip_SL, -1), '.3f'),
        ('influence', lambda r: np.nanmean(r.block_influence_SL, -1), '.3f'),
    ),
}
