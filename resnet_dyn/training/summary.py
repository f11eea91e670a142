"""What a run says at its beginning and at its end, for people.

Whether the mean of the test loss is that of most examples is seen by the median beside it: one
example that goes through a unit of almost no running variance can carry all of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from resnet_dyn import config
from resnet_dyn.data import datasets
from resnet_dyn.training import (
    checkpoints,
    divergence,
    optimizer,
    progress,
    runs,
    totals,
)

PART, SMALL = 3.0, 0.1  # mean and median part where mean > PART median + SMALL


def opening(
    run: runs.Run, dataset: datasets.Dataset, values: int, restored: int | None, where: str
) -> str:
    """Which networks, of how many trainable `values`, on which data, for how long, `where`."""
    cfg = run.config
    shape = ' x '.join(map(str, dataset.train.inputs.shape[1:]))
    each = ' each' if cfg.seeds > 1 else ''
    what = f'{cfg.seeds} network{"s" if cfg.seeds > 1 else ""} ({cfg.model.family}, '
    what += f'depth {cfg.model.depth}, {cfg.model.block}, norm {cfg.model.norm}; '
    what += f'{values:,} parameters{each})'
    start = 'from step 0' if restored is None else f'restored at step {restored}'
    if not run.total_steps:
        start = 'nothing is trained, step 0 is saved and evaluated'
    return (
        f'{what} on {named(dataset.source._asdict())}, inputs of {shape}, {dataset.classes} '
        f'classes, {len(dataset.train.labels)} training and {len(dataset.test.labels)} test '
        f'examples; {run.total_steps} steps of {cfg.train.batch_size}, {start}; {where}, '
        f'{cfg.train.seed_axis}; in {run.workdir}'
    )


def extension(run: runs.Run, step: int) -> str:
    """What it means that a run which goes on at `step` was made longer; '' where it means nothing.

    The rate is a function of the share of the run: it jumps, but for a constant one.
    """
    before, train = run.stored, run.config.train
    if before is None or before.total_steps == run.total_steps or train.schedule == 'constant':
        return ''
    rates = [
        float(optimizer.learning_rate(train, total)(step))
        for total in (before.total_steps, run.total_steps)
    ]
    return (
        f'WARNING: this run was planned for {before.total_steps} steps and now for '
        f'{run.total_steps}: its schedule, {train.schedule}, changes the rate at step {step} from '
        f'{rates[0]:.3g} to {rates[1]:.3g}, so it will differ from a straight run of '
        f'{run.total_steps} steps. Both plans are kept in config.json, in `segments`'
    )


def stopped(step: int, total: int) -> str:
    """How a run stands that was told to stop."""
    return f'stopped at step {step} of {total}, all saved: start again to go on'


def closing(
    run: runs.Run | runs.Start,
    source: Mapping[str, str],
    lines: Sequence[Mapping[str, Any]],
    diverged: Mapping[int, int],
) -> Iterator[str]:
    """How a run at its end stands, by the `lines` of its metrics and its `diverged_networks`."""
    last, networks = lines[-1], run.config.seeds
    yield from _parted(run, last['step'], last)
    speed = [line['images_per_second'] for line in lines if 'images_per_second' in line]
    examples = datasets.examples_of(run.config.data.name)
    rate = f'; {np.median(speed):.0f} {examples}/s' if speed else ''
    yield (
        f'test accuracy {progress.over_seeds(last["test_accuracy"])} on {named(source)} after '
        f'step {last["step"]}{rate}; {runs.METRICS}, {runs.DYNAMICS} and checkpoints are in '
        f'{run.workdir}'
    )
    if diverged:
        names = (f'{divergence.name(run, s)} diverged at step {at}' for s, at in diverged.items())
        yield f'{networks - len(diverged)} of {networks} networks finished; {"; ".join(names)}'


def diverged_networks(workdir, step: int) -> dict[int, int]:
    """The step at which each network diverged that had done so at a checkpoint, by its index."""
    _, _, meta = checkpoints.restore(workdir, step, only=())
    at_S = totals.diverged_at(meta)
    return {s: at for s, at in enumerate(at_S) if at is not None}


def narrowest_unit(batch_stats: Mapping[str, Any], s: int) -> str:
    """The unit of the least running variance, or mean square, of network s over all its norms."""
    found = []
    for path, leaf in jax.tree.leaves_with_path(batch_stats):
        *parents, statistic = (key.key for key in path)
        if statistic not in ('variance', 'mean_square'):
            continue
        values = np.asarray(leaf[s])
        *block, channel = np.unravel_index(values.argmin(), values.shape)
        stage, *rest = parents
        where = [stage, *(f'block {l}' for l in block), *rest, f'channel {channel}']
        found.append((' '.join(where), statistic.replace('_', ' '), float(values.min())))
    where, statistic, value = min(found, key=lambda unit: unit[2])
    return f'{where} (running {statistic} {value:.2g})'


def named(source: Mapping[str, str]) -> str:
    """A data set with what must be said of it."""
    return f'{source["name"]} ({source["note"]})' if source['note'] else source['name']


def _parted(run: runs.Run | runs.Start, step: int, line: Mapping[str, Any]) -> Iterator[str]:
    """A line where the mean of the test loss is not that of most examples; of the worst network."""
    if 'test_loss_median' not in line:  # a run of an earlier version
        return
    mean_S, median_S = (np.array(line[key], float) for key in ('test_loss', 'test_loss_median'))
    parted_S = mean_S > PART * median_S + SMALL  # False for NaN
    if not parted_S.any():
        return
    s = int(np.nanargmax(np.where(parted_S, mean_S - median_S, np.nan)))
    text = (
        f'test loss: mean {mean_S[s]:.4g}, median {median_S[s]:.4g} (network {s}): a few examples '
        'carry it'
    )
    if config.has_statistics(run.config.model):
        _, variables, _ = checkpoints.restore(run.workdir, step, only='batch_stats')
        text += f'; the narrowest unit is {narrowest_unit(variables["batch_stats"], s)}'
    yield text
