"""The rules of `depth_over_training` as functions; its docstring has them in words."""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from resnet_dyn.analysis import intervals
from resnet_dyn.reports import claims, series

Runs = Mapping[str, series.RunSeries]
Finding = claims.Finding


class Number(NamedTuple):
    """Something measured at steps: of(run) -> (steps (T,), values (S, T)), None where it is not."""

    measure: str
    title: str
    of: Callable[[series.RunSeries], tuple[np.ndarray, np.ndarray] | None]


def recorded(measure: str, title: str, value: Callable) -> Number:
    """value(record) -> (S,) of each record of a measure."""

    def of(run):
        found = run.records.get(measure)
        if not found:
            return None
        values = [np.asarray(value(record), np.float64) for _, record, _ in found]
        return np.array([step for step, *_ in found]), np.stack(values, 1)

    return Number(measure, title, of)


def column(measure: str, word: str, title: str, less: float = 0.0) -> Number:
    """The first column of a measure whose title has the word."""

    def of(run):
        for (name, said), one in run.series.items():
            if name == measure and word in said:
                return one.steps_T, one.values_ST - less
        return None

    return Number(measure, title, of)


def _mean_index(weights_SR) -> np.ndarray:
    weights_SR = np.asarray(weights_SR, np.float64)
    total_S = weights_SR.sum(1)
    moment_S = weights_SR @ np.arange(weights_SR.shape[1])
    return moment_S / np.where(total_S > 0, total_S, np.nan)


DEPTHS = (
    column('gamma_depth', 'recomputed', 'k predicted from gammas, sigma recomputed', less=1),
    recorded(
        'depth', 'k predicted from power gains, incoherent', lambda r: r.incoherent_mean_S - 1
    ),
    recorded('depth', 'k predicted from power gains, coherent', lambda r: r.coherent_mean_S - 1),
    recorded(
        'paths', 'k of the gradient, by |G_k|^2', lambda r: _mean_index(_squares(r, 'sum_norm_SR'))
    ),
    recorded(
        'paths',
        'k of the gradient, by energies S_k',
        lambda r: _mean_index(_squares(r, 'root_energy_SR')),
    ),
    recorded(
        'paths',
        'k of the signal, by |u_k|^2',
        lambda r: _mean_index(_squares(r, 'forward_norm_SR')),
    ),
    recorded('interactions', 'order of interaction', lambda r: 1 + _mean_index(r.walsh_SR[:, 1:])),
)
USES = (
    column('depth_use', 'KL', 'depth at which the head agrees, in KL'),
    column('depth_use', 'top-5', 'depth at which the head agrees, in top-5'),
    column('depth_use', 'sign', 'depth of the last sign change of cos(branch, h)'),
)
GAMMA = column(series.TRAINING, 'mean |gamma|', 'mean |gamma| of the branches')
STEM = column(series.TRAINING, '|gamma| of the first layer', '|gamma| of the stem')
WEIGHTS = column(series.TRAINING, 'weight norm', 'weight norm')


def _squares(record, field: str) -> np.ndarray:
    return np.asarray(getattr(record, field), np.float64) ** 2


def _short_excess(weights_SR, paths_R) -> np.ndarray:
    weights_SR, paths_R = np.asarray(weights_SR, float), np.asarray(paths_R, float)
    short = np.arange(len(paths_R)) <= (len(paths_R) - 1) / 2
    total_S = weights_SR.sum(1)
    share_S = weights_SR[:, short].sum(1) / np.where(total_S > 0, total_S, np.nan)
    return share_S - paths_R[short].sum() / paths_R.sum()


SHORT = (
    recorded(
        'paths',
        'share of energies S_k in the short half, less that of paths',
        lambda r: _short_excess(_squares(r, 'root_energy_SR'), r.paths_R),
    ),
    recorded(
        'paths',
        'share of |G_k|^2 in the short half, less that of paths',
        lambda r: _short_excess(_squares(r, 'sum_norm_SR'), r.paths_R),
    ),
)


def start(run: series.RunSeries, number: Number) -> np.ndarray | None:
    """The values (S,) at step 0; None where there are none."""
    found = number.of(run)
    return None if found is None or found[0][0] != 0 else found[1][:, 0]


def end(run: series.RunSeries, number: Number) -> np.ndarray | None:
    """The values (S,) at the last step that was measured, after step 0."""
    found = number.of(run)
    return None if found is None or found[0][-1] == 0 else found[1][:, -1]


def change(run: series.RunSeries, number: Number) -> np.ndarray | None:
    """The values (S,) at the last step less those at step 0."""
    first, last = start(run, number), end(run, number)
    return None if first is None or last is None else last - first


def blocks(run: series.RunSeries) -> int | None:
    """L, as a record of the run has it."""
    for measure, field in (('depth', 'gains_SL'), ('paths', 'paths_R')):
        for _, record, _ in run.records.get(measure, ())[:1]:
            return np.shape(getattr(record, field))[-1] - (field == 'paths_R')
    return None


def interval(values_S: np.ndarray | None) -> intervals.Interval:
    """Over networks; of nothing where nothing was measured."""
    return intervals.mean([] if values_S is None else values_S)


def initial(runs: Runs) -> list[Finding]:
    return list(_initial(runs))


def _initial(runs: Runs) -> Iterator[Finding]:
    for name, run in claims.mains(runs).items():
        L = blocks(run)
        for number in DEPTHS:
            k_S = start(run, number)
            found = interval(None if k_S is None or L is None else k_S - L / 2)
            yield _finding(name, number, f'{number.title}, less L/2', found, claims.below)


def grows(runs: Runs) -> list[Finding]:
    return [
        _finding(name, number, f'change of {number.title}', interval(change(run, number)))
        for name, run in claims.mains(runs).items()
        for number in (*DEPTHS, *USES)
    ]


def gammas_grow(runs: Runs) -> list[Finding]:
    return [
        _finding(name, GAMMA, f'change of {GAMMA.title}', interval(change(run, GAMMA)))
        for name, run in claims.mains(runs).items()
    ]


def first_layer(runs: Runs) -> list[Finding]:
    found = []
    for name, run in claims.mains(runs).items():
        stem_S, branch_S = end(run, STEM), end(run, GAMMA)
        values_S = None if stem_S is None or branch_S is None else stem_S - branch_S
        title = f'{STEM.title} less {GAMMA.title}'
        found.append(_finding(name, STEM, title, interval(values_S), claims.apart))
    return found


def frozen_less(runs: Runs) -> list[Finding]:
    frozen = {name: run for name, run in runs.items() if run.config.train.gammas == 'frozen'}
    return [
        _finding(name, number, f'change of {number.title}', versus(run, twin, number), other=other)
        for name, run in claims.mains(runs).items()
        for other, twin in frozen.items()
        if other != name
        for number in DEPTHS
    ]


def weights_grow(runs: Runs) -> list[Finding]:
    found = []
    for name, run in runs.items():
        if run.config.model.norm == 'none':
            first_S, last_S = start(run, WEIGHTS), end(run, WEIGHTS)
            values_S = None if first_S is None or last_S is None else last_S / first_S - 1
            title = f'{WEIGHTS.title}, end over start less 1'
            found.append(_finding(name, WEIGHTS, title, interval(values_S)))
    return found


def slope(runs: Runs) -> list[Finding]:
    number = recorded('depth', 'slope of log(branch/skip) by log l', lambda r: slopes(r.gains_SL))
    return [
        _finding(
            name,
            number,
            number.title,
            interval(start(run, number)),
            lambda found: claims.within(found, -1.5, -0.5),
        )
        for name, run in claims.mains(runs).items()
    ]


def slopes(gains_SL) -> np.ndarray:
    """The least-squares slope (S,) of log b_l^2 by log l, l = 1..L; NaN for fewer than 2 blocks."""
    gains_SL = np.asarray(gains_SL, np.float64)
    if gains_SL.shape[1] < 2:
        return np.full(len(gains_SL), np.nan)
    x_L = np.log(np.arange(1, gains_SL.shape[1] + 1))
    x_L = x_L - x_L.mean()
    with np.errstate(divide='ignore', invalid='ignore'):
        return 2 * np.log(gains_SL) @ x_L / (x_L @ x_L)


def short_carry(runs: Runs) -> list[Finding]:
    return [
        _finding(name, number, number.title, interval(end(run, number)))
        for name, run in claims.mains(runs).items()
        for number in SHORT
    ]


def versus(run, other, number: Number, of: Callable = change) -> intervals.Interval:
    """of(run) less of(other), networks paired by seed."""
    first_S, second_S = of(run, number), of(other, number)
    if first_S is None or second_S is None:
        return interval(None)
    return intervals.difference(first_S, second_S, run.seeds, other.seeds)


def _finding(name, number: Number, title, found, outcome=claims.above, other='') -> Finding:
    return claims.finding(name, number.measure, title, found, outcome(found), other)
