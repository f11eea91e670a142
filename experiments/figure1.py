"""Figure 1 of Littwin & Wolf (2016): does the virtual ensemble deepen as gammas and weights grow?

    make figure1                                          (FAST=1: 3 seeds, fewer steps)
    python -m launch.figure --name=figure1 --workdir=build/figure1

(a-c, f) theory, p = 100. (d) 10 networks of the paper's task, 50 Gaussians, p = 10, in the setting
chosen before looking: BN per unit after the ReLU, cross-entropy, rate 0.05, cosine, no decay.
(e) the same 10 networks without normalisation, at two rates: 0.0003, the largest of 0.0001, 0.0003,
0.001, ... at which no loss of the first 300 steps rises above the first one, and 0.001, where that
of one network in ten does, by a tenth (at 0.003 of eight, at 0.01 of all, and four end in NaN).

Found, where the paper says that gammas, depth and weights grow: gammas of layers 2..10 fall from 1
to 0.78 and rise again to 0.82; E[r] goes 2.88, 2.50, 2.69; the norm of the weights changes by
-0.9 +- 0.1 % at the smaller rate and by +2.5 +- 1.8 % at the larger, all in its first 50 steps.
Three minutes of CPU time, on 2 cores; FAST: 40 seconds.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import figures, study, words
from resnet_dyn import config, errors
from resnet_dyn.analysis import depth_measures, trajectories
from resnet_dyn.plots import figure1 as picture
from resnet_dyn.theory import complexity, path_weights

THEORY_DEPTH = 100
BETAS = (0.1, 0.5, 2.0)
THETA_BETAS = np.geomspace(0.01, 100.0, 201)
RECORDS, LINES = 60, 10  # of the dynamics, and for people, in a run

_SETTING = {'seeds': 10, 'log.tensorboard': False}
_FAST = {'seeds': 3, 'train.steps': 1000}
# What is changed of gammas is of no use where there are none.
_NO_NORM = {
    'model.norm': 'none',
    'model.gamma': 1.0,
    'model.zero_init': False,
    'train.gammas': 'trained',
    'train.gamma_rate': 1.0,
    'train.decay_gammas': 'none',
}
_RUNS: Mapping[str, dict[str, Any]] = {
    'gammas': {},
    'norms-stable': {**_NO_NORM, 'train.learning_rate': 3e-4},
    'norms-edge': {**_NO_NORM, 'train.learning_rate': 1e-3},
}


class Figure1(NamedTuple):
    """All numbers of the figure. N settings of beta, P layers (the stem first), depth p = P."""

    betas_N: np.ndarray  # (a-c)
    eps_NR: np.ndarray
    gamma_steps_T: np.ndarray  # (d)
    gammas_STP: np.ndarray  # mean over channels of |gamma|
    spreads_STP: np.ndarray  # standard deviation over channels of |gamma|
    gamma_start_S: np.ndarray  # mean over layers 2..p, at step 0
    gamma_early_S: np.ndarray  # a quarter into the run
    gamma_end_S: np.ndarray
    mean_depths_ST: np.ndarray  # E[r], incoherent, from measured power gains
    gamma_setting: np.ndarray
    norm_steps_T: np.ndarray  # (e), N rates
    norm_rates_N: np.ndarray
    weight_norms_NST: np.ndarray
    norm_setting: np.ndarray
    theta_p: np.ndarray  # (f)
    theta_betas_N: np.ndarray
    thetas_N: np.ndarray
    fast: np.ndarray


def trainings(fast: bool = False, changes: Mapping[str, Any] | None = None) -> study.Study:
    """The trainings behind the figure: 'gammas' for (d), 'norms-...' for (e); `fast`: '..._fast'.

    `changes` by dotted path are made to all; norm and rates of (e) stay its own. Raises ConfigError
    for what cannot run.
    """
    base = _SETTING | (_FAST if fast else {}) | dict(changes or {})
    one = config.parse(base)
    if one.data.name != 'gaussians':
        raise errors.ConfigError(
            f"config.data.name={one.data.name}: the figure is of the paper's task, gaussians"
        )
    if one.model.block == 'plain':
        raise errors.ConfigError(
            'config.model.block=plain has no skips, so no ensemble: take another'
        )
    if one.model.norm == 'none':
        raise errors.ConfigError(
            'config.model.norm=none has no gammas, which (d) shows: take batch or rms'
        )
    cadence = {'log.record': _share(one, RECORDS), 'log.every': _share(one, LINES)}
    return figures.trainings(cadence | base, _RUNS, fast)


def run(
    workdir,
    fast: bool = False,
    changes: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
) -> figures.Result:
    """Trains what is not trained yet in `workdir/runs/`, and writes the figure and its numbers.

    Files: figure1.png, .pdf, .npz (the record with its provenance) and .csv (means over seeds);
    with `fast`, figure1_fast.*. Started again, it goes on where it was; once `stop()` is true,
    training is saved and the result says that it is not finished.
    """
    planned = trainings(fast, changes)
    for name, one in study.configs(planned).items():
        report(f'{name}: {one.seeds} networks, {_steps(one):,} steps; {_words(one)}')
    trained = figures.train(planned, workdir, stop, report)
    if trained is None:
        return figures.Result(False)
    report('(a-c, f) theory')
    record = measure(trained.workdirs, trained.configs, fast)
    files = figures.write(workdir, 'figure1', record, trained.origin, _table(record), picture.draw)
    return figures.Result(True, files, tuple(_findings(record)), trained.diverged)


def measure(folders: Sequence, made: Sequence[config.Config], fast: bool) -> Figure1:
    """The numbers of the figure: theory, and what the runs recorded of themselves, (d) first."""
    (steps_T, found), *bare = [trajectories.dynamics(folder) for folder in folders]
    gammas_STP = _with_stem(found, 'gamma_mean')
    stages = trajectories.stages(steps_T, gammas_STP[:, :, 1:].mean(-1))
    return Figure1(
        betas_N=np.array(BETAS),
        eps_NR=np.stack([_weights(beta) for beta in BETAS]),
        gamma_steps_T=steps_T,
        gammas_STP=gammas_STP,
        spreads_STP=_with_stem(found, 'gamma_std'),
        gamma_start_S=stages.start_S,
        gamma_early_S=stages.early_S,
        gamma_end_S=stages.end_S,
        mean_depths_ST=_mean_depths(found['branch_moment'], found['skip_moment']),
        gamma_setting=np.array(_words(made[0])),
        norm_steps_T=bare[0][0],
        norm_rates_N=np.array([one.train.learning_rate for one in made[1:]]),
        weight_norms_NST=np.stack([series['weight_norm'] for _, series in bare]),
        norm_setting=np.array('no normalisation, the rates shown, otherwise the same'),
        theta_p=np.array(THEORY_DEPTH),
        theta_betas_N=THETA_BETAS,
        thetas_N=np.array([_theta(beta) for beta in THETA_BETAS]),
        fast=np.array(fast),
    )


def _weights(beta: float) -> np.ndarray:
    return np.exp(np.asarray(path_weights.log_path_weights(beta, THEORY_DEPTH), np.float64))


def _theta(beta: float) -> float:
    return complexity.theta(complexity.path_weight_mixture(beta, THEORY_DEPTH, first=2))


def _with_stem(found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    """A value by layer (S, T, P): the stem's (NaN where it has no norm), then the blocks'."""
    blocks_STL = found[name]
    stem_ST = found.get(f'stem_{name}', np.full(blocks_STL.shape[:2], np.nan))
    return np.concatenate([stem_ST[..., None], blocks_STL], axis=-1)


def _mean_depths(branch_STL, skip_STL) -> np.ndarray:
    """E[r] (S, T) of the measured gains; NaN where those of a network are not finite."""
    gains_STL = np.sqrt(branch_STL / skip_STL)
    finite_ST = np.isfinite(gains_STL).all(-1)
    gains_STL = np.where(finite_ST[..., None], gains_STL, 1.0)
    law = depth_measures.from_gains(0, gains_STL.reshape(-1, gains_STL.shape[-1]))
    return np.where(finite_ST, law.incoherent_mean_S.reshape(finite_ST.shape), np.nan)


def _steps(one: config.Config) -> int:
    return config.total_steps(one, one.data.train_size)


def _share(one: config.Config, parts: int) -> int:
    return max(1, _steps(one) // parts)


def _words(one: config.Config) -> str:
    """A training in words, for the picture."""
    model, train, data = one.model, one.train, one.data
    norm = {'none': 'no normalisation', 'batch': 'BN', 'rms': 'rms norm'}[model.norm]
    place = {'paper': ' per unit after the ReLU'}.get(model.block, f' in {model.block} blocks')
    decay = f'weight decay {train.weight_decay:g}' if train.weight_decay else 'no weight decay'
    optimizer = f'SGD with momentum {train.momentum:g}'
    if train.optimizer == 'adamw':
        optimizer = f'AdamW with momenta {train.momentum:g} and {train.beta_2:g}'
    return (
        f'{norm}{"" if model.norm == "none" else place}, {train.loss.replace("_", "-")}, '
        f'{optimizer}, rate {train.learning_rate:g} ({train.schedule}), {decay}, '
        f'batch {train.batch_size}; {data.classes} Gaussians of separation {data.separation:g} in '
        f'{data.dimension} dimensions, width {model.width}'
    )


def _findings(record: Figure1) -> Iterator[str]:
    for caption in picture.captions(record).values():
        yield f'{caption.title}\n    paper: {caption.claim}\n    here:  {caption.finding}'


def _table(record: Figure1) -> Iterator[tuple]:
    """The numbers behind the panels, one a line: mean and standard deviation over n seeds.

    Theory has the deviation 0, one seed has none: nan.
    """
    yield 'panel', 'curve', 'x', 'mean', 'std', 'n'
    for *names, values_S in _series(record):
        mean, std, n = words.over_networks(values_S)
        yield *names, f'{mean:.6g}', f'{std if np.ndim(values_S) else 0:.6g}', n


def _series(record: Figure1) -> Iterator[tuple]:
    for panel, beta, eps_R in zip('abc', record.betas_N, record.eps_NR, strict=True):
        for r, eps in enumerate(eps_R, start=1):
            yield panel, f'eps_r at beta={beta:g}', r, eps
    for t, step in enumerate(record.gamma_steps_T):
        for layer, gammas_S in enumerate(record.gammas_STP[:, t].T, start=1):
            yield 'd', f'|gamma| of layer {layer}', step, gammas_S
        yield 'd', 'E[r], incoherent', step, record.mean_depths_ST[:, t]
    for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True):
        for step, norms_S in zip(record.norm_steps_T, norms_ST.T, strict=True):
            yield 'e', f'weight norm at rate {rate:g}', step, norms_S
    for beta, theta in zip(record.theta_betas_N, record.thetas_N, strict=True):
        yield 'f', 'theta_k', f'{beta:.6g}', theta
