"""Writes the numbers of the README from the files that the commands wrote; types none in.

    make numbers
    python -m launch.numbers --workdir=build

Reads build/figure1/figure1.npz, build/cifar (a run and its analysis), build/benchmarks/*.json and
build/theorems/; what is not there is left out and said. Replaces what stands between the markers
of README.md, and copies the pictures to docs/.
"""

import json
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import errors, records
from resnet_dyn.analysis import depth_measures, kinds, lesion_curves, summaries, trajectories
from resnet_dyn.training import metrics

ROOT = pathlib.Path(__file__).parent.parent
BEGIN, END = '<!-- numbers: begin -->', '<!-- numbers: end -->'
SHOWN = ('singles', 'depth', 'random', 'pairs', 'reorder', 'paths', 'interactions')
PICTURES = {
    'figure1/figure1.png': 'figure1.png',
    **{f'cifar/pictures/{name}.png': f'{name}.png' for name in SHOWN},
    'theorems/counts.png': 'counts.png',
}


class Row(NamedTuple):
    """One claim of the table."""

    claim: str
    number: str
    n: str
    device: str
    command: str


class Result(NamedTuple):
    """What was written."""

    files: tuple[pathlib.Path, ...]
    findings: tuple[str, ...]


def run(workdir, report: Callable[[str], None] = print, root: pathlib.Path = ROOT) -> Result:
    """Rewrites the README's table and docs/ of `root` from what stands in `workdir`."""
    workdir, rows = pathlib.Path(workdir), []
    for name, source in SOURCES.items():
        try:
            rows += source(workdir)
        except (FileNotFoundError, errors.RecordError, errors.AnalysisError) as error:
            report(f'{name} is left out: {error}')
    files = [_write_table(root / 'README.md', rows)]
    for source, name in PICTURES.items():
        if (workdir / source).exists():
            (root / 'docs').mkdir(exist_ok=True)
            files.append(pathlib.Path(shutil.copyfile(workdir / source, root / 'docs' / name)))
    return Result(tuple(files), tuple(f'{row.claim}: {row.number}' for row in rows))


def figure1_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """Figure 1(d) and (e) in numbers."""
    record, origin = records.load(workdir / 'figure1' / 'figure1.npz')

    def row(claim, number):
        n = str(record.gammas_STP.shape[0])
        return Row(claim, number, n, device(origin['device']), '`make figure1`')

    stages = (record.gamma_start_S, record.gamma_early_S, record.gamma_end_S)
    yield row(
        "mean abs. gamma of layers 2..10 of the paper's net: start → a quarter → end",
        ' → '.join(map(plus_minus, stages)),
    )
    yield row(
        'its predicted depth E[r] of at most 10 (incoherent): start → end',
        ' → '.join(plus_minus(record.mean_depths_ST[:, t]) for t in (0, -1)),
    )
    for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True):
        yield row(
            f'weight norm without normalisation, end over start, rate {rate:g}',
            plus_minus(norms_ST[:, -1] / norms_ST[:, 0]),
        )


def cifar_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """The trained ResNet: accuracy, predicted depth, single lesions."""
    folder = workdir / 'cifar'
    description = json.loads((folder / 'config.json').read_text())
    lines = metrics.read(folder / 'metrics.jsonl')
    model, train, source = (
        description['config']['model'],
        description['config']['train'],
        description['data']['source'],
    )
    data = f'{source["name"]} ({source["note"]})' if source['note'] else source['name']
    name = f'ResNet-{model["depth"]} ({model["block"]})'
    n = str(description['config']['seeds'])

    def row(claim, number, origin, command):
        return Row(claim, number, n, device(origin['device']), f'`{command}`')

    accuracy = 100 * np.array(lines[-1]['test_accuracy'])
    speed = np.median([line['images_per_second'] for line in lines if 'images_per_second' in line])
    trained = python_command(description['command'])
    length = f'{train["epochs"]:g} epochs' if train['steps'] is None else f'{train["steps"]} steps'
    yield row(
        f'test accuracy of {name} after {length} of {data}, %',
        plus_minus(accuracy),
        description,
        trained,
    )
    yield row('images per second in that training', f'{speed:.0f}', description, trained)
    kinds = {'depth': depth_measures.DepthLaw, 'singles': lesion_curves.SingleLesions}
    found = {key: trajectories.read(folder, key, kind) for key, kind in kinds.items()}
    if not all(found.values()):
        raise FileNotFoundError(f'{folder}/records: run launch.analyze on it first')
    step = int(found['depth'][-1].step)
    _, origin = records.load(trajectories.path(folder, 'depth', step))
    command = python_command(origin['command'])
    ends = [found['depth'][t].incoherent_mean_S for t in (0, -1)]
    blocks = found['singles'][-1].error_SL.shape[1]
    yield row(
        f'its predicted depth E[r] of at most {blocks + 1} (incoherent): start → end',
        ' → '.join(map(plus_minus, ends)),
        origin,
        command,
    )
    last = found['singles'][-1]
    yield row(
        'its error on the examples of the analysis, %: whole; one block deleted, mean; worst',
        '; '.join(
            plus_minus(100 * values)
            for values in (last.full_error_S, last.error_SL.mean(-1), last.error_SL.max(-1))
        ),
        origin,
        command,
    )


def ensemble_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """The virtual ensemble of the trained ResNet at its last analysed step, measure by measure."""
    folder, found = workdir / 'cifar', False
    for name, numbers in ENSEMBLE.items():
        there = trajectories.read(folder, name, kinds.KINDS[name].record)
        if not there:
            continue
        found, record = True, there[-1]
        _, origin = records.load(trajectories.path(folder, name, int(record.step)))
        command = f'`{python_command(origin["command"])}`'
        networks = next(len(value) for field, value in record._asdict().items() if '_S' in field)
        for claim, number in numbers(record):
            yield Row(claim, number, str(networks), device(origin['device']), command)
    if not found:
        raise FileNotFoundError(
            f'{folder}/records: run launch.analyze --what={",".join(ENSEMBLE)} on it first'
        )


def _random_numbers(record):
    yield (
        'its error with half of its blocks deleted at random, %',
        plus_minus(100 * summaries.half_deleted_error(record)),
    )


def _pair_numbers(record):
    errors_SP = 100 * summaries.pair_errors(record)
    ends = (errors_SP.min(1), errors_SP.mean(1), errors_SP.max(1))
    claim = 'its error without two blocks, %: the pair missed least; mean; worst'
    yield claim, '; '.join(map(plus_minus, ends))


def _reorder_numbers(record):
    yield (
        f'its error after random swaps of equal blocks, %: {record.swaps_J[0]}; '
        f'{record.swaps_J[-1]}',
        '; '.join(plus_minus(100 * record.error_SJN[:, j].mean(1)) for j in (0, -1)),
    )


def _path_numbers(record):
    yield (
        'share of the energy of its gradient in paths of at most half of the blocks (of all paths: '
        f'{summaries.short_paths(record):.3g})',
        plus_minus(summaries.short_share(record)),
    )
    yield (
        'its gradient less the sum of the parts by path length, relative norm',
        plus_minus(record.closure_S),
    )


def _interaction_numbers(record):
    yield (
        f'share of the variance of its logits over all {2 ** (record.walsh_SR.shape[1] - 1):,} '
        'sub-networks that blocks make by themselves',
        plus_minus(summaries.alone_share(record)),
    )


ENSEMBLE = {
    'random': _random_numbers,
    'pairs': _pair_numbers,
    'reorder': _reorder_numbers,
    'paths': _path_numbers,
    'interactions': _interaction_numbers,
}


def train_benchmark_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """Speed beside PyTorch, and growth of the compile time."""
    found, row = _benchmark(workdir, 'train')
    yield row(
        'compile time of the training step, ResNet-1202 over ResNet-20',
        f'{found["compile_growth"]:.2f}',
    )
    if 'speed_over_pytorch' in found:
        middle, low, high = found['speed_over_pytorch']
        yield row(
            'training steps per second over eager PyTorch, ResNet-20, batch 128: median (range)',
            f'{middle:.2f} ({low:.2f} to {high:.2f})',
        )


def kernels_benchmark_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """What the kernels cost in passes through the network, and beside PyTorch's loop."""
    found, row = _benchmark(workdir, 'kernels')
    for key, what in (
        ('singles', 'all single deletions of ResNet-56, forward passes'),
        ('pairs', 'all pairs of ResNet-56, forward passes'),
        ('exhaustive', 'all 2^12 sub-networks of ResNet-26, forward passes'),
        ('spectrum', 'exact path spectrum of ResNet-110, VJP passes'),
    ):
        passes, bound = found[key]['passes'][0], found[key]['bound']
        yield row(f'{what}; over the bound of {bound:.1f}', f'{passes:.1f}; {passes / bound:.2f}')
    for key, what in (
        ('singles', 'single deletions of ResNet-56'),
        ('exhaustive', 'all sub-networks of ResNet-26'),
    ):
        if 'pytorch_over_ours' in found[key]:
            yield row(
                f"time of PyTorch's loop that skips deleted blocks over ours, {what}",
                f'{found[key]["pytorch_over_ours"][0]:.2f}',
            )
    growths = (found['compile'][key]['growth'] for key in ('lesions', 'spectrum'))
    yield row(
        'compile time for ResNet-110 over ResNet-20: lesions; path spectrum',
        '; '.join(f'{growth:.2f}' for growth in growths),
    )


def theory_benchmark_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """Seconds of the theory's heavy functions."""
    found, row = _benchmark(workdir, 'theory')
    for name, seconds, _ in found:
        yield row(f'{name}, seconds', f'{seconds:.3g}')


def theorem_rows(workdir: pathlib.Path) -> Iterator[Row]:
    """How many statements hold, of all that `make theorems` checks."""
    found = json.loads((workdir / 'theorems' / 'theorems.json').read_text())
    hold, total = sum(bool(row['holds']) for row in found['rows']), len(found['rows'])
    yield Row(
        'statements put to numbers: hold; fail, each as the paper makes it and corrected beside it',
        f'{hold}; {total - hold}',
        '',
        device(found['provenance']['device']),
        '`make theorems`',
    )


SOURCES = {
    'Figure 1': figure1_rows,
    'the CIFAR-10 run': cifar_rows,
    'the ensemble of the CIFAR-10 run': ensemble_rows,
    'the benchmark of training': train_benchmark_rows,
    'the benchmark of the kernels': kernels_benchmark_rows,
    'the benchmark of the theory': theory_benchmark_rows,
    'the theorems': theorem_rows,
}


def plus_minus(values_S) -> str:
    """mean ± standard deviation (n - 1) over networks; one network has no ±."""
    values_S = np.atleast_1d(np.asarray(values_S, np.float64))
    mean = f'{values_S.mean():.3g}' if abs(values_S.mean()) < 10 else f'{values_S.mean():.1f}'
    return mean if values_S.size == 1 else f'{mean} ± {values_S.std(ddof=1):.2g}'


def device(found: Mapping[str, Any]) -> str:
    """The device of a provenance in a few words."""
    if found['platform'] == 'cpu':
        return f'{found["cpu_cores"]} CPU cores'
    return f'{found["count"]} x {found["kind"]}'


def python_command(command: str) -> str:
    """The command of a provenance without the path of the interpreter and of folders of data."""
    words = command.split()
    words = ['python', *words[words.index('-m') :]] if '-m' in words else words
    hidden = ('--config.data.dir=', '--config.data.cache=')
    return ' '.join(next((f'{h}DATA' for h in hidden if w.startswith(h)), w) for w in words)


def _benchmark(workdir: pathlib.Path, what: str):
    path = workdir / 'benchmarks' / f'benchmark_{what}.json'
    found = json.loads(path.read_text())
    place = device(found['provenance']['device'])
    command = f'`python -m launch.benchmark --what={what}`'
    return found['numbers'], lambda claim, number: Row(claim, number, '', place, command)


def _write_table(path: pathlib.Path, rows: list[Row]) -> pathlib.Path:
    text = path.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    lines = ['| claim | measured | n | device | command |', '|---|---|---|---|---|']
    lines += ['| ' + ' | '.join(row) + ' |' for row in rows]
    path.write_text('\n'.join([before + BEGIN, '', *lines, '', END]) + after)
    return path
