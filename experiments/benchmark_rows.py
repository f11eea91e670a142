"""The rows of the README's table that are of speed and memory, a function a benchmark.

What a benchmark wrote is read by `benchmarks.results`: a UserError where it is not there, or of
another version.
"""

import pathlib
from collections.abc import Iterator

from experiments import words
from experiments.benchmarks import results, timing


def train(workdir: pathlib.Path) -> Iterator[words.Row]:
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


def kernels(workdir: pathlib.Path) -> Iterator[words.Row]:
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


def images(workdir: pathlib.Path) -> Iterator[words.Row]:
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


def pretrained(workdir: pathlib.Path) -> Iterator[words.Row]:
    """What opening a published network takes, and how compile time grows with its depth."""
    found, origin = results.read(workdir / 'benchmarks', 'pretrained')
    layers = found['sizes']['layers']
    for kind, ratios in found['memory'].items():
        yield words.row(
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


def hooks(workdir: pathlib.Path) -> Iterator[words.Row]:
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
    yield words.row(
        f"largest difference of a loss from PyTorch's in these, relative, of {network}",
        f'{worst:.1g}',
        f'{sum(one["masks"] for one in scored):,} masks',
        origin,
    )
    if memory := found['memory']:
        yield words.row(
            f'peak memory for 2^{memory["many"]} masks over that for 2^{memory["few"]}, the '
            f'process whole, of {network}',
            words.number(memory['growth']),
            '1 each',
            origin,
        )


def theory(workdir: pathlib.Path) -> Iterator[words.Row]:
    """Seconds of the theory's heavy functions."""
    found, origin = results.read(workdir / 'benchmarks', 'theory')
    for one in found['rows']:
        yield _timing(f'{one["name"]}, seconds', one['seconds'], origin)


SOURCES = {
    'benchmark-train': train,
    'benchmark-kernels': kernels,
    'benchmark-theory': theory,
    'benchmark-images': images,
    'benchmark-pretrained': pretrained,
    'benchmark-hooks': hooks,
}


def _timing(claim: str, spread: timing.Spread, origin, and_claim='', and_number='') -> words.Row:
    """A row of a timing: its median, its range, and its number of rounds."""
    number, rounds = words.number(spread.median), f'{spread.rounds} rounds'
    if spread.rounds == 1:
        return words.row(claim + and_claim, number + and_number, '1 round', origin)
    number = f'{number} ({spread.range}){and_number}'
    return words.row(f'{claim}: median (range){and_claim}', number, rounds, origin)
