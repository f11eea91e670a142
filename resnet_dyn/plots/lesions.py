"""What deleting blocks costs: one, any two, j at random, or one after the other by least loss."""

import numpy as np

from resnet_dyn.plots import scales, style


@style.picture()
def singles(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.SingleLesions` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    full_TS = 100 * np.stack([record.full_error_S for record in records_T])
    error_TSL = 100 * np.stack([record.error_SL for record in records_T])
    fig = style.figure(13.0, 4.0)
    cost, guess, errors = fig.subplots(1, 3, width_ratios=(1.25, 1.0, 1.0))
    style.lines_over_time(cost, steps_T, error_TSL - full_TS[..., None])
    _zero(cost)
    cost.set(title='Error added by deleting one block', xlabel='deleted block')
    cost.set_ylabel('test error minus that of the full net (points)')
    style.time_bar(fig, [cost], steps_T)
    _first_order(guess, records_T[-1])
    mean_TS, _ = style.over_seeds(np.moveaxis(error_TSL, -1, 0))
    curves = (
        ('the most important block deleted', np.fmax.reduce(error_TSL, -1), style.VERMILION, '--'),
        ('one block deleted, mean over blocks', mean_TS, style.ORANGE, '-'),
        ('full net', full_TS, style.BLUE, '-'),
    )
    for label, error_TS, colour, line in curves:
        style.band(errors, steps_T, error_TS.T, colour, label, style.PERCENT, linestyle=line)
    errors.set(title='Over training', ylabel='test error (%)')
    scales.errors(errors)
    scales.over_steps(errors, steps_T)
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig


@style.picture()
def pairs(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.PairLesions` records: the last step, mean over nets.

    The error that each pair adds, and how much of it is not the sum of what its blocks add alone.
    """
    record = records_T[-1]
    added_SLL = 100 * (record.error_SLL - record.full_error_S[:, None, None])
    added_LL, _ = style.over_seeds(added_SLL)
    single_L = np.diag(added_LL)
    together_LL = added_LL - single_L[:, None] - single_L[None, :]
    np.fill_diagonal(together_LL, np.nan)
    fig = style.figure(9.4, 4.3)
    total, excess = fig.subplots(1, 2)
    lowest = min(scales.finite(added_LL), default=0.0)
    limits = min(0.0, lowest), _extreme(added_LL)
    _map(fig, total, added_LL, limits, 'magma_r', 'points of test error')
    total.set_title(f'Error added by deleting two blocks, step {int(record.step):,}')
    extreme = _extreme(together_LL)
    _map(fig, excess, together_LL, (-extreme, extreme), 'RdBu_r', 'points beyond the sum')
    excess.set_title('Less what each block adds alone')
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Diagonal on the left: one block. On the right red: the pair costs more than its '
        'blocks alone; blue: less.',
    )
    return fig


@style.picture()
def random(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.RandomLesions` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    fig = style.figure(9.5, 4.1)
    panels = errors, losses = fig.subplots(1, 2)
    _random_curves(errors, steps_T, records_T, 'error', 100)
    all_deleted, _ = over_masks(100 * records_T[-1].error_SJM[:, -1:])
    look = {'color': style.GREY, 'linewidth': 0.8, 'linestyle': ':', 'label': 'all deleted'}
    errors.axhline(all_deleted.item(), **look)
    errors.set(title='Error', ylabel='test error (%)')
    scales.errors(errors)
    _random_curves(losses, steps_T, records_T, 'loss', 1)
    losses.set(title='Loss', ylabel='test loss (nats)')
    style.time_bar(fig, panels, steps_T)
    style.heading(fig, heading)
    M = records_T[-1].error_SJM.shape[-1]
    bars = 'Bars: ± standard error of the mean over networks, over' if M > 1 else 'No bars: from'
    choices = f'{M} random choices' if M > 1 else '1 random choice'
    style.footnote(
        fig, f'{note} {bars} {choices} of each number of blocks, the same for all networks.'
    )
    return fig


@style.picture()
def greedy(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.GreedyLesions` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    error_TSJ = 100 * np.stack([record.error_SJ for record in records_T])
    fig = style.figure(10.5, 4.1)
    errors, order = fig.subplots(1, 2, width_ratios=(1.2, 1.0))
    style.lines_over_time(errors, steps_T, error_TSJ, bounds=style.PERCENT)
    errors.set(title='Always the block missed least', xlabel='deleted blocks')
    errors.set_ylabel('test error (%)')
    scales.errors(errors)
    style.time_bar(fig, [errors], steps_T)
    _deletion_order(order, records_T[-1])
    style.heading(fig, heading)
    style.footnote(fig, f'{note} The choice is by the loss on the examples that are scored.')
    return fig


def over_masks(values_SJM) -> tuple[np.ndarray, np.ndarray]:
    """The mean over networks and masks (J,), and its standard error over the masks.

    The networks share their masks, so each mask is averaged over networks first; one mask alone
    has no error: NaN.
    """
    of_masks_MJ = style.over_seeds(values_SJM)[0].T
    mean_J, std_J = style.over_seeds(of_masks_MJ)
    M_J = np.isfinite(of_masks_MJ).sum(0)
    return mean_J, np.where(M_J > 1, std_J / np.sqrt(np.maximum(M_J, 1)), np.nan)


def _first_order(axes, record):
    """The loss that each block's deletion adds at the last step, and its guess by a gradient."""
    blocks_L = np.arange(record.loss_SL.shape[1])
    true_SL = record.loss_SL - record.full_loss_S[:, None]
    marks = {'markersize': 3} if len(blocks_L) <= 30 else {'markersize': 0}
    style.band(axes, blocks_L, true_SL, style.BLUE, 'block deleted', marker='o', **marks)
    style.band(
        axes,
        blocks_L,
        record.first_order_SL,
        style.VERMILION,
        'first order, −∂loss/∂gate',
        marker='s',
        linestyle='--',
        **marks,
    )
    _zero(axes)
    axes.set(title=f'Loss added, step {int(record.step):,}', xlabel='deleted block')
    axes.set_ylabel('test loss minus that of the full net (nats)')
    scales.whole_numbers(axes.xaxis)


def _random_curves(axes, steps_T, records_T, name, unit):
    """A line a step, the last with its standard errors and, of several networks, their spread."""
    values_TSJM = unit * np.stack([getattr(record, f'{name}_SJM') for record in records_T])
    mean_TSJ, _ = style.over_seeds(np.moveaxis(values_TSJM, -1, 0))
    deleted_J, is_error = records_T[-1].deleted_J, name == 'error'
    mean_J, error_J = over_masks(values_TSJM[-1])
    bounds = style.PERCENT if is_error else style.UNBOUNDED
    look = {'log': not is_error, 'bounds': bounds, 'beside': mean_J + error_J}
    style.lines_over_time(axes, steps_T, mean_TSJ, deleted_J, **look)
    if not is_error:
        bounds = axes.get_ylim()
    low_J, high_J = (np.clip(mean_J + sign * error_J, *bounds) for sign in (-1, 1))
    axes.errorbar(
        deleted_J,
        mean_J,
        (mean_J - low_J, high_J - mean_J),
        fmt='none',
        color=style.time_colours(steps_T)[0][-1],
        capsize=2,
        linewidth=1,
        label='± standard error' if np.isfinite(error_J).any() else None,
    )
    axes.set_xlabel('deleted blocks')


def _deletion_order(axes, record):
    """When each block goes, of all networks at the last step: early ones are spare."""
    lost_S = np.isnan(record.deleted_SL).any(1)
    place_SL = np.where(lost_S[:, None], np.nan, 1.0 + np.argsort(record.deleted_SL, axis=1))
    L = place_SL.shape[1]
    blocks_L = np.arange(L)
    dot = {'color': style.BLUE, 'alpha': 0.35, 'markersize': 4, 'mew': 0}
    for s, place_L in enumerate(place_SL):
        axes.plot(blocks_L, place_L, 'o', label=None if s else 'one network', **dot)
    if len(place_SL) > 1:
        dash = {'color': style.VERMILION, 'markersize': 9, 'mew': 2}
        axes.plot(blocks_L, style.over_seeds(place_SL)[0], '_', label='mean over networks', **dash)
    axes.set(title=f'When each block goes, step {int(record.step):,}', xlabel='block')
    axes.set(ylabel='turn in which it is deleted', ylim=(L + 0.6, 0.4))
    for axis in (axes.xaxis, axes.yaxis):
        scales.whole_numbers(axis)


def _extreme(values) -> float:
    """The largest absolute value, 1 where all are 0."""
    return max(np.abs(scales.finite(values)), default=0.0) or 1.0


def _map(fig, axes, values_LL, limits, colours, label):
    """A square of blocks by blocks with its colour bar."""
    L = len(values_LL)
    image = scales.square(fig, axes, values_LL, label, limits, colours, aspect=25)
    axes.set(xlabel='deleted block', ylabel='other deleted block')
    if L <= 12:
        _write_numbers(axes, values_LL, image)


def _write_numbers(axes, values_LL, image):
    for (i, j), value in np.ndenumerate(values_LL):
        if np.isfinite(value):
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.2126 * red + 0.7152 * green + 0.0722 * blue < 0.5
            colour = 'white' if dark else style.INK
            text = f'{value:.0f}'.replace('-0', '0').replace('-', '−')
            axes.text(j, i, text, ha='center', va='center', color=colour, size=7)


def _zero(axes):
    axes.axhline(0, color=style.GREY, linewidth=0.8, linestyle=':')
