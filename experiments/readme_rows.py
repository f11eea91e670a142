"""The rows of the README's table, a function a source: what a file holds, in words.

Every word that depends on a setting (sizes, numbers of examples and rounds, commands) is taken
from the record or its provenance, so that it says what was measured. Where a file is not there or
will not do, a UserError says so.
"""

import json
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from experiments import ensemble_rows, words
from experiments import figure1 as figure
from experiments import initial_depth as initial
from experiments import sentence_similarity as similarity
from experiments import transformer as language_model
from experiments.benchmarks import results, timing
from resnet_dyn import commands, errors, records
from resnet_dyn.analysis import archive
from resnet_dyn.reports import measures
from resnet_dyn.training import metrics

plus_minus = words.plus_minus


class Row(NamedTuple):
    """One claim of the table."""

    claim: str
    number: str
    n: str  # networks, or rounds
    device: str
    command: str


def row(claim: str, number: str, n: int | str, origin) -> Row:
    """A row with device and command of a provenance."""
    command = f'`{words.python_command(origin["command"])}`'
    return Row(claim, number, str(n), words.device(origin['device']), command)


def read(name: str, workdir: pathlib.Path) -> list[Row]:
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


def figure1(workdir: pathlib.Path) -> Iterator[Row]:
    """Figure 1(d) and (e) in numbers."""
    record, origin = records.load(workdir / 'figure1' / 'figure1.npz', figure.Figure1)
    n, depth = record.gammas_STP.shape[0], record.gammas_STP.shape[-1]
    stages = (record.gamma_start_S, record.gamma_early_S, record.gamma_end_S)
    yield row(
        f"mean abs. gamma of layers 2..{depth} of the paper's net: start → a quarter → end",
        ' → '.join(map(plus_minus, stages)),
        n,
        origin,
    )
    yield row(
        f'its predicted depth E[r] of at most {depth} (incoherent): start → end',
        ' → '.join(plus_minus(record.mean_depths_ST[:, t]) for t in (0, -1)),
        n,
        origin,
    )
    for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True):
        yield row(
            f'weight norm without normalisation, end over start, rate {rate:g}',
            plus_minus(norms_ST[:, -1] / norms_ST[:, 0]),
            len(norms_ST),
            origin,
        )


def initial_depth(workdir: pathlib.Path) -> Iterator[Row]:
    """Depth before training beside theory."""
    path = workdir / 'initial_depth' / 'initial_depth.npz'
    record, origin = records.load(path, initial.InitialDepth)
    for claim, number in initial.numbers(record):
        yield row(claim, number, record.signal_NCSP.shape[2], origin)


def transformer(workdir: pathlib.Path) -> Iterator[Row]:
    """The language model, with and without LayerNorm scaling."""
    path = workdir / 'transformer' / 'transformer.npz'
    record, origin = records.load(path, language_model.Transformer)
    for claim, number in language_model.numbers(record):
        yield row(claim, number, record.loss_NST.shape[1], origin)


def cifar(workdir: pathlib.Path) -> Iterator[Row]:
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
    yield row(
        f'test accuracy of {name} after {length} of {data}, %, on {origin["data"]["test_size"]:,} '
        'test images',
        plus_minus(100 * np.array(accuracy, float)),
        n,
        origin,
    )
    speed = timing.spread(speeds)
    yield row(
        f'images per second in that training, of {n} networks together: median (range)',
        f'{words.number(speed.median)} ({speed.range})',
        f'{speed.rounds} lines',
        origin,
    )


def cifar_over_training(workdir: pathlib.Path) -> Iterator[Row]:
    """The trained ResNet over its checkpoints: predicted depth, single lesions."""
    folder = workdir / 'cifar'
    first, last, origin = _ends(folder, 'depth')
    ends = (first.incoherent_mean_S, last.incoherent_mean_S)
    yield row(
        f'its predicted depth E[r] of at most {last.gains_SL.shape[1] + 1} (incoherent) '
        f'{_examples(origin)}: start → end',
        ' → '.join(map(plus_minus, ends)),
        len(last.incoherent_mean_S),
        origin,
    )
    *_, (last, origin) = _read(folder, 'singles')
    yield row(
        f'its error {_on(last, origin)}, %: whole; one block deleted, mean; worst',
        '; '.join(
            plus_minus(100 * values)
            for values in (last.full_error_S, last.error_SL.mean(-1), last.error_SL.max(-1))
        ),
        len(last.full_error_S),
        origin,
    )


def ensemble(workdir: pathlib.Path) -> Iterator[Row]:
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
            yield row(claim, number, networks, origin)
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


def benchmark_train(workdir: pathlib.Path) -> Iterator[Row]:
    """Speed beside PyTorch, and growth of the compile time."""
    found, origin = results.read(workdir / 'benchmarks', 'train')
    growth, sizes = found['compile_growth'], found['sizes']
    yield _timing(f'compile time of the training step, {growth["what"]}', growth['ratio'], origin)
    if 'speed_over_pytorch' in found:
        yield _timing(
            f'training steps per second over eager PyTorch, ResNet-{sizes["depth"]}, batch '
            f'{sizes["batch"]}',
            found['speed_over_pytorch'],
            origin,
        )


def benchmark_kernels(workdir: pathlib.Path) -> Iterator[Row]:
    """What the kernels cost in passes through the network, and beside PyTorch's loop."""
    found, origin = results.read(workdir / 'benchmarks', 'kernels')
    scored, spectrum = found['lesions'].values(), found['spectrum']
    for one, passes in (*((one, 'forward') for one in scored), (spectrum, 'VJP')):
        bound = (f'; over the bound of {one["bound"]:.1f}', f'; {one["over_bound"]:.2f}')
        yield _timing(f'{one["what"]}, {passes} passes', one['passes'], origin, *bound)
    for one in scored:
        if 'pytorch_over_ours' in one:
            yield _timing(
                f"time of PyTorch's loop that skips deleted blocks over ours, {one['what']}",
                one['pytorch_over_ours'],
                origin,
            )
    for kernel, one in found['compile'].items():
        yield _timing(f'compile time of {kernel}, {one["what"]}', one['growth'], origin)


def benchmark_images(workdir: pathlib.Path) -> Iterator[Row]:
    """Images a second beside PyTorch's DataLoader."""
    found, origin = results.read(workdir / 'benchmarks', 'images')
    sizes, what = found['sizes'], {'pytorch': '', 'pytorch_uint8': ', which leaves them uint8 too'}
    for name, words_of in what.items():
        if f'speed_over_{name}' in found:
            yield _timing(
                f'images per second of JPEGs, {sizes["workers"]} workers, crops of '
                f"{sizes['size']}, over PyTorch's DataLoader{words_of}",
                found[f'speed_over_{name}'],
                origin,
            )


def benchmark_pretrained(workdir: pathlib.Path) -> Iterator[Row]:
    """What opening a published network takes, and how compile time grows with its depth."""
    found, origin = results.read(workdir / 'benchmarks', 'pretrained')
    layers = found['sizes']['layers']
    for kind, ratios in found['memory'].items():
        yield row(
            f'host memory while a {kind} of {", ".join(map(str, layers))} layers opens, over its '
            'file',
            '; '.join(words.number(ratios[str(number)]) for number in layers),
            '1 each',
            origin,
        )
    for kind, one in found['compile'].items():
        what = f'a {kind} of {layers[-1]} layers over {layers[0]}'
        yield _timing(
            f'time of the processor that compiles the forward pass, {what}', one['growth'], origin
        )


def benchmark_hooks(workdir: pathlib.Path) -> Iterator[Row]:
    """What lesions of an opened language model cost beside PyTorch, and how the numbers agree."""
    found, origin = results.read(workdir / 'benchmarks', 'hooks')
    sizes, scored = found['sizes'], found['lesions'].values()
    network = (
        f'a GPT-2 of {sizes["layers"]} layers, width {sizes["width"]}, vocabulary '
        f'{sizes["vocabulary"]}, {sizes["sequences"]} x {sizes["length"]} tokens, '
        f'`width={sizes["chunk"]}`, {sizes["cores"]} core{"s" * (sizes["cores"] > 1)}'
    )
    ways = {'hooks': 'hooks', 'skips': 'loop that leaves deleted blocks out'}
    for one in scored:
        for way, said in ways.items():
            yield _timing(
                f"time of PyTorch's {said} over ours, {one['what']} of {network}",
                one[f'{way}_over_ours'],
                origin,
                '; of the processor',
                f'; {words.number(one[f"{way}_processor_over_ours"].median)}',
            )
    worst = max(one[f'{way}_difference'] for one in scored for way in ways)
    yield row(
        f"largest difference of a loss from PyTorch's in these, relative, of {network}",
        f'{worst:.1g}',
        f'{sum(one["masks"] for one in scored):,} masks',
        origin,
    )
    if memory := found['memory']:
        yield row(
            f'peak memory for 2^{memory["many"]} masks over that for 2^{memory["few"]}, the '
            f'process whole, of {network}',
            words.number(memory['growth']),
            '1 each',
            origin,
        )


def benchmark_theory(workdir: pathlib.Path) -> Iterator[Row]:
    """Seconds of the theory's heavy functions."""
    found, origin = results.read(workdir / 'benchmarks', 'theory')
    for one in found['rows']:
        yield _timing(f'{one["name"]}, seconds', one['seconds'], origin)


def _timing(claim: str, spread: timing.Spread, origin, and_claim='', and_number='') -> Row:
    """A row of a timing: its median, its range, and its number of rounds."""
    number, rounds = words.number(spread.median), f'{spread.rounds} rounds'
    if spread.rounds == 1:
        return row(claim + and_claim, number + and_number, '1 round', origin)
    number = f'{number} ({spread.range}){and_number}'
    return row(f'{claim}: median (range){and_claim}', number, rounds, origin)


def theorems(workdir: pathlib.Path) -> Iterator[Row]:
    """How many statements hold, of all that `make theorems` checks."""
    folder = workdir / 'theorems'
    found = _json(folder / 'theorems.json', f'{commands.said("theorems")} --workdir={folder}')
    hold, total = sum(bool(one['holds']) for one in found['rows']), len(found['rows'])
    yield row(
        'statements put to numbers: hold; fail, each as the paper makes it and corrected beside it',
        f'{hold}; {total - hold}',
        '',
        found['provenance'],
    )


def sentence_similarity(workdir: pathlib.Path) -> Iterator[Row]:
    """What sublayers of a sentence encoder are worth."""
    path = workdir / 'similarity' / 'similarity.npz'
    record, origin = records.load(path, similarity.SentenceSimilarity)
    for claim, number in similarity.numbers(record):
        yield row(claim, number, f'{len(record.topics_N)} pairs', origin)


SOURCES = {
    'figure1': figure1,
    'initial-depth': initial_depth,
    'transformer': transformer,
    'cifar': cifar,
    'cifar-over-training': cifar_over_training,
    'cifar-ensemble': ensemble,
    'benchmark-train': benchmark_train,
    'benchmark-kernels': benchmark_kernels,
    'benchmark-theory': benchmark_theory,
    'benchmark-images': benchmark_images,
    'benchmark-pretrained': benchmark_pretrained,
    'benchmark-hooks': benchmark_hooks,
    'theorems': theorems,
    'similarity': sentence_similarity,
}
