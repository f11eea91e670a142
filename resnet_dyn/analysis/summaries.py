"""Single numbers of a record, one for each network (S,): for tables and for the README."""

import numpy as np

from resnet_dyn.analysis import interaction_spectra, lesion_curves, orders, path_spectra


def half_deleted_error(record: lesion_curves.RandomLesions) -> np.ndarray:
    """The mean error with about half of the blocks deleted at random."""
    half = np.abs(record.deleted_J - record.deleted_J[-1] / 2).argmin()
    return record.error_SJ[:, half]


def pair_errors(record: lesion_curves.PairLesions) -> np.ndarray:
    """The errors without each pair of blocks (S, C(L, 2)); without the block, where L = 1."""
    rows, columns = np.triu_indices(record.error_SLL.shape[1], 1)
    return record.error_SLL[:, rows, columns] if len(rows) else record.error_SLL[:, 0]


def spare_blocks(record: lesion_curves.GreedyLesions, points: float = 0.05) -> np.ndarray:
    """How many blocks greedy lesions delete before the error has risen by more than `points`."""
    risen_SJ = record.error_SJ > record.error_SJ[:, :1] + points
    return np.where(risen_SJ.any(1), risen_SJ.argmax(1) - 1, risen_SJ.shape[1] - 1)


def energy_shares(record: path_spectra.PathSpectrum) -> np.ndarray:
    """S_k / sum of S (S, R): how the gradient's energy is spread over path lengths k = 0..L."""
    energy_SR = record.root_energy_SR.astype(np.float64) ** 2
    return energy_SR / energy_SR.sum(1, keepdims=True)


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
    return record.walsh_SR[:, 1] / record.walsh_SR[:, 1:].sum(1)


def swapped_error(record: orders.Reorders, swaps: int) -> np.ndarray:
    """The mean error over the orders that so many swaps led to; NaN where they led to none."""
    there_N = record.swaps_N == swaps
    if not there_N.any():
        return np.full(len(record.error_SN), np.nan)
    return record.error_SN[:, there_N].mean(1)
