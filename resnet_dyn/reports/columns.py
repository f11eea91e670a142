"""Columns of the measures of depth: each says in its meaning by which convention it is.

k = 0..L counts the branches of a path, r = k + 1 the first layer too.
"""

import numpy as np

from resnet_dyn.analysis import summaries
from resnet_dyn.analysis.measure import Column

_MISFIT = 'Kullback-Leibler divergence of that law from its fit, in nats (0: eq 16 describes it)'


def fits(name: str, law, coherent: bool, of: str) -> tuple[Column, Column]:
    """The columns of the fitted beta of law(record) -> (S, R), and of its misfit."""
    family = 'C(L,k)² β^(2k), coherent' if coherent else 'C(L,k) β^(2k), incoherent'
    return (
        Column(
            f'beta {name}',
            lambda r: summaries.fitted(law(r), coherent).beta_S,
            '.3f',
            f'beta of eq 16 ({family}) of greatest likelihood for {of}: the means agree',
        ),
        Column(
            f'misfit {name}',
            lambda r: summaries.fitted(law(r), coherent).divergence_S,
            '.1e',
            _MISFIT,
        ),
    )


SINGLES = (
    Column(
        'error %',
        lambda r: 100 * r.full_error_S,
        '.2f',
        'of the whole network on the examples of the analysis',
    ),
    Column(
        'one deleted, mean',
        lambda r: 100 * r.error_SL.mean(-1),
        '.2f',
        'error (%) without one block, mean over the blocks',
    ),
    Column(
        'worst',
        lambda r: 100 * r.error_SL.max(-1),
        '.2f',
        'error (%) without the one block that costs most',
    ),
)

GREEDY = (
    Column(
        'spare at +5 points',
        summaries.spare_blocks,
        '.1f',
        'blocks that can go, always the one missed least, before the error has risen by '
        'more than 5 points',
    ),
)

LAYER_SWAPS = (
    Column(
        'kept, one deleted %',
        lambda r: 100 * r.deleted_kept_SU.mean(-1),
        '.1f',
        'share whose likeliest class is still that of the whole network without one layer, mean '
        'over the layers (Lad et al. 2024)',
    ),
    Column(
        'kept, two swapped %',
        lambda r: 100 * summaries.mean_of_there(r.swapped_kept_SW),
        '.1f',
        'the same where two neighbours change places, mean over the pairs of equal shape',
    ),
)

REORDER = (
    Column(
        'one swap',
        lambda r: 100 * summaries.swapped_error(r, 1),
        '.2f',
        'error (%) after two blocks of equal shape changed places, mean over the orders',
    ),
    Column(
        'many swaps',
        lambda r: 100 * summaries.swapped_error(r, int(r.swaps_N.max())),
        '.2f',
        'error (%) after the largest number of random swaps that led to another order '
        'than the one as trained',
    ),
)

INFLUENCE = (
    Column(
        '|branch| / |skip|',
        lambda r: summaries.mean_of_there(r.branch_over_skip_SL),
        '.3f',
        'size of what a branch adds over what its skip carries, mean over the blocks',
    ),
    Column(
        'influence',
        lambda r: summaries.mean_of_there(r.block_influence_SL),
        '.3f',
        '1 - cos(skip, output), mean over the blocks',
    ),
)

GAMMA_DEPTH = (
    Column(
        'E[r] predicted from gammas, sigma recomputed',
        lambda r: r.recomputed_mean_S,
        '.2f',
        'mean path length r, of at most L + 1, by the power gains of the gradient that the theory '
        'gives to random weights and these gammas (root mean square over channels of the last norm '
        'of each branch); sigma as these gammas make it; convolutions and skips that change the '
        'shape taken for dense layers and identities',
    ),
    Column(
        'E[r] predicted from gammas, sigma frozen',
        lambda r: r.frozen_mean_S,
        '.2f',
        'the same with the sigmas of a network whose gammas are all 1',
    ),
)

DEPTH = (
    *fits('incoherent', lambda r: r.incoherent_SR, False, 'the incoherent law of the gains'),
    *fits('coherent', lambda r: r.coherent_SR, True, 'the coherent law of the gains'),
)

RANDOM = (
    Column(
        'error doubles at',
        summaries.doubled_at,
        '.2f',
        'blocks deleted at random until the error is twice that of the full net, linear between '
        'the numbers drawn; none where the full error is 0 or never doubles, as near chance',
    ),
    Column(
        'half lost at',
        summaries.half_lost_at,
        '.2f',
        'the same until the error is half way from the full net to no block at all; none where '
        'that is no rise',
    ),
)

PATHS = (
    Column(
        'mean k, sums',
        lambda r: summaries.mean_length(r, summaries.sum_shares),
        '.2f',
        'mean number of branches by |G_k|², the squared norm of what all paths of a length add up '
        'to at the first block, cross terms and all',
    ),
    Column(
        'sums in short half',
        lambda r: summaries.short_share(r, summaries.sum_shares),
        '.4f',
        'share of Σ |G_k|² in paths of at most half of the blocks',
    ),
    Column(
        'mean k, forward',
        lambda r: summaries.mean_length(r, summaries.forward_shares),
        '.2f',
        'mean number of branches by |u_k|², the squared norm of what all paths of a length carry '
        'forward to the last block',
    ),
    Column(
        'forward in short half',
        lambda r: summaries.short_share(r, summaries.forward_shares),
        '.4f',
        'share of Σ |u_k|² in paths of at most half of the blocks',
    ),
    *fits('energies', summaries.energy_shares, False, 'the shares of the energies S_k'),
    *fits('sums', summaries.sum_shares, True, 'the shares of |G_k|²'),
    *fits('forward', summaries.forward_shares, True, 'the shares of |u_k|²'),
)

INTERACTIONS = (
    Column(
        'mean order',
        summaries.mean_order,
        '.2f',
        'mean number of blocks that act together, by their share of that variance (Walsh)',
    ),
)

DEPTH_USE = (
    Column(
        'sign changes at',
        lambda r: r.sign_change_S,
        '.2f',
        'blocks before the last change of cos(branch, skip), mean over examples, from below 0 to 0 '
        'or above (Csordas et al. 2025); none where there is none',
    ),
    Column(
        'KL halves at',
        lambda r: r.divergence_depth_S,
        '.2f',
        'blocks passed from which on KL(head at that depth || output) is below half of its largest '
        '(Hu et al. 2025), linear between blocks, at depths whose shape the head takes',
    ),
    Column(
        'top-5 agree at',
        lambda r: r.overlap_depth_S,
        '.2f',
        'the same from which on their 5 likeliest classes (of K <= 5 all but one) have more than '
        '0.3 of what is above chance in common',
    ),
    Column(
        'later change',
        lambda r: summaries.mean_of_there(r.later_change_SL),
        '.3f',
        'relative change of the branches behind a block that is left out, root mean square over '
        'examples, mean over these and then over the blocks',
    ),
)

EFFECTIVE_DEPTH = (
    Column(
        'depth by cosine',
        lambda r: r.depth_SQ[:, 0],
        '.1f',
        'the last layer, from 0, that turns against its input (cos < 0) before one that does not '
        '(Hu et al. 2025); none where there is none',
    ),
    Column(
        'depth by KL',
        lambda r: r.depth_SQ[:, 1],
        '.1f',
        'layers passed from which on KL(head at that depth || output) is below a share of its '
        'largest (--effective_depth.divergence)',
    ),
    Column(
        'depth by top-5',
        lambda r: r.depth_SQ[:, 2],
        '.1f',
        'layers passed from which on more than a share (--effective_depth.overlap) of their 5 '
        'likeliest classes, of what is above chance, are in common',
    ),
)

GROWTH = (
    Column(
        'Theorem 3, condition',
        lambda r: summaries.mean_of_there(r.condition_SL),
        '.3f',
        '|Σ x| / Σ |x| over examples, x the slope of the loss by the scale of a branch, mean over '
        'the blocks; in [0, 1], and 0 where Theorem 3 speaks',
    ),
    Column(
        'Theorem 3, blocks that grow',
        lambda r: summaries.mean_of_there(np.where(np.isnan(r.drive_SL), np.nan, r.drive_SL > 0)),
        '.2f',
        'share of the blocks with |g_p|² + g_p·g_m > 0, p the paths through the branch: their '
        'scales then grow after a step of the weights',
    ),
    Column(
        'Theorem 4, |cos(w, g)|',
        lambda r: np.abs(r.cosine_S),
        '.3f',
        'of all kernels and their gradient: 0 where Theorem 4 speaks',
    ),
    Column(
        'Theorem 4, bracket by length',
        lambda r: r.bracket_S,
        '.2f',
        'g·Σ r g_r / |g|², the bracket of eq 25 over all path lengths r; all scales of branches '
        'together then grow if it is positive and the condition 0',
    ),
    Column(
        'Theorem 4, bracket of all weights',
        lambda r: r.scale_bracket_S,
        '.2f',
        'the same for the common scale of all kernels, 1 + w·Hg / |g|²; norms held as they are',
    ),
)
