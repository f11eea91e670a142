"""The gradient by path length: what all paths of a length carry, what each does, and the shares.

|G_k| all C(L, k) paths added up;  sqrt(S_k) each by itself;  sqrt(S_k / C(L, k)) one of them
"""

import numpy as np

from resnet_dyn.plots import style

LENGTH = 'path length k (branches used)'


def spectrum(records_T, heading: str, note: str):
    """The picture of `analysis.path_spectra.PathSpectrum` records, one a step, in order."""
    steps_T = np.array([int(record.step) for record in records_T])
    sums_TSR, roots_TSR, forward_TSR = (
        np.stack([getattr(record, name) for record in records_T])
        for name in ('sum_norm_SR', 'root_energy_SR', 'forward_norm_SR')
    )
    paths_R = records_T[-1].paths_R
    shares_TSR = shares(roots_TSR**2)
    forward_shares_TSR = shares(forward_TSR**2)
    visible = _visible(np.concatenate([shares_TSR, forward_shares_TSR]))
    fig = style.figure(12.5, 6.6)
    (each, root, share), (sums, forward, mean) = fig.subplots(2, 3)
    logarithmic = (
        (each, roots_TSR / np.sqrt(paths_R), 'One path', 'root mean square √(S$_k$ / C(L,k))'),
        (root, roots_TSR, 'All paths of a length, each by itself', 'root energy √S$_k$'),
        (sums, sums_TSR, 'All paths of a length, added up', 'norm of the sum, |G$_k$|'),
        (forward, forward_TSR, 'Forward: the signal by length', 'norm of the sum, |u$_k$|'),
    )
    for axes, values_TSR, title, label in logarithmic:
        style.lines_over_time(axes, steps_T, values_TSR)
        axes.set(title=title, ylabel=label, xlabel=LENGTH, yscale='log')
    style.lines_over_time(share, steps_T, shares_TSR)
    binomial_R = paths_R / paths_R.sum()
    share.plot(
        binomial_R, color=style.GREY, linestyle=':', linewidth=1.2, label='share of the paths'
    )
    share.set(title='Share of the energy', ylabel='S$_k$ / Σ S', xlabel=LENGTH)
    share.set_xlim(-0.02 * visible, max(visible, _visible(binomial_R[None])))
    share.legend(loc='upper right')
    style.time_bar(fig, [each, root, share], steps_T)
    _mean_lengths(mean, steps_T, shares_TSR, forward_shares_TSR)
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Norms: root mean square over examples, at the first block’s input (u$_k$: at the '
        f'last block’s output). S$_k$ from {int(records_T[-1].probes)} Rademacher draws. '
        f'|Σ G$_k$ − gradient| / |gradient| = {max(r.closure_S.max() for r in records_T):.1g} at '
        'most.',
    )
    return fig


def shares(energies_SR):
    """The energies by length, each divided by the sum over lengths."""
    return energies_SR / energies_SR.sum(-1, keepdims=True)


def _mean_lengths(axes, steps_T, backward_TSR, forward_TSR):
    lengths_R = np.arange(backward_TSR.shape[-1])
    L = lengths_R[-1]
    curves = (
        ('gradient, S$_k$', backward_TSR, style.BLUE, '-'),
        ('signal, |u$_k$|²', forward_TSR, style.VERMILION, '--'),
    )
    for label, shares_TSR, colour, line in curves:
        mean_ST = (shares_TSR * lengths_R).sum(-1).T
        style.band(axes, steps_T, mean_ST, colour, label, linestyle=line)
    axes.axhline(L / 2, color=style.GREY, linestyle=':', linewidth=1, label='mean over all paths')
    axes.set(title=f'Mean length, of at most {L}', xlabel='training step', ylabel='mean of k')
    axes.set_ylim(0, 0.75 * L)
    style.over_steps(axes, steps_T)
    axes.legend(loc='upper right')


def _visible(shares) -> float:
    """The longest length worth an axis: beyond it, no share has a thousandth of its peak."""
    shares_XR = shares.reshape(-1, shares.shape[-1])
    seen_R = (shares_XR > 1e-3 * shares_XR.max(-1, keepdims=True)).any(0)
    return int(np.flatnonzero(seen_R).max()) + 0.2
