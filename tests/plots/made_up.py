"""Made-up records of every measure, by the names of their fields, for pictures to be drawn of."""

import math
from types import SimpleNamespace

import numpy as np

from resnet_dyn.plots import (
    depth,
    depth_use,
    effective_depth,
    gammas,
    growth,
    influence,
    interactions,
    layer_swaps,
    lesions,
    orders,
    paths,
)

PICTURES = {
    'gammas': gammas.profiles,
    'gamma_depth': depth.of_gammas,
    'depth': depth.law,
    'singles': lesions.singles,
    'pairs': lesions.pairs,
    'random': lesions.random,
    'greedy': lesions.greedy,
    'reorder': orders.reorder,
    'layer_swaps': layer_swaps.swaps,
    'paths': paths.spectrum,
    'interactions': interactions.spectra,
    'influence': influence.influences,
    'depth_use': depth_use.uses,
    'effective_depth': effective_depth.depths,
    'growth': growth.theorems,
}
_SCORES = 'step full_loss_S full_error_S '
FIELDS = {
    'gammas': 'step norms_N mean_SLN spread_SLN stem_mean_S stem_spread_S',
    'gamma_depth': 'step gamma_SL recomputed_SR frozen_SR recomputed_mean_S frozen_mean_S',
    'depth': 'step gains_SL incoherent_SR coherent_SR incoherent_mean_S coherent_mean_S '
    'incoherent_std_S coherent_std_S',
    'singles': f'{_SCORES} loss_SL error_SL first_order_SL',
    'pairs': f'{_SCORES} loss_SLL error_SLL',
    'random': 'step deleted_J loss_SJM error_SJM',
    'greedy': 'step deleted_SL loss_SJ error_SJ',
    'reorder': f'{_SCORES} kendall_N swaps_N orders_N loss_SN error_SN possible_orders',
    'layer_swaps': 'step full_loss_S deleted_kept_SU deleted_loss_SU swapped_kept_SW '
    'swapped_loss_SW',
    'paths': 'step sum_norm_SR root_energy_SR energy_se_SR forward_norm_SR paths_R closure_S '
    'probes',
    'interactions': 'step walsh_SR moebius_SR variance_S shapley_loss_SL shapley_error_SL',
    'influence': 'step branch_over_skip_SL block_influence_SL gradient_cosine_SL '
    'angular_distance_SNN',
    'depth_use': 'step cosine_SL divergence_SN overlap_SN chance change_SLL later_change_SL '
    'sign_change_S divergence_depth_S overlap_depth_S',
    'effective_depth': 'step cosine_SU divergence_SV overlap_SV chance depth_SQ low_SQ high_SQ '
    'lacking_SQ resamples',
    'growth': 'step slope_SL condition_SL drive_SL first_condition_S bracket_S scale_bracket_S '
    'cosine_S gradient_norm_S weight_norm_S',
}
_MEAN_LENGTHS = ('coherent_mean_S', 'recomputed_mean_S', 'frozen_mean_S')
OF_ZERO_BRANCHES = {  # by field; the others are those of the networks without blocks, any numbers
    'gains_SL',
    'gamma_SL',
    'cosine_SL',
    'first_order_SL',
    'moebius_SR',
    'variance_S',
    'shapley_loss_SL',
    'shapley_error_SL',
    'branch_over_skip_SL',
    'block_influence_SL',
    'gradient_cosine_SL',
    'angular_distance_SNN',
    'mean_SLN',
    'spread_SLN',
}


def records(name, S=3, steps=(0, 50, 100), L=9, M=5, seed=0):
    """Records with numbers between 0.1 and 1, wherever their measure has none of its own."""
    return [_record(name, S, step, L, M, seed + i) for i, step in enumerate(steps)]


def of_zero_branches(name, **sizes):
    """Records of networks whose branches are all exactly zero: nothing depends on a block."""
    made = records(name, **sizes)
    for record in made:
        for field, values in vars(record).items():
            if field in OF_ZERO_BRANCHES:
                values[...] = 0
            elif field.endswith('_SR'):  # all of the signal goes by the path without branches
                values[..., 1:] = 0
            elif field.startswith(('loss_', 'error_')):
                values[...] = np.reshape([0.7] * len(values), (-1, *[1] * (values.ndim - 1)))
            elif field.startswith('full_'):
                values[...] = 0.7
    return made


def with_a_lost_network(name, lost=1, since=0, **sizes):
    """Records in which one network is NaN from the record number `since` on, as one that diverged.

    Its error is not: the class of logits that are NaN is the first.
    """
    made = records(name, **sizes)
    for record in made[since:]:
        for field, values in vars(record).items():
            of_network = '_S' in field and values.dtype.kind == 'f'
            if of_network and 'error' not in field.removeprefix('shapley_error'):
                values[lost] = np.nan
    return made


def _record(name, S, step, L, M, seed):
    draw = np.random.default_rng(seed)
    swaps_N = np.repeat(2 ** np.arange(L.bit_length()), 3)
    sizes = {'S': S, 'L': L, 'R': L + 1, 'J': min(L, 20) + 1, 'M': M, 'N': len(swaps_N)}
    sizes |= {'U': L, 'V': L + 1, 'Q': 3, 'W': L - 1}
    fixed = {
        'step': np.array(step),
        'norms_N': np.array(['norm_0', 'norm_1']),
        'deleted_J': np.unique(np.linspace(0, L, sizes['J']).round().astype(int)),
        'deleted_SL': np.stack([draw.permutation(L) for _ in range(S)]),
        'swaps_N': swaps_N,
        'orders_N': np.arange(len(swaps_N)),
        'kendall_N': np.linspace(0.9, -0.2, len(swaps_N)),
        'possible_orders': np.array(float(math.factorial(L))),
        'paths_R': np.array([math.comb(L, k) for k in range(L + 1)], float),
        'probes': np.array(8),
        'chance': np.array(0.5),
        'resamples': np.array(1000),
    }
    if name == 'gammas':
        sizes['N'] = 2
    if name == 'greedy':
        sizes['J'] = L + 1
    if name in ('influence', 'depth_use'):
        sizes['N'] = L + 1

    def values(field):
        if field in fixed:
            return fixed[field]
        if field.startswith('stem'):
            return np.full(S, np.nan)
        shape = [sizes[axis] for axis in field.rpartition('_')[2]]
        found = draw.uniform(0.1, 1.0, shape).astype(np.float32)
        return 1 + L * found if field.endswith(_MEAN_LENGTHS) else found

    return SimpleNamespace(**{field: values(field) for field in FIELDS[name].split()})
