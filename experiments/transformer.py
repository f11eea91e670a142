"""Do deep layers of a transformer do more where the LayerNorms of deep layers are scaled down?

    python -m launch.figure --name=transformer --workdir=build/transformer      (--fast: rough)

Decoders of 6 layers, L = 12 blocks, on characters of Python's own documents, pre-LN, with and
without the LayerNorm scaling of Sun et al. 2025 (arXiv 2502.05795: the norm of layer l times
1/sqrt(l)), the same seeds; depth over training by measures that need not agree:

    E[r]      path length that the power gains of blocks predict, of at most L + 1
    k         mean length of the paths that carry the gradient, by |G_k|^2, of at most L
    lens      blocks passed until the readout says about what it says at the end, of at most L
    deleted   loss that deleting one block adds, in the second half of the blocks over the first

To be expected: at the start the scaling makes branches of deep layers smaller and paths shorter.
Sun et al. train models of 12 to 32 layers on billions of tokens, and find that deep layers of
theirs then matter more; of so small a training nothing is known. Device: 2 CPU cores, about half an
hour; --fast: a minute.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import figures, study, words
from experiments.dynamics import looks
from resnet_dyn import config, errors
from resnet_dyn.analysis import archive, intervals, summaries
from resnet_dyn.plots import transformer as picture
from resnet_dyn.reports import measures
from resnet_dyn.training import checkpoints

RUNS = {'pre_ln': {}, 'ln_scaling': {'model.branch_scale': 'norm_sqrt_index'}}
CHEAP, DEAR = ('depth', 'depth_use', 'influence', 'singles'), ('paths',)
STEPS, EXAMPLES, FEWER = 5, 64, 16  # checkpoints that are looked at, test sequences, and for paths
LEAST = 0.05  # nats that a block adds where it is deleted, for a ratio to mean something

_SETTING = {
    'seeds': 5,
    'data.name': 'text',
    'data.test_size': 256,
    'model.family': 'transformer',
    'model.depth': 6,
    'model.width': 32,
    'train.steps': 400,
    'train.batch_size': 16,
    'train.warmup': 20,
    'log.evaluate': 100,
    'checkpoint.every': 100,
    'checkpoint.early': True,
}
_FAST = {
    'seeds': 2,
    'data.train_size': 64,
    'data.test_size': 16,
    'data.length': 16,
    'model.depth': 2,
    'model.width': 16,
    'train.steps': 12,
    'train.warmup': 2,
    'log.evaluate': 6,
    'checkpoint.every': 6,
    'checkpoint.early': False,
}


class Transformer(NamedTuple):
    """Of N trainings of S networks at T steps; L blocks."""

    runs_N: np.ndarray
    steps_T: np.ndarray
    loss_NST: np.ndarray  # of the next character, nats, on the test sequences looked at
    error_NST: np.ndarray
    predicted_NST: np.ndarray  # E[r], incoherent
    length_NST: np.ndarray  # mean k by |G_k|^2
    lens_NST: np.ndarray  # blocks, of at most L
    deleted_NST: np.ndarray  # mean loss that is added, second half over first; NaN below LEAST
    gains_NTSL: np.ndarray  # b^2
    influence_NTSL: np.ndarray  # 1 - cos(skip, output)
    added_NTSL: np.ndarray  # nats that the deletion of a block adds
    final_error_NS: np.ndarray  # on the whole test set of the training
    examples: np.ndarray
    fewer: np.ndarray  # examples of the paths
    setting: np.ndarray
    fast: np.ndarray


def trainings(fast: bool = False, changes: Mapping[str, Any] | None = None) -> study.Study:
    """The two trainings; `changes` by dotted path are made to both, but for the scaling.

    Raises ConfigError for what cannot run.
    """
    base = _SETTING | (_FAST if fast else {}) | dict(changes or {})
    config.parse(base)  # of both: what is wrong with it names no run
    if base['model.family'] != 'transformer':
        raise errors.ConfigError(
            f'config.model.family={base["model.family"]}: this figure is of the transformer; for '
            'others see launch.dynamics'
        )
    return figures.trainings(base, RUNS, fast)


def run(
    workdir,
    fast: bool = False,
    changes: Mapping[str, Any] | None = None,
    stop: Callable[[], bool] = lambda: False,
    report: Callable[[str], None] = print,
) -> figures.Result:
    """Trains and measures what is not there in `workdir/runs/`, and writes the figure and numbers.

    Files: transformer.png, .pdf, .npz (the record with its provenance) and .csv; with `fast`,
    transformer_fast.*. Started again, it goes on where it was; once `stop()` is true all is saved
    and the result says that it is not finished.
    """

    def look(folder: pathlib.Path):
        here = _steps(folder, fast)
        both = (looks.Look(CHEAP, here, EXAMPLES), looks.Look(DEAR, here, FEWER))
        return looks.take_all(folder, both, stop, report)

    trained = figures.train(trainings(fast, changes), workdir, stop, report, look)
    if trained is None:
        return figures.Result(False)
    record = measure(trained.workdirs, trained.configs[0], fast)
    files = figures.write(
        workdir, 'transformer', record, trained.origin, _table(record), picture.draw
    )
    findings = tuple(f'{claim}: {number}' for claim, number in numbers(record))
    return figures.Result(True, files, findings, trained.diverged)


def measure(folders: Sequence, one: config.Config, fast: bool) -> Transformer:
    """The numbers of the figure, of the records that stand in the folders of the runs."""
    found = [
        {
            name: [
                kept
                for kept in archive.read(folder, name, measures.MEASURES[name].record)
                if int(kept.record.step) in _steps(folder, fast)
            ]
            for name in (*CHEAP, *DEAR)
        }
        for folder in folders
    ]

    def over(name: str, of: Callable) -> np.ndarray:
        """(N, T, S, ...) of each record of a measure."""
        return np.stack([np.stack([of(one.record) for one in kept[name]]) for kept in found])

    def by_network(name: str, of: Callable) -> np.ndarray:
        return np.swapaxes(over(name, of), 1, 2)

    added_NTSL = over('singles', lambda r: r.loss_SL - r.full_loss_S[:, None])
    half = added_NTSL.shape[-1] // 2
    first_NTS, second_NTS = added_NTSL[..., :half].mean(-1), added_NTSL[..., half:].mean(-1)
    deleted_NTS = np.where(first_NTS > LEAST, second_NTS / first_NTS, np.nan)
    last = [study.final_metrics(folder) for folder in folders]
    return Transformer(
        runs_N=np.array(list(RUNS)),
        steps_T=np.array([int(kept.record.step) for kept in found[0]['depth']]),
        loss_NST=by_network('singles', lambda r: r.full_loss_S),
        error_NST=by_network('singles', lambda r: r.full_error_S),
        predicted_NST=by_network('depth', lambda r: r.incoherent_mean_S),
        length_NST=by_network('paths', lambda r: summaries.mean_length(r, summaries.sum_shares)),
        lens_NST=by_network('depth_use', lambda r: r.divergence_depth_S),
        deleted_NST=np.swapaxes(deleted_NTS, 1, 2),
        gains_NTSL=over('depth', lambda r: r.gains_SL**2),
        influence_NTSL=over('influence', lambda r: r.block_influence_SL),
        added_NTSL=added_NTSL,
        final_error_NS=1 - np.stack([metrics['test_accuracy'] for metrics in last]),
        examples=np.array(found[0]['singles'][0].settings['examples']),
        fewer=np.array(found[0]['paths'][0].settings['examples']),
        setting=np.array(_words(one)),
        fast=np.array(fast),
    )


def numbers(record: Transformer) -> Iterator[tuple[str, str]]:
    """(claim, number) of the README's rows: both trainings, and what the scaling changes."""
    L = record.gains_NTSL.shape[-1]
    measured = {
        f'E[r] of at most {L + 1} predicted from power gains': record.predicted_NST,
        f'mean length k of at most {L} of the paths of its gradient': record.length_NST,
        f'blocks of {L} until the readout is about the last one': record.lens_NST,
    }
    error_NS = 100 * record.final_error_NS
    text = '; '.join(map(words.plus_minus, error_NS))
    yield (
        f'test error of the next character, decoder of {L // 2} layers, %: pre-LN; with LayerNorm '
        'scaling; the second less the first [95 %]',
        f'{text}; {_difference(error_NS)}',
    )
    for name, values_NST in measured.items():
        first, last = values_NST[..., 0], values_NST[..., -1]
        both = '; '.join(
            f'{words.plus_minus(first[n])} → {words.plus_minus(last[n])}' for n in range(len(first))
        )
        yield (
            f'its {name}, start → end: pre-LN; with LayerNorm scaling; the second less the first '
            'at the end [95 %]',
            f'{both}; {_difference(last)}',
        )
    last = record.deleted_NST[..., -1]  # at the start no block adds anything
    yield (
        'loss that deleting one of its blocks adds at the end, second half of the blocks over '
        'first: pre-LN; with LayerNorm scaling; the second less the first [95 %]',
        f'{"; ".join(map(words.plus_minus, last))}; {_difference(last)}',
    )


def _difference(values_NS) -> str:
    """What the second training has more, paired by seed, with its interval; one pair has none."""
    seeds = range(values_NS.shape[1])
    found = intervals.difference(values_NS[1], values_NS[0], seeds, seeds)
    if not found.n:
        return 'not finite'
    interval = f'[{found.low:+.3g}, {found.high:+.3g}]' if found.known else '(n = 1, no interval)'
    return f'{found.estimate:+.3g} {interval}'


def _steps(folder, fast: bool) -> tuple[int, ...]:
    return looks.few(checkpoints.folders(folder), 3 if fast else STEPS)


def _words(one: config.Config) -> str:
    """A training in words, for the picture."""
    model, train, data = one.model, one.train, one.data
    return (
        f'{model.depth} layers ({2 * model.depth} blocks), width {model.width}, {model.heads} '
        f'heads, {model.norm} norm; characters, sequences of {data.length}; {train.steps} steps of '
        f'{train.batch_size} sequences, {train.optimizer}, rate {train.learning_rate:g} '
        f'({train.schedule})'
    )


def _table(record: Transformer) -> Iterator[tuple]:
    """Means and standard deviations over n networks, a measure and a step a line."""
    yield 'run', 'measure', 'step', 'mean', 'std', 'n'
    fields_of = [name for name in record._fields if name.endswith('_NST')]
    for n, name in enumerate(record.runs_N):
        for field in fields_of:
            for step, values_S in zip(record.steps_T, getattr(record, field)[n].T, strict=True):
                mean, std, number = words.over_networks(values_S)
                measured = field.removesuffix('_NST')
                yield name, measured, step, f'{mean:.6g}', f'{std:.6g}', number
