"""The depth law of a whole network at initialisation, from its blocks, norms and gammas alone.

    block   norm    variant    E N_1^2      E N_1
    paper   batch   centred    gamma_1^2    0                    the first layer's norm centres
    paper   rms     rms        gamma_1^2    gamma_1 / sqrt(pi)
    preact  batch   preact     2            0                    He weights on inputs of power 1
    preact  rms     nominal    2            0                    half of a norm's output passes ReLU

with the variants of `batch_norm_depth`. A branch has two power gains, which differ where a norm
centres: what is common to all inputs is carried by the skip, and no gradient comes of it.

    gradient   b_l^2 = gamma_l^2 / sigma_l^2 (1 - 1/pi)^-(n - 1)    |J_l^T g|^2 / |g|^2
    signal     b_l^2 = gamma_l^2 / v_{l-1}                          E|branch|^2 / E|skip|^2

n is the number of layers of a branch, each with its norm: the gammas of all but the last cancel,
and (1 - 1/pi), the variance over inputs of ReLU, stands only where norms centre. Incoherent law,
infinite width, dense layers with skips that are identities; for convolutions an approximation.
One sigma a layer: an rms norm a channel, as our networks have it, keeps the signal's gains, while
those of the gradient grow with the mean of 1 / sigma^2 over channels, some of which hardly ever
pass their ReLU.
"""

import math

import numpy as np

from resnet_dyn.theory import batch_norm_depth

VARIANTS = {
    ('paper', 'batch'): 'centred',
    ('paper', 'rms'): 'rms',
    ('preact', 'batch'): 'preact',
    ('preact', 'rms'): 'nominal',
}
GAINS = ('gradient', 'signal')


def power_gains(
    block: str,
    norm: str,
    gammas_L: np.ndarray,
    first_gamma: float = 1.0,
    layers: int = 1,
    gain: str = 'gradient',
    sigma: str = 'recomputed',
) -> np.ndarray:
    """b_l^2 of the L = p - 1 branches, float64.

    Args:
      block, norm: of the network, as in `VARIANTS`.
      gammas_L: scale of the last norm of each branch, one number for all its channels.
      first_gamma: scale of the first layer's norm, which blocks of the kind preact lack.
      layers: n >= 1, layers of a branch.
      gain: `gradient` or `signal`.
      sigma: `recomputed` for the sigmas that these gammas produce, `frozen` for those of a network
        whose gammas are all 1, the first layer's too.

    Raises:
      ValueError: for blocks, norms, gains or sigmas of other names, layers < 1, and gammas that are
        no vector of finite numbers.
    """
    gammas_L = np.asarray(gammas_L, np.float64)
    if gammas_L.ndim != 1 or not gammas_L.size:
        raise ValueError(f'gammas of shape {gammas_L.shape}: expected one a branch, (L,), L >= 1')
    if (block, norm) not in VARIANTS:
        known = '; '.join(map(' with '.join, VARIANTS))
        raise ValueError(f'no law for blocks {block!r} with norm {norm!r}: expected {known}')
    if gain not in GAINS or sigma not in batch_norm_depth.SIGMAS:
        raise ValueError(
            f'gain = {gain!r}, sigma = {sigma!r}: expected one of {", ".join(GAINS)} and one of '
            f'{", ".join(batch_norm_depth.SIGMAS)}'
        )
    if layers < 1:
        raise ValueError(f'layers = {layers}: expected a number of layers >= 1')
    variant, frozen = VARIANTS[block, norm], sigma == 'frozen'
    moments = batch_norm_depth.activation_moments(
        gammas_L.size + 1,
        variant,
        1.0 if frozen else gammas_L,
        v1=2.0 if block == 'preact' else 1.0 if frozen else first_gamma**2,
        mean1=None if norm == 'rms' else 0.0,
    )
    if gain == 'signal':
        return gammas_L**2 / moments.second_moment[:-1]
    lost = 1 - 1 / math.pi if norm == 'batch' else 1.0
    return gammas_L**2 / moments.sigma2[1:] / lost ** (layers - 1)


def branch_probabilities(*args, **options) -> np.ndarray:
    """q_l = b_l^2 / (1 + b_l^2) of `power_gains`, for `batch_norm_depth.depth_law`. (L,)"""
    gains_L = power_gains(*args, **options)
    return gains_L / (1 + gains_L)


def mean_depth(*args, **options) -> float:
    """E[r] = 1 + sum_l q_l, the first layer counted. Arguments as `power_gains`."""
    return 1 + math.fsum(branch_probabilities(*args, **options))
