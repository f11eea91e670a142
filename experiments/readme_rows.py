"""The rows of the README's table, a function a source: what a file holds, in words.

Every word that depends on a setting (sizes, numbers of examples and rounds, commands) is taken
from the record or its provenance, so that it says what was measured. Where a file is not there or
will not do, a UserError says so.
"""

import json
import pathlib
from collections.abc import Iterator

import numpy as np

from experiments import benchmark_rows, ensemble_rows, words
from experiments import figure1 as figure
from experiments import initial_depth as initial
from experiments import sentence_similarity as similarity
from experiments import transformer as language_model
from experiments.benchmarks import timing
from resnet_dyn import commands, errors, records
from resnet_dyn.analysis import archive
from resnet_dyn.reports import measures
from resnet_dyn.training import metrics

plus_minus = words.plus_minus


def read(name: str, workdir: pathlib.Path) -> list[words.Row]:
    """The rows of a source; UserError where its files are not there or hold something else."""
    try:
        return list(SOURCES[name](workdir))
    except errors.UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError) as error:
        raise errors.RecordError(
            f'its files in {workdir} hold something else than its command writes '
            f'({errors.reason(error)}): make them again with this version of the code'
        ) from error


def _json(path: pathlib.Path, command: str) -> dict:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        raise errors.RecordError(f'{path} does not exist: run {command}') from None
    except (OSError, ValueError) as error:
        raise errors.RecordError(
            f'{path} is damaged or cannot be read ({error}): run {command}'
        ) from error


def figure1(workdir: pathlib.Path) -> Iterator[words.Row]:
    """Figure 1(d) and (e) in numbers."""
    record, origin = records.load(workdir / 'figure1' / 'figure1.npz', figure.Figure1)
    n, depth = record.gammas_STP.shape[0], record.gammas_STP.shape[-1]
    stages = (record.gamma_start_S, record.gamma_early_S, record.gamma_end_S)
    yield words.row(
        f"mean abs. gamma of layers 2..{depth} of the paper's net: start → a quarter → end",
        ' → '.join(map(plus_minus, stages)),
        n,
        origin,
    )
    yield words.row(
        f'its predicted depth E[r] of at most {depth} (incoherent): start → end',
        ' → '.join(plus_minus(record.mean_depths_ST[:, t]) for t in (0, -1)),
        n,
        origin,
    )
    for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True):
        yield words.row(
            f'weight norm without normalisation, end over start, rate {rate:g}',
            plus_minus(norms_ST[:, -1] / norms_ST[:, 0]),
            len(norms_ST),
            origin,
        )


def initial_depth(workdir: pathlib.Path) -> Iterator[words.Row]:
    """Depth before training beside theory."""
    path = workdir / 'initial_depth' / 'initial_depth.npz'
    record, origin = records.load(path, initial.InitialDepth)
    for claim, number in initial.numbers(record):
        yield words.row(claim, number, record.signal_NCSP.shape[2], origin)


def transformer(workdir: pathlib.Path) -> Iterator[words.Row]:
    """The language model, with and without LayerNorm scaling."""
    path = workdir / 'transformer' / 'transformer.npz'
    record, origin = records.load(path, language_model.Transformer)
    for claim, number in language_model.numbers(record):
        yield words.row(claim, number, record.loss_NST.shape[1], origin)


def cifar(workdir: pathlib.Path) -> Iterator[words.Row]:
    """The trained ResNet: accuracy and speed."""
    folder = workdir / 'cifar'
    command = f'{commands.said("train")} --workdir={folder} with the config wanted'
    origin = _json(folder / 'config.json', command)
    lines = metrics.read(folder / 'metrics.jsonl')
    if not lines or lines[-1]['step'] < origin['total_steps']:
        raise errors.RunError(f'the run in {folder} is not finished: start it again to go on')
    model, train = origin['config']['model'], origin['config']['train']
    source, n = origin['data']['source'], origin['config']['seeds']
    data = f'{source["name"]} ({source["note"]})' if source['note'] else source['name']
    name = f'ResNet-{model["depth"]} ({model["block"]})'
    accuracy = [line['test_accuracy'] for line in lines if 'test_accuracy' in line][-1]
    speeds = [line['images_per_second'] for line in lines if 'images_per_second' in line]
    length = f'{train["epochs"]:g} epochs' if train['steps'] is None else f'{train["steps"]} steps'
    yield words.row(
        f'test accuracy of {name} after {length} of {data}, %, on {origin["data"]["test_size"]:,} '
        'test images',
        plus_minus(100 * np.array(accuracy, float)),
        n,
        origin,
    )
    speed = timing.spread(speeds)
    yield words.row(
        f'images per second in that training, of {n} networks together: median (range)',
        f'{words.number(speed.median)} ({speed.range})',
        f'{speed.rounds} lines',
        origin,
    )


def cifar_over_training(workdir: pathlib.Path) -> Iterator[words.Row]:
    """The trained ResNet over its checkpoints: predicted depth, single lesions."""
    folder = workdir / 'cifar'
    first, last, origin = _ends(folder, 'depth')
    ends = (first.incoherent_mean_S, last.incoherent_mean_S)
    yield words.row(
        f'its predicted depth E[r] of at most {last.gains_SL.shape[1] + 1} (incoherent) '
        f'{_examples(origin)}: start → end',
        ' → '.join(map(plus_minus, ends)),
        len(last.incoherent_mean_S),
        origin,
    )
    *_, (last, origin) = _read(folder, 'singles')
    yield words.row(
        f'its error {_on(last, origin)}, %: whole; one block deleted, mean; worst',
        '; '.join(
            plus_minus(100 * values)
            for values in (last.full_error_S, last.error_SL.mean(-1), last.error_SL.max(-1))
        ),
        len(last.full_error_S),
        origin,
    )


def ensemble(workdir: pathlib.Path) -> Iterator[words.Row]:
    """The virtual ensemble of the trained ResNet at its last analysed step, measure by measure."""
    folder, found = workdir / 'cifar', False
    for name, numbers in ensemble_rows.NUMBERS.items():
        try:
            *_, (record, origin) = _read(folder, name)
        except errors.RecordError:
            continue
        found = True
        networks = next(len(value) for field, value in record._asdict().items() if '_S' in field)
        for claim, number in numbers(record, _on(record, origin)):
            yield words.row(claim, number, networks, origin)
    if not found:
        raise _not_analysed(folder, ','.join(ensemble_rows.NUMBERS))


def _read(folder: pathlib.Path, name: str) -> list[archive.Found]:
    """The records of a measure with their provenance, by step."""
    found = archive.read(folder, name, measures.MEASURES[name].record)
    if not found:
        raise _not_analysed(folder, name)
    return found


def _ends(folder: pathlib.Path, name: str):
    """The records of a measure at step 0 and at the end of the run, and the last one's provenance.

    RecordError unless both are there and were measured alike.
    """
    train = f'{commands.said("train")} --workdir={folder}'
    total = _json(folder / 'config.json', train)['total_steps']
    by_step = {int(one.record.step): one for one in _read(folder, name)}
    again = f'run {commands.said("analyze")} --workdir={folder} --what={name} --steps=0,{total}'
    if missing := {0, total} - set(by_step):
        raise errors.RecordError(
            f'{folder / "records"} has no record of {name} at step {min(missing)}: {again}'
        )
    first, last = by_step[0], by_step[total]
    if unlike := [
        f'{key} {first.settings.get(key)} and {last.settings.get(key)}'
        for key in sorted({*first.settings, *last.settings} - {'checkpoint'})
        if first.settings.get(key) != last.settings.get(key)
    ]:
        raise errors.RecordError(
            f'{name} was measured otherwise at step 0 than at step {total} ({"; ".join(unlike)}): '
            f'{again} with the settings of the dearer one'
        )
    return first.record, last.record, last.origin


def _not_analysed(folder: pathlib.Path, what: str) -> errors.RecordError:
    return errors.RecordError(
        f'{folder / "records"} has no record of {what}: run {commands.said("analyze")} '
        f'--workdir={folder} --what={what}'
    )


def _on(record, origin) -> str:
    """At which step, on how many examples, and with which statistics of the norms."""
    return f'at step {int(record.step):,} {_examples(origin)}'


def _examples(origin) -> str:
    """On how many examples, and with which statistics of the norms."""
    settings = origin['settings']
    how = {'estimated': 'estimated anew', 'running': 'as training averaged them'}
    norms = how.get(settings.get('statistics'))
    norms = f' (norm statistics {norms})' if norms else ''
    return f'on {settings["examples"]:,} test examples{norms}'


def theorems(workdir: pathlib.Path) -> Iterator[words.Row]:
    """How many statements hold, of all that `make theorems` checks."""
    folder = workdir / 'theorems'
    found = _json(folder / 'theorems.json', f'{commands.said("theorems")} --workdir={folder}')
    hold, total = sum(bool(one['holds']) for one in found['rows']), len(found['rows'])
    yield words.row(
        'statements put to numbers: hold; fail, each as the paper makes it and corrected beside it',
        f'{hold}; {total - hold}',
        '',
        found['provenance'],
    )


def sentence_similarity(workdir: pathlib.Path) -> Iterator[words.Row]:
    """What sublayers of a sentence encoder are worth."""
    path = workdir / 'similarity' / 'similarity.npz'
    record, origin = records.load(path, similarity.SentenceSimilarity)
    for claim, number in similarity.numbers(record):
        yield words.row(claim, number, f'{len(record.topics_N)} pairs', origin)


SOURCES = {
    'figure1': figure1,
    'initial-depth': initial_depth,
    'transformer': transformer,
    'cifar': cifar,
    'cifar-over-training': cifar_over_training,
    'cifar-ensemble': ensemble,
    **benchmark_rows.SOURCES,
    'theorems': theorems,
    'similarity': sentence_similarity,
}
