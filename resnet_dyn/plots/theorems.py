"""Pictures of the theorems: Kac-Rice against counts, finite sizes against eq 31, descents.

Each function draws one record of `experiments.theorems`.
"""

import numpy as np
from matplotlib import ticker

from resnet_dyn.plots import legends, scales, style

COLOURS = (style.GREY, style.BLUE, style.VERMILION, style.GREEN)
MARKERS = ('s', 'o', '^', 'D')
FIRST_ENERGY = -0.9  # the fall from 0 to here is left out of the picture


@style.styled
def draw_counts(record):
    """A `Counts` record: totals against Lambda, by index at the largest, and all deviations."""
    fig = style.figure(11.5, 4.4)
    totals, by_index, deviations = fig.subplots(1, 3, width_ratios=(1.15, 1.15, 1.0))
    for mixture, look in enumerate(_looks(record.mixtures_M)):
        _totals(totals, record, mixture, look)
        _by_index(by_index, record, mixture, look)
    last = int(record.sizes_N[-1])
    totals.set(title='Critical points, all indices', xlabel='Λ', ylabel='mean number')
    totals.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    highest_MN = record.mean_MN + record.error_MN
    scales.logarithmic(totals.yaxis, record.exact_MN, record.mean_MN, highest_MN)
    by_index.set(
        title=f'By index, Λ = {last}',
        xlabel='index k: negative eigenvalues of the Hessian',
        ylabel='mean number',
    )
    by_index.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    by_index.set_ylim(bottom=0)
    _deviations(deviations, record)
    samples = ', '.join(
        f'{n} at Λ = {size}' for n, size in zip(record.samples_N, record.sizes_N, strict=True)
    )
    searches = int(record.samples_N.sum() * len(record.mixtures_M))
    legends.above(fig)
    style.heading(fig, 'Critical points of the spin glass: Newton search against Kac–Rice')
    style.footnote(
        fig,
        'Lines: Kac–Rice, exact; points: search, ±1 standard error. '
        f'Spin glasses of each mixture: {samples}; seeds from {record.seed}. Searches with the '
        'Euler characteristic of the sphere and no point met only once: '
        f'{searches - record.incomplete_MN.sum()} of {searches}. Pure 2 has exactly 2 critical '
        'points of each index in every sample, so it has no deviations.',
    )
    return fig


@style.styled
def draw_finite_sizes(record):
    """A `FiniteSizes` record: the exponents against 1/sqrt(Lambda), and what theory leaves."""
    fig = style.figure(9.5, 4.4)
    rates, left = fig.subplots(1, 2, width_ratios=(1.25, 1.0))
    x_N = 1 / np.sqrt(record.sizes_N)
    line = np.linspace(0, x_N.max() * 1.04, 50)
    for mixture, (name, colour, marker) in enumerate(_looks(record.mixtures_M, 1)):
        theta, slope = record.theta_M[mixture], record.correction_M[mixture]
        rates_N = record.rates_MN[mixture]
        rates.plot(x_N, rates_N, marker, color=colour, markersize=4, label=name)
        rates.plot(line, theta + slope * line, '--', color=colour, linewidth=1)
        rates.plot(0, theta, '*', color=colour, markersize=11, clip_on=False, zorder=5)
        gaps_N = rates_N - theta
        left.plot(record.sizes_N, gaps_N, marker + '-', color=colour, markersize=4, linewidth=1)
        left.plot(
            record.sizes_N,
            np.abs(gaps_N - slope * x_N),
            marker + ':',
            color=colour,
            markersize=4,
            markerfacecolor='white',
            linewidth=1,
        )
    rates.set(
        title='Exponent of the number of minima',
        xlabel='1/√Λ',
        ylabel='(1/Λ) log E Crt₀',
        xlim=(0, line[-1]),
    )
    left.set(
        title='Distance from the limit',
        xlabel='Λ',
        ylabel='distance',
    )
    scales.logarithmic(left.xaxis, record.sizes_N)
    gaps_MN = record.rates_MN - record.theta_M[:, None]
    scales.logarithmic(left.yaxis, gaps_MN, np.abs(gaps_MN - record.correction_M[:, None] * x_N))
    left.plot([], [], '-', color=style.INK, linewidth=1, label='to θ₀')
    left.plot([], [], ':', color=style.INK, linewidth=1, label='to the dashed line (absolute)')
    legends.above(fig)
    style.heading(fig, 'Why small spin glasses do not show eq 31: the approach goes like 1/√Λ')
    style.footnote(
        fig,
        f'Exact mean numbers of critical points of index 0 by Kac–Rice, Λ = {record.sizes_N[0]} '
        f'to {record.sizes_N[-1]}; no sampling. The correction is the left tail of the '
        'Tracy–Widom law. Points: Kac–Rice; stars: θ₀ (eq 31); dashed: θ₀ + (4√2/3) κ$^{3/2}$/√Λ.',
    )
    return fig


@style.styled
def draw_descents(record):
    """A `Descents` record: beta and the mixture, energies and thresholds, gaps at the end."""
    fig = style.figure(12.0, 4.5)
    depth, energy, gap = fig.subplots(1, 3, width_ratios=(1.0, 1.35, 1.0))
    steps_T, last = record.steps_T, int(record.sizes_N[-1])
    for protocol, (name, colour, marker) in enumerate(_looks(record.protocols_P)):
        lengths_ST = record.mean_lengths_NPST[-1, protocol]
        style.band(depth, steps_T, lengths_ST, colour, label=name)
        style.band(energy, steps_T, record.energies_NPST[-1, protocol], colour, label=name)
        threshold_T = -record.thresholds_NPST[-1, protocol].mean(0)
        energy.plot(steps_T, threshold_T, '--', color=colour, linewidth=1.2)
        ends_NS = (record.energies_NPST + record.thresholds_NPST)[:, protocol, :, -1]
        mean_N, std_N = style.over_seeds(ends_NS.T)
        error_N = std_N / np.sqrt(ends_NS.shape[1])
        shifted = record.sizes_N * (1 + 0.03 * (protocol - 1))
        gap.errorbar(shifted, mean_N, error_N, fmt=marker, color=colour, markersize=4, label=name)
    gap.plot(
        record.sizes_N,
        record.edges_N,
        '-',
        color=style.INK,
        linewidth=1,
        label='pure 2: edge of GOE(Λ)',
    )
    depth.set(title='Depth of the mixture', xlabel='step', ylabel='E[r] under ε²')
    energy.set(title=f'Energy, Λ = {last}', xlabel='step', ylabel='H/Λ (starts at 0)')
    energy.plot([], [], '--', color=style.INK, linewidth=1.2, label='−E$_{th}$ of the mixture then')
    energy.set_ylim(top=FIRST_ENERGY)
    gap.set(title='At the end', xlabel='Λ', ylabel='H/Λ + E$_{th}$', xscale='log')
    gap.set_ylim(bottom=min(0, gap.dataLim.y0))
    gap.xaxis.set_major_locator(ticker.FixedLocator(record.sizes_N))
    gap.xaxis.set_major_formatter(ticker.ScalarFormatter())
    gap.xaxis.set_minor_locator(ticker.NullLocator())
    for axes in (depth, energy):
        scales.count_steps(axes.xaxis)
    legends.above(fig)
    seeds = record.energies_NPST.shape[2]
    betas = record.betas_NPST
    style.heading(fig, 'Descent while the mixture deepens with C, against the threshold energy')
    style.footnote(
        fig,
        f'p = {record.p}, r = 2..{record.p}; β from {betas.min():.3g} to {betas.max():.3g}, '
        f'proportional to C; n = {seeds} spin glasses (seeds {record.seed}..'
        f'{record.seed + seeds - 1}), same tensors and starts for the three protocols; float32. '
        'Bands: ±1 standard deviation over seeds; bars at the end: ±1 standard error.',
    )
    return fig


def _looks(names, first=0):
    """(name, colour, marker) of each; the same mixture looks the same in every picture."""
    return [(str(name), COLOURS[first + i], MARKERS[first + i]) for i, name in enumerate(names)]


def _totals(axes, record, mixture, look):
    name, colour, marker = look
    axes.plot(record.sizes_N, record.exact_MN[mixture], '-', color=colour, linewidth=1)
    axes.errorbar(
        record.sizes_N,
        record.mean_MN[mixture],
        record.error_MN[mixture],
        fmt=marker,
        color=colour,
        markersize=4,
        capsize=2,
        label=name,
    )


def _by_index(axes, record, mixture, look):
    _, colour, marker = look
    exact_K = record.index_exact_MNK[mixture, -1]
    indices_K = np.arange(exact_K.size)
    axes.plot(indices_K, exact_K, '-', color=colour, linewidth=1)
    axes.errorbar(
        indices_K,
        record.index_mean_MNK[mixture, -1],
        record.index_error_MNK[mixture, -1],
        fmt=marker,
        color=colour,
        markersize=4,
        capsize=2,
    )


def _deviations(axes, record):
    """(search - exact) / standard error of every mean that varies, against the normal law."""
    for mixture, (_, colour, marker) in enumerate(_looks(record.mixtures_M)):
        off_NK = record.index_mean_MNK[mixture] - record.index_exact_MNK[mixture]
        error_NK = record.index_error_MNK[mixture]
        for size, off_K, error_K in zip(record.sizes_N, off_NK, error_NK, strict=True):
            varies = error_K > 0
            x = size + 0.16 * (mixture - 2) + np.zeros(varies.sum())
            axes.plot(x, off_K[varies] / error_K[varies], marker, color=colour, markersize=3.5)
    for level in (-2, 2):
        axes.axhline(level, color=style.GREY, linewidth=0.8, linestyle=':')
    axes.axhline(0, color=style.INK, linewidth=0.8)
    axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    limit = max(3.2, *np.abs(axes.get_ylim()))
    axes.set(
        title='Deviations, every index',
        xlabel='Λ',
        ylabel='(search − exact)/standard error',
        ylim=(-limit, limit),
    )
