"""Figure 1 of Littwin & Wolf (2016), every panel under what the paper claims and what is found.

(a-c) eps_r of three beta (eq 16); (d) gamma by layer as the training goes on, and over time;
(e) the norm of the weights without normalisation; (f) theta_k against beta (eq 31). `captions`
puts claims and findings into words, with numbers computed from the record: the words in the
picture are the words that are printed. A seed that is not finite at the end of its run counts
nowhere, and the picture says so.
"""

import textwrap
from typing import NamedTuple

import numpy as np

from resnet_dyn.plots import legends, scales, style

SHOWN = (0.0, 0.02, 0.06, 0.25, 0.5, 0.75, 1.0)  # parts of the run after which (d) is drawn
OVER_TIME = 'd, over time'
LINE = 11.0  # points from line to line of a caption


class Caption(NamedTuple):
    """The title of a panel, what the paper says of it, and what the record says."""

    title: str
    claim: str
    finding: str


@style.styled
def draw(record):
    """The picture of an `experiments.figure1.Figure1` record."""
    texts, left_out, seeds = captions(record), _left_out(record), len(record.gamma_end_S)
    record = _of_finite_seeds(record)
    fig = style.figure(13.0, 8.9)
    top, bottom = fig.subfigures(2, 1, height_ratios=(1.0, 1.25))
    theory = top.subplots(1, 3, sharey=True)
    trained = bottom.subplots(1, 4, width_ratios=(1.4, 1.0, 1.0, 1.0))
    for setting, axes in enumerate(theory):
        _weights(axes, record, setting)
    _gammas_by_layer(trained[0], record)
    _gammas_over_time(trained[1], record)
    _weight_norms(trained[2], record)
    _critical_points(trained[3], record)
    _write_captions(theory, [texts[letter] for letter in 'abc'], (64, 64, 64))
    letters = ('d', OVER_TIME, 'e', 'f')
    _write_captions(trained, [texts[letter] for letter in letters], (54, 42, 42, 38))
    _write_around(fig, record, seeds, left_out)
    return fig


def captions(record) -> dict[str, Caption]:
    """Titles, the claims of the paper, and the findings in numbers, by panel."""
    record = _of_finite_seeds(record)
    settings = zip('abc', record.betas_N, record.eps_NR, strict=True)
    texts = {letter: _weights_caption(letter, beta, eps_R) for letter, beta, eps_R in settings}
    texts['d'], texts[OVER_TIME] = _gamma_captions(record)
    texts['e'] = _norm_caption(record)
    texts['f'] = _complexity_caption(record)
    return texts


def _weights_caption(letter, beta, eps_R):
    p = len(eps_R)
    lengths_R = np.arange(1, p + 1)
    mean = (eps_R**2 * lengths_R).sum()
    std = (eps_R**2 * (lengths_R - mean) ** 2).sum() ** 0.5
    return Caption(
        f'({letter})  Weight of the paths by length, β = {beta:g}',
        f'concentrated at r ≈ pβ/(1+β) = {p * beta / (1 + beta):.1f}  (Theorems 1, 2)',
        f'largest at r = {eps_R.argmax() + 1} of {p}; r = {mean:.1f} ± {std:.1f} under ε²',
    )


def _gamma_captions(record):
    start_S, early_S, end_S = record.gamma_start_S, record.gamma_early_S, record.gamma_end_S
    start, early, end = (style.over_seeds(values_S)[0] for values_S in (start_S, early_S, end_S))
    seeds, depth = len(end_S), record.gammas_STP.shape[-1]
    depths_T, _ = style.over_seeds(record.mean_depths_ST)
    quarter = np.abs(record.gamma_steps_T - 0.25 * record.gamma_steps_T[-1]).argmin()
    by_layer = (
        f'{start:.2f} → {early:.2f} at a quarter of the run → {end:.2f} at its end '
        f'(layers 2–{depth}); falls first in {(early_S < start_S).sum()} of {seeds} seeds'
    )
    over_time = (
        f'layers 2–{depth} rise after the quarter in {(end_S > early_S).sum()} of {seeds} seeds, '
        f'above the start in {(end_S > start_S).sum()}; E[r] {depths_T[0]:.2f} → '
        f'{depths_T[quarter]:.2f} → {depths_T[-1]:.2f}'
    )
    return (
        Caption(
            f'(d)  Scales γ of the norms by layer, p = {depth}',
            'γ is larger the later in training (Thm 3)',
            by_layer,
        ),
        Caption('(d)  The same over time', 'γ grows, the ensemble deepens', over_time),
    )


def _norm_caption(record):
    findings = []
    for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True):
        mean, std = style.over_seeds(_growth(norms_ST)[:, -1])
        grown, seeds = (norms_ST[:, -1] > norms_ST[:, 0]).sum(), _finite(norms_ST[:, -1]).sum()
        findings.append(
            f'{mean:+.1f}{f" ± {std:.1f}" if seeds > 1 else ""} % at rate {rate:g} '
            f'(up in {grown} of {seeds} seeds)'
            if seeds
            else f'no seed is finite at rate {rate:g}'
        )
    return Caption(
        '(e)  Weights without normalisation',
        'the norm grows in training (Thm 4)',
        '; '.join(findings).replace('-', '−'),
    )


def _complexity_caption(record):
    ends = record.betas_N[[0, -1]]
    low, high = np.interp(ends, record.theta_betas_N, record.thetas_N)
    return Caption(
        f'(f)  Critical points, p = {record.theta_p}',
        'more of them as β grows (eq 31)',
        f'θ rises, {low:.3f} at β = {ends[0]:g} to {high:.3f} at β = {ends[1]:g}; sum over r '
        'from 2',
    )


def _write_captions(row, texts, widths):
    """Title, claim, finding and legend of each panel of a row, from the top down, on one level."""
    key = max(map(legends.place, row))
    wrapped = [
        (
            textwrap.wrap(f'Paper: {text.claim}', width),
            textwrap.wrap(f'Here: {text.finding}', width),
        )
        for text, width in zip(texts, widths, strict=True)
    ]
    claim_lines, finding_lines = (max(map(len, part)) for part in zip(*wrapped, strict=True))
    for axes, text, (claim, finding) in zip(row, texts, wrapped, strict=True):
        height = key + LINE * (claim_lines + finding_lines) + 4
        axes.set_title(text.title, pad=height + 5)
        _write_above(axes, claim, height, style.VERMILION)
        _write_above(axes, finding, height - LINE * claim_lines, style.BLUE)


def _write_above(axes, lines, height, colour):
    axes.annotate(
        '\n'.join(lines),
        (0, 1),
        (0, height),
        xycoords='axes fraction',
        textcoords='offset points',
        va='top',
        linespacing=1.25,
        color=colour,
    )


def _write_around(fig, record, seeds, left_out):
    style.heading(fig, 'Figure 1 of Littwin & Wolf (2016), computed anew', 13)
    style.footnote(
        fig,
        f'(d) {record.gamma_setting}. (e) {record.norm_setting}. {seeds} seeds: thin lines; bands '
        'are mean ± standard deviation over seeds. |γ|: mean over the channels of a layer. E[r]: '
        f'incoherent law of the measured power gains of the blocks.{left_out}',
    )
    if record.fast:
        fig.text(
            0.99,
            0.988,
            f'FAST: only {seeds} seeds, {record.gamma_steps_T[-1]:,} steps',
            ha='right',
            va='top',
            fontsize=11,
            weight='bold',
            color='white',
            bbox={'facecolor': style.VERMILION, 'edgecolor': 'none', 'pad': 3},
        )


def _left_out(record) -> str:
    """A sentence for each training in which a seed is not finite at the end."""
    runs = [('(d)', record.gammas_STP[:, -1, 1:])]
    runs += [
        (f'(e) at rate {rate:g}', norms_ST[:, -1])
        for rate, norms_ST in zip(record.norm_rates_N, record.weight_norms_NST, strict=True)
    ]
    lost = [(name, (~_finite(ends_S)).sum(), len(ends_S)) for name, ends_S in runs]
    return ''.join(
        f' {name}: {number} of {seeds} seeds {"is" if number == 1 else "are"} left out, not finite '
        'at the end.'
        for name, number, seeds in lost
        if number
    )


def _of_finite_seeds(record):
    """The record without the seeds whose gammas are not finite; other norms are NaN throughout."""
    finite_S = _finite(record.gammas_STP[:, -1, 1:])
    names = ('gammas_STP', 'spreads_STP', 'gamma_start_S', 'gamma_early_S', 'gamma_end_S')
    rows = {name: getattr(record, name)[finite_S] for name in (*names, 'mean_depths_ST')}
    ends_NS = np.isfinite(record.weight_norms_NST[..., -1:])
    norms_NST = np.where(ends_NS, record.weight_norms_NST, np.nan)
    return record._replace(**rows, weight_norms_NST=norms_NST)


def _finite(values_SX):
    """Which seeds have finite numbers alone (S,)."""
    return np.isfinite(values_SX).reshape(len(values_SX), -1).all(1)


def _weights(axes, record, setting):
    eps_R, beta = record.eps_NR[setting], float(record.betas_N[setting])
    p = len(eps_R)
    axes.bar(np.arange(1, p + 1), eps_R, width=1.0, color=style.BLUE, linewidth=0)
    axes.axvline(p * beta / (1 + beta), color=style.VERMILION, linewidth=1.2, label='pβ/(1+β)')
    axes.axvline(p / 2, color=style.GREY, linewidth=1.0, linestyle=':', label='half depth, p/2')
    axes.set(xlim=(0.5, p + 0.5), xlabel='length r of the paths')
    if setting == 0:
        axes.set_ylabel('weight ε$_r$')


def _gammas_by_layer(axes, record):
    steps_T, spreads_STP = record.gamma_steps_T, record.spreads_STP
    colours_T, _ = style.time_colours(steps_T)
    layers_P = np.arange(1, spreads_STP.shape[-1] + 1)
    shown = sorted({int(np.abs(steps_T - part * steps_T[-1]).argmin()) for part in SHOWN})
    for t in shown:
        gammas_SP = record.gammas_STP[:, t]
        style.band(axes, layers_P[1:], gammas_SP[:, 1:], colours_T[t], marker='o', markersize=3)
        mean, std = style.over_seeds(gammas_SP[:, 0])
        axes.errorbar(layers_P[0], mean, std, color=colours_T[t], marker='D', markersize=4)
    axes.errorbar(
        layers_P,
        style.over_seeds(record.gammas_STP[:, -1])[0],
        style.over_seeds(spreads_STP[:, -1])[0],
        fmt='none',
        color=colours_T[-1],
        linewidth=0.6,
        capsize=2,
        capthick=0.6,
        label='± spread over channels, at the end',
    )
    axes.axvline(1.5, color=style.GREY, linewidth=0.8, linestyle=':')
    axes.set(xlabel='layer (1 is the stem)', ylabel='|γ|', xticks=layers_P)
    style.time_bar(axes.figure, axes, steps_T)


def _gammas_over_time(axes, record):
    steps_T, gammas_STP = record.gamma_steps_T, record.gammas_STP
    curves = (
        ('layer 1', gammas_STP[:, :, 0], style.ORANGE),
        (f'layers 2–{gammas_STP.shape[-1]}', gammas_STP[:, :, 1:].mean(-1), style.BLUE),
    )
    for label, values_ST, colour in curves:
        _seeds_and_band(axes, steps_T, values_ST, colour, label)
    axes.axvline(
        0.25 * steps_T[-1], color=style.GREY, linewidth=0.8, linestyle=':', label='a quarter'
    )
    axes.set_ylabel('mean |γ|')


def _weight_norms(axes, record):
    colours = (style.BLUE, style.ORANGE)
    rates = zip(record.norm_rates_N, record.weight_norms_NST, colours, strict=True)
    for rate, norms_ST, colour in rates:
        _seeds_and_band(axes, record.norm_steps_T, _growth(norms_ST), colour, f'rate {rate:g}')
    axes.axhline(0, color=style.GREY, linewidth=0.8, linestyle=':')
    axes.set_ylabel('growth of the norm of all weights (%)')


def _growth(norms_ST):
    return 100 * (norms_ST / norms_ST[:, :1] - 1)


def _seeds_and_band(axes, steps_T, values_ST, colour, label=None):
    for values_T in values_ST:
        axes.plot(steps_T, values_T, color=colour, linewidth=0.4, alpha=0.7)
    style.band(axes, steps_T, values_ST, colour, label)
    axes.set(xlabel='training step', xlim=(0, max(1, steps_T[-1])))
    scales.count_steps(axes.xaxis)


def _critical_points(axes, record):
    betas_N = record.theta_betas_N
    axes.plot(betas_N, record.thetas_N, color=style.BLUE)
    marked_N = np.interp(record.betas_N, betas_N, record.thetas_N)
    axes.plot(record.betas_N, marked_N, 'o', color=style.VERMILION, label='β of (a–c)')
    axes.set(xscale='log', xlabel='β', ylabel='θ$_k$, any fixed k ≥ 0')
    axes.set_xlim(betas_N[0], betas_N[-1])
