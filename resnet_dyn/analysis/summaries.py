"""Single numbers of a record, one for each network (S,): for tables and for the README.

A network that is not finite stays so: NaN. Shares of nothing are 0: of the energy where no gradient
comes back, of the variance where no block does anything.
"""

from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import interaction_spectra, lesion_curves, orders, path_spectra


class HalfDeleted(NamedTuple):
    """Errors with the number of blocks deleted that is nearest to half; of two, the smaller."""

    deleted: int
    blocks: int  # L
    error_S: np.ndarray  # mean over the choices
    error_se: float  # of the mean over networks; NaN for one choice alone


def half_deleted(record: lesion_curves.RandomLesions) -> HalfDeleted:
    """The error with half of the blocks deleted at random, and how many these are: 4 of 9."""
    half, L = np.abs(record.deleted_J - record.deleted_J[-1] / 2).argmin(), record.deleted_J[-1]
    _, error_J = over_choices(record.error_SJM)
    error_S = record.error_SJM[:, half].mean(-1, dtype=np.float64)
    return HalfDeleted(int(record.deleted_J[half]), int(L), error_S, float(error_J[half]))


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


def mean_length(record: path_spectra.PathSpectrum) -> np.ndarray:
    """The mean of k under the shares of the energy."""
    return energy_shares(record) @ np.arange(len(record.paths_R))


def short_share(record: path_spectra.PathSpectrum) -> np.ndarray:
    """The share of the energy in paths that use at most half of the blocks."""
    short = np.arange(len(record.paths_R)) <= (len(record.paths_R) - 1) / 2
    return energy_shares(record)[:, short].sum(1)


def short_paths(record: path_spectra.PathSpectrum) -> float:
    """The share of all 2^L paths that use at most half of the blocks."""
    short = np.arange(len(record.paths_R)) <= (len(record.paths_R) - 1) / 2
    return float(record.paths_R[short].sum() / record.paths_R.sum())


def alone_share(record: interaction_spectra.Interactions) -> np.ndarray:
    """The share of the variance over all sub-networks at order 1: blocks by themselves."""
    return _shares(record.walsh_SR[:, 1:])[:, 0]


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
    return np.where(total_S1 == 0, 0.0, values_SR / np.where(total_S1 == 0, 1, total_S1))
