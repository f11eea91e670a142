"""Single numbers of a record, one for each network (S,): for tables and for the README.

A network that is not finite stays so: NaN. Shares of nothing are NaN too: of the energy where no
gradient comes back, of the variance where no block does anything.
"""

from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import interaction_spectra, lesion_curves, orders, path_spectra
from resnet_dyn.theory import fits


class HalfDeleted(NamedTuple):
    """Errors with the number of blocks deleted that is nearest to half; of two, the smaller."""

    deleted: int
    blocks: int  # L
    error_S: np.ndarray  # mean over the choices
    error_se: float  # of the mean over networks; NaN for one choice alone


class Fits(NamedTuple):
    """Fitted betas of S laws and how far these are from them (`theory.fits.Fit`)."""

    beta_S: np.ndarray
    divergence_S: np.ndarray  # nats
    variation_S: np.ndarray


def half_deleted(record: lesion_curves.RandomLesions) -> HalfDeleted:
    """The error with half of the blocks deleted at random, and how many these are: 4 of 9."""
    half, L = np.abs(record.deleted_J - record.deleted_J[-1] / 2).argmin(), record.deleted_J[-1]
    _, error_J = over_choices(record.error_SJM)
    error_S = record.error_SJM[:, half].mean(-1, dtype=np.float64)
    return HalfDeleted(int(record.deleted_J[half]), int(L), error_S, float(error_J[half]))


def doubled_at(record: lesion_curves.RandomLesions) -> np.ndarray:
    """How many blocks go at random until the error is twice that of the full net (S,).

    The mean error over the choices, linear between the numbers that were drawn; its first
    crossing. NaN where the full error is 0, or twice of it is never reached, as near chance.
    """
    mean_SJ = record.error_SJM.mean(-1, dtype=np.float64)
    target_S = np.where(mean_SJ[:, 0] > 0, 2 * mean_SJ[:, 0], np.nan)
    return _first_crossing(record.deleted_J, mean_SJ, target_S)


def half_lost_at(record: lesion_curves.RandomLesions) -> np.ndarray:
    """How many blocks go at random until the error is half way to that without any block (S,).

    As `doubled_at`, but defined at every full error below that of the empty net; else NaN.
    """
    mean_SJ = record.error_SJM.mean(-1, dtype=np.float64)
    first_S, last_S = mean_SJ[:, 0], mean_SJ[:, -1]
    target_S = np.where(last_S > first_S, (first_S + last_S) / 2, np.nan)
    return _first_crossing(record.deleted_J, mean_SJ, target_S)


def mean_of_there(values_SX) -> np.ndarray:
    """The mean over all but networks of what is there; NaN for a network of which nothing is."""
    values_SX = np.asarray(values_SX, np.float64).reshape(len(values_SX), -1)
    there_SX = ~np.isnan(values_SX)
    number_S = there_SX.sum(1)
    total_S = np.where(there_SX, values_SX, 0).sum(1)
    return np.where(number_S > 0, total_S / np.maximum(number_S, 1), np.nan)


def over_choices(values_SJM) -> tuple[np.ndarray, np.ndarray]:
    """Mean over finite networks and all random choices (J,), and its standard error (J,).

    The M choices are the same for all networks, whose scores are therefore not independent: each
    choice is averaged over networks first, then std over choices / sqrt(M). NaN where M = 1.
    """
    finite_S = np.isfinite(values_SJM).all((1, 2))
    if not finite_S.any():
        return np.full((2, np.shape(values_SJM)[1]), np.nan)
    of_choices_JM = np.asarray(values_SJM, np.float64)[finite_S].mean(0)
    M = of_choices_JM.shape[1]
    error_J = (
        of_choices_JM.std(1, ddof=1) / M**0.5 if M > 1 else np.full(len(of_choices_JM), np.nan)
    )
    return of_choices_JM.mean(1), error_J


def pair_errors(record: lesion_curves.PairLesions) -> np.ndarray:
    """The errors without each pair of blocks (S, C(L, 2)); without the block, where L = 1."""
    rows, columns = np.triu_indices(record.error_SLL.shape[1], 1)
    return record.error_SLL[:, rows, columns] if len(rows) else record.error_SLL[:, 0]


def spare_blocks(record: lesion_curves.GreedyLesions, points: float = 0.05) -> np.ndarray:
    """How many blocks greedy lesions delete before the error has risen by more than `points`."""
    risen_SJ = record.error_SJ > record.error_SJ[:, :1] + points
    spare_S = np.where(risen_SJ.any(1), risen_SJ.argmax(1) - 1, risen_SJ.shape[1] - 1)
    return np.where(np.isfinite(record.error_SJ).all(1), spare_S, np.nan)


def energy_shares(record: path_spectra.PathSpectrum) -> np.ndarray:
    """S_k / sum of S (S, R): how the gradient's energy is spread over path lengths k = 0..L."""
    return _shares(record.root_energy_SR.astype(np.float64) ** 2)


def sum_shares(record: path_spectra.PathSpectrum) -> np.ndarray:
    """|G_k|^2 over its sum (S, R): of what the paths of a length add up to, cross terms and all."""
    return _shares(record.sum_norm_SR.astype(np.float64) ** 2)


def forward_shares(record: path_spectra.PathSpectrum) -> np.ndarray:
    """|u_k|^2 over its sum (S, R): of what the paths of a length carry forward."""
    return _shares(record.forward_norm_SR.astype(np.float64) ** 2)


def mean_length(record: path_spectra.PathSpectrum, shares=energy_shares) -> np.ndarray:
    """The mean of k under the shares, of the energy unless asked."""
    return shares(record) @ np.arange(len(record.paths_R))


def short_share(record: path_spectra.PathSpectrum, shares=energy_shares) -> np.ndarray:
    """The share in paths that use at most half of the blocks."""
    short = np.arange(len(record.paths_R)) <= (len(record.paths_R) - 1) / 2
    return shares(record)[:, short].sum(1)


def fitted(laws_SR, coherent: bool) -> Fits:
    """The beta of eq 16 of each law, and its misfit (`theory.fits`); NaN for what is no law."""
    laws_SR = np.asarray(laws_SR, np.float64)
    are_S = np.isfinite(laws_SR).all(1) & (laws_SR.sum(1) > 0)
    found = [
        fits.fit_beta(law_R, coherent) if is_law else (np.nan,) * 3
        for law_R, is_law in zip(laws_SR, are_S, strict=True)
    ]
    return Fits(*np.array(found, np.float64).reshape(-1, 3).T)


def short_paths(record: path_spectra.PathSpectrum) -> float:
    """The share of all 2^L paths that use at most half of the blocks."""
    short = np.arange(len(record.paths_R)) <= (len(record.paths_R) - 1) / 2
    return float(record.paths_R[short].sum() / record.paths_R.sum())


def alone_share(record: interaction_spectra.Interactions) -> np.ndarray:
    """The share of the variance over all sub-networks at order 1: blocks by themselves."""
    return _shares(record.walsh_SR[:, 1:])[:, 0]


def mean_order(record: interaction_spectra.Interactions) -> np.ndarray:
    """The mean number of blocks that act together, by their share of the variance (S,)."""
    shares_SR = _shares(record.walsh_SR[:, 1:])
    return shares_SR @ np.arange(1, 1 + shares_SR.shape[1])


def swapped_error(record: orders.Reorders, swaps: int) -> np.ndarray:
    """The mean error over the orders that so many swaps led to; NaN where they led to none."""
    there_N = record.swaps_N == swaps
    if not there_N.any():
        return np.full(len(record.error_SN), np.nan)
    return record.error_SN[:, there_N].mean(1)


def _shares(values_SR):
    with np.errstate(over='ignore'):
        total_S1 = values_SR.sum(1, keepdims=True)
    total_S1 = np.where(np.isfinite(total_S1), total_S1, np.nan)
    return values_SR / np.where(total_S1 == 0, np.nan, total_S1)


def _first_crossing(x_J, values_SJ, target_S) -> np.ndarray:
    """The x at which each row first reaches its target, linear between x_J; NaN where it does not.

    The first value of a row is below its target, or the target NaN.
    """
    found_S = np.full(len(values_SJ), np.nan)
    for s, (values_J, target) in enumerate(zip(values_SJ, target_S, strict=True)):
        reached_J = np.flatnonzero(values_J >= target)
        if reached_J.size:
            j = reached_J[0]
            low, high = values_J[j - 1], values_J[j]
            found_S[s] = x_J[j - 1] + (target - low) / (high - low) * (x_J[j] - x_J[j - 1])
    return found_S
