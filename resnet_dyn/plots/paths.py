"""The gradient by path length: what all paths of a length carry, what each does, and the shares.

|G_k| all C(L, k) paths added up;  sqrt(S_k) each by itself;  sqrt(S_k / C(L, k)) one of them
"""

import numpy as np

from resnet_dyn.plots import scales, style

LENGTH = 'path length k (branches used)'


@style.picture('closure_S')  # of a gradient of zeros it is 0 / 0
def spectrum(records_T, heading: str, note: str):
    """The picture of `analysis.path_spectra.PathSpectrum` records, one a step, in order."""
    steps_T = [int(record.step) for record in records_T]
    sums_TSR, roots_TSR, forward_TSR = (
        np.stack([getattr(record, name) for record in records_T])
        for name in ('sum_norm_SR', 'root_energy_SR', 'forward_norm_SR')
    )
    paths_R = records_T[-1].paths_R
    shares_TSR = style.shares(roots_TSR**2)
    fig = style.figure(12.5, 7.0)
    (each, root, share), (sums, forward, mean) = fig.subplots(2, 3)
    logarithmic = (
        (each, roots_TSR / np.sqrt(paths_R), 'One path', 'root mean square √(S$_k$ / C(L,k))'),
        (root, roots_TSR, 'All paths of a length, each by itself', 'root energy √S$_k$'),
        (sums, sums_TSR, 'All paths of a length, added up', 'norm of the sum, |G$_k$|'),
        (forward, forward_TSR, 'Forward: the signal by length', 'norm of the sum, |u$_k$|'),
    )
    for axes, values_TSR, title, label in logarithmic:
        style.lines_over_time(axes, steps_T, values_TSR, log=True)
        axes.set(title=title, ylabel=label, xlabel=LENGTH)
    style.lines_over_time(share, steps_T, shares_TSR, bounds=style.SHARE)
    share.plot(
        paths_R / paths_R.sum(),
        color=style.GREY,
        linestyle=':',
        linewidth=1.2,
        label='share of the paths',
    )
    share.set(title='Share of the energy', ylabel='S$_k$ / Σ S', xlabel=LENGTH)
    style.time_bar(fig, [each, root, share], steps_T)
    _mean_lengths(mean, steps_T, shares_TSR, style.shares(forward_TSR**2))
    style.heading(fig, heading)
    style.footnote(
        fig,
        f'{note} Norms: root mean square over examples, at the first block’s input (u$_k$: at the '
        f'last block’s output). S$_k$ from {int(records_T[-1].probes)} Rademacher draws, the same '
        f'for all networks. |Σ G$_k$ − gradient| / |gradient| = {_closure(records_T)} at most.',
    )
    return fig


def _mean_lengths(axes, steps_T, backward_TSR, forward_TSR):
    lengths_R = np.arange(backward_TSR.shape[-1])
    L = lengths_R[-1]
    curves = (
        ('gradient, S$_k$', backward_TSR, style.BLUE, '-'),
        ('signal, |u$_k$|²', forward_TSR, style.VERMILION, '--'),
    )
    for label, shares_TSR, colour, line in curves:
        mean_ST = (shares_TSR * lengths_R).sum(-1).T
        style.band(axes, steps_T, mean_ST, colour, label, (0, L), linestyle=line)
    axes.axhline(L / 2, color=style.GREY, linestyle=':', linewidth=1, label='mean over all paths')
    axes.set(title=f'Mean length, of at most {L}', ylabel='mean of k')
    scales.lengths(axes, 0, L)
    scales.over_steps(axes, steps_T)


def _closure(records_T) -> str:
    return f'{max(scales.finite([record.closure_S for record in records_T]), default=0):.1g}'
