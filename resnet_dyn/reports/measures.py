"""The table of measures, a row each: what it records, costs, asks for, draws and says.

A new measure is a module of its own and one row here.
"""

import textwrap

from resnet_dyn.analysis import (
    block_influence,
    depth_measures,
    depth_use,
    effective_depth,
    gamma_depth,
    gamma_profiles,
    growth,
    interaction_spectra,
    layer_swaps,
    lesion_curves,
    orders,
    path_spectra,
    requirements,
    summaries,
)
from resnet_dyn.analysis.measure import Column, Measure, NoOptions, Picture
from resnet_dyn.plots import depth, gammas, influence, interactions, lesions, paths
from resnet_dyn.plots import depth_use as depth_use_plots
from resnet_dyn.plots import effective_depth as effective_depth_plots
from resnet_dyn.plots import growth as growth_plots
from resnet_dyn.plots import layer_swaps as layer_swap_plots
from resnet_dyn.plots import orders as order_plots
from resnet_dyn.reports import columns, said

DEFAULT = ('gammas', 'depth', 'singles')

MEASURES: dict[str, Measure] = {
    'gammas': Measure(
        gamma_profiles.Gammas,
        gamma_profiles.measure,
        gamma_profiles.cost,
        (requirements.gammas,),
        NoOptions,
        Picture(gammas.profiles, 'Gammas'),
        (
            Column(
                'mean |gamma|',
                lambda r: summaries.mean_of_there(r.mean_SLN[..., -1]),
                '.3f',
                "mean over channels and blocks of |gamma| of each branch's last scale",
            ),
        ),
        text='mean |gamma| over channels, by block and scale',
        examples=False,
    ),
    'gamma_depth': Measure(
        gamma_depth.GammaDepth,
        gamma_depth.measure,
        gamma_depth.cost,
        (requirements.gammas, requirements.law_of_gammas),
        NoOptions,
        Picture(depth.of_gammas, 'Depth predicted from gammas alone'),
        columns.GAMMA_DEPTH,
        text=(
            'the depth law that the theory predicts from gammas alone, E[r] of at most L + 1; '
            'sigma recomputed and frozen'
        ),
        examples=False,
    ),
    'depth': Measure(
        depth_measures.DepthLaw,
        depth_measures.measure,
        depth_measures.cost,
        (requirements.skips,),
        NoOptions,
        Picture(depth.law, 'Predicted depth of the virtual ensemble'),
        (
            Column(
                'E[r] incoherent',
                lambda r: r.incoherent_mean_S,
                '.2f',
                'mean path length r, of at most L + 1, predicted from the power gains of the '
                'blocks if paths are uncorrelated; sigma as it is at the step',
            ),
            Column(
                'E[r] coherent',
                lambda r: r.coherent_mean_S,
                '.2f',
                'the same if all paths of one length add up (eq 13)',
            ),
            *columns.DEPTH,
        ),
        text=(
            'the depth law predicted from the measured power gains of the blocks, E[r] '
            'of at most L + 1; incoherent and coherent'
        ),
    ),
    'singles': Measure(
        lesion_curves.SingleLesions,
        lesion_curves.single,
        lesion_curves.single_cost,
        (requirements.skips,),
        NoOptions,
        Picture(lesions.singles, 'Single lesions'),
        columns.SINGLES,
        text='loss and error without each single block, and the guess of a gradient by gates',
        lines=said.singles,
    ),
    'pairs': Measure(
        lesion_curves.PairLesions,
        lesion_curves.pairs,
        lesion_curves.pairs_cost,
        (requirements.skips,),
        NoOptions,
        Picture(lesions.pairs, 'Pairs of lesions', last_only=True),
        (
            Column(
                'two deleted, mean',
                lambda r: 100 * summaries.pair_errors(r).mean(-1),
                '.2f',
                'error (%) without two blocks, mean over all pairs; of one block alone, without it',
            ),
        ),
        text='loss and error without any two blocks: which ones stand in for one another',
    ),
    'random': Measure(
        lesion_curves.RandomLesions,
        lesion_curves.random,
        lesion_curves.random_cost,
        (requirements.skips,),
        lesion_curves.RandomOptions,
        Picture(lesions.random, 'Random lesions'),
        (
            Column(
                'half deleted',
                lambda r: 100 * summaries.half_deleted(r).error_S,
                '.2f',
                'error (%) without floor(L/2) blocks chosen at random (or the number nearest to '
                'it that was drawn), mean over the draws',
            ),
            *columns.RANDOM,
        ),
        text=('loss and error without j blocks chosen at random, j = 0..L (Veit et al., fig 5a)'),
        draws=True,
    ),
    'greedy': Measure(
        lesion_curves.GreedyLesions,
        lesion_curves.greedy,
        lesion_curves.greedy_cost,
        (requirements.skips, requirements.layers),
        lesion_curves.GreedyOptions,
        Picture(lesions.greedy, 'Greedy lesions'),
        columns.GREEDY,
        text='blocks deleted one by one, always the one that is missed least',
        lines=said.greedy,
    ),
    'reorder': Measure(
        orders.Reorders,
        orders.measure,
        orders.cost,
        (requirements.skips, requirements.equal_blocks),
        orders.Options,
        Picture(order_plots.reorder, 'Blocks in another order'),
        columns.REORDER,
        text=("error after random swaps of equal blocks, by Kendall's tau (Veit et al., fig 5b)"),
        draws=True,
    ),
    'layer_swaps': Measure(
        layer_swaps.LayerSwaps,
        layer_swaps.measure,
        layer_swaps.cost,
        (requirements.skips,),
        NoOptions,
        Picture(layer_swap_plots.swaps, 'The first guess without a layer, or with two swapped'),
        columns.LAYER_SWAPS,
        text='first guesses kept without each layer, and with each two neighbours swapped',
        lines=said.layer_swaps,
    ),
    'paths': Measure(
        path_spectra.PathSpectrum,
        path_spectra.measure,
        path_spectra.cost,
        (requirements.skips, requirements.examples_apart),
        path_spectra.Options,
        Picture(paths.spectrum, 'The gradient by path length'),
        (
            Column(
                'mean length k',
                summaries.mean_length,
                '.2f',
                'mean number of branches of a path, by its share of the energy of the gradient '
                '(all paths alike: L/2)',
            ),
            Column(
                'energy in short half',
                summaries.short_share,
                '.4f',
                'share of that energy in paths of at most half of the blocks',
            ),
            Column(
                'closure',
                lambda r: r.closure_S,
                '.1e',
                '|sum of the parts less the gradient| over |gradient|: rounding alone',
            ),
            *columns.PATHS,
        ),
        text='the gradient split exactly by path length; energies of single paths (fig 6)',
        draws=True,
        parts=True,
    ),
    'interactions': Measure(
        interaction_spectra.Interactions,
        interaction_spectra.measure,
        interaction_spectra.cost,
        (requirements.skips, requirements.all_sub_networks),
        interaction_spectra.Options,
        Picture(interactions.spectra, 'Interactions of blocks'),
        (
            Column(
                'variance at order 1',
                summaries.alone_share,
                '.3f',
                'share of the variance over all sub-networks that blocks make by themselves; of '
                'logits or, where outputs are of tokens, of the loss of each example',
            ),
            *columns.INTERACTIONS,
        ),
        text='all 2^L sub-networks: variance by how many blocks act together, Shapley values',
        lines=said.interactions,
    ),
    'influence': Measure(
        block_influence.Influences,
        block_influence.measure,
        block_influence.cost,
        (requirements.skips, requirements.examples_apart),
        block_influence.Options,
        Picture(influence.influences, 'What blocks do to the signal'),
        columns.INFLUENCE,
        text=(
            'what each block does to the signal and its gradient; angles between depths; by these '
            'the orders of ShortGPT and of Gromov et al.'
        ),
        lines=said.influences,
    ),
    'depth_use': Measure(
        depth_use.DepthUse,
        depth_use.measure,
        depth_use.cost,
        (requirements.skips,),
        NoOptions,
        Picture(depth_use_plots.uses, 'Depth as it is asked of language models'),
        columns.DEPTH_USE,
        text=(
            'depth as it is asked of language models: sign of cos(branch, skip), the head applied '
            'early, later blocks without an earlier one'
        ),
    ),
    'effective_depth': Measure(
        effective_depth.EffectiveDepth,
        effective_depth.measure,
        effective_depth.cost,
        (requirements.skips, requirements.layers_in_a_row),
        effective_depth.Options,
        Picture(effective_depth_plots.depths, 'Effective depth'),
        columns.EFFECTIVE_DEPTH,
        text=(
            'three effective depths in layers (Hu et al. 2025), with intervals over examples: sign '
            'of the cosine, the head applied early by KL and by top-5'
        ),
        draws=True,
        lines=said.effective_depths,
    ),
    'growth': Measure(
        growth.Growth,
        growth.measure,
        growth.cost,
        (requirements.skips, requirements.examples_apart, requirements.weights),
        NoOptions,
        Picture(growth_plots.theorems, 'What a step of the weights does to scales'),
        columns.GROWTH,
        text="Theorem 3's condition by block and Theorem 4's bracket, along the real gradient",
    ),
}


def listed(width: int = 80) -> str:
    """The measures by name, a line or two each, for people."""
    indent = 2 + max(map(len, MEASURES)) + 2
    return '\n'.join(
        textwrap.fill(
            measure.text,
            width,
            initial_indent=f'  {name}'.ljust(indent),
            subsequent_indent=' ' * indent,
        )
        for name, measure in MEASURES.items()
    )
