"""What deleting blocks costs: one, any two, j at random, or one after the other by least loss."""

import numpy as np
from matplotlib import ticker

from resnet_dyn.plots import style


def singles(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.SingleLesions` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    full_TS = np.stack([record.full_error_S for record in records_T])
    error_TSL = np.stack([record.error_SL for record in records_T])
    fig = style.figure(13.0, 3.6)
    cost, guess, errors = fig.subplots(1, 3, width_ratios=(1.25, 1.0, 1.0))
    style.lines_over_time(cost, steps_T, 100 * (error_TSL - full_TS[..., None]))
    _zero(cost)
    cost.set(title='Error added by deleting one block', xlabel='deleted block')
    cost.set_ylabel('test error minus that of the full net (points)')
    style.time_bar(fig, [cost], steps_T)
    _first_order(guess, records_T[-1])
    curves = (
        ('the most important block deleted', error_TSL.max(-1), style.VERMILION, '--'),
        ('one block deleted, mean over blocks', error_TSL.mean(-1), style.ORANGE, '-'),
        ('full net', full_TS, style.BLUE, '-'),
    )
    for label, error_TS, colour, line in curves:
        style.band(errors, steps_T, 100 * error_TS.T, colour, label, linestyle=line)
    errors.set(title='Over training', xlabel='training step', ylabel='test error (%)')
    errors.set_ylim(0, 1.4 * 100 * error_TSL.max())  # room for the legend above all lines
    style.over_steps(errors, steps_T)
    errors.legend(loc='upper right')
    style.heading(fig, heading)
    style.footnote(fig, note)
    return fig


def pairs(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.PairLesions` records: the last step, mean over nets.

    The error that each pair adds, and how much of it is not the sum of what its blocks add alone.
    """
    record = records_T[-1]
    added_SLL = 100 * (record.error_SLL - record.full_error_S[:, None, None])
    added_LL = added_SLL.mean(0)
    single_L = np.diag(added_LL)
    together_LL = added_LL - single_L[:, None] - single_L[None, :]
    np.fill_diagonal(together_LL, np.nan)
    fig = style.figure(9.4, 4.3)
    total, excess = fig.subplots(1, 2)
    limit = max(1e-9, np.abs(added_LL).max())
    _map(fig, total, added_LL, (min(0, added_LL.min()), limit), 'magma_r', 'points of test error')
    total.set_title('Error added by deleting two blocks')
    extreme = max(1e-9, np.nanmax(np.abs(together_LL))) if len(single_L) > 1 else 1
    _map(fig, excess, together_LL, (-extreme, extreme), 'RdBu_r', 'points beyond the sum')
    excess.set_title('Less what each block adds alone')
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Diagonal on the left: one block. On the right red: the pair costs more than its '
        'blocks alone; blue: less.',
    )
    return fig


def random(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.RandomLesions` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    fig = style.figure(9.5, 3.8)
    panels = fig.subplots(1, 2)
    chance = 100 * records_T[-1].error_SJ[:, -1].mean()
    for axes, name, unit in zip(panels, ('error', 'loss'), (100, 1), strict=True):
        _random_curves(axes, steps_T, records_T, name, unit)
        axes.set(xlabel='deleted blocks')
    errors, losses = panels
    errors.axhline(chance, color=style.GREY, linewidth=0.8, linestyle=':', label='all deleted')
    errors.set(title='Error', ylabel='test error (%)')
    errors.set_ylim(0, None)
    errors.legend(loc='lower right')
    losses.set(title='Loss', ylabel='test loss (nats)', yscale='log')
    style.plain_log_ticks(losses.yaxis)
    style.time_bar(fig, panels, steps_T)
    style.heading(fig, heading)
    style.footnote(fig, f'{note} Bars: ± standard error over the random choices of blocks.')
    return fig


def greedy(records_T, heading: str, note: str):
    """The picture of `analysis.lesion_curves.GreedyLesions` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    error_TSJ = np.stack([record.error_SJ for record in records_T])
    fig = style.figure(10.5, 3.8)
    errors, order = fig.subplots(1, 2, width_ratios=(1.2, 1.0))
    style.lines_over_time(errors, steps_T, 100 * error_TSJ)
    errors.set(title='Always the block missed least', xlabel='deleted blocks')
    errors.set_ylabel('test error (%)')
    errors.set_ylim(0, None)
    style.time_bar(fig, [errors], steps_T)
    _deletion_order(order, records_T[-1])
    style.heading(fig, heading)
    style.footnote(fig, f'{note} The choice is by the loss on the examples that are scored.')
    return fig


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
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.25 * (high - low))
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))
    axes.legend(loc='upper right')


def _random_curves(axes, steps_T, records_T, name, unit):
    """A line a step, the last with its standard errors and, of several networks, their spread."""
    colours_T, _ = style.time_colours(steps_T)
    for colour, record in zip(colours_T[:-1], records_T[:-1], strict=True):
        mean_J, _ = style.over_seeds(unit * getattr(record, f'{name}_SJ'))
        axes.plot(record.deleted_J, mean_J, color=colour, linewidth=1.2, alpha=0.6)
    last = records_T[-1]
    values_SJ = unit * getattr(last, f'{name}_SJ')
    bars_SJ = np.nan_to_num(unit * getattr(last, f'{name}_se_SJ'))  # one draw has no error
    bars_J = np.sqrt((bars_SJ**2).sum(0)) / len(bars_SJ)
    style.band(axes, last.deleted_J, values_SJ, colours_T[-1], linewidth=2.0)
    axes.errorbar(
        last.deleted_J,
        values_SJ.mean(0),
        bars_J,
        fmt='o',
        color=colours_T[-1],
        markersize=3,
        capsize=2,
        linewidth=1,
    )
    axes.xaxis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))


def _deletion_order(axes, record):
    """When each block goes, of all networks at the last step: early ones are spare."""
    place_SL = 1 + np.argsort(record.deleted_SL, axis=1)
    L = place_SL.shape[1]
    blocks_L = np.arange(L)
    for place_L in place_SL:
        axes.plot(blocks_L, place_L, 'o', color=style.BLUE, alpha=0.35, markersize=4, mew=0)
    axes.plot(blocks_L, place_SL.mean(0), '_', color=style.VERMILION, markersize=9, mew=2)
    axes.set(title=f'When each block goes, step {int(record.step):,}', xlabel='block')
    axes.set(ylabel='turn in which it is deleted', ylim=(L + 0.6, 0.4))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))


def _map(fig, axes, values_LL, limits, colours, label):
    """A square of blocks by blocks with its colour bar."""
    L = len(values_LL)
    image = axes.imshow(values_LL, cmap=colours, vmin=limits[0], vmax=limits[1], origin='lower')
    bar = fig.colorbar(image, ax=axes, pad=0.02, aspect=25, label=label)
    bar.outline.set_visible(False)
    axes.set(xlabel='deleted block', ylabel='other deleted block')
    axes.spines[:].set_visible(False)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(ticker.MaxNLocator(nbins=10, integer=True))
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
