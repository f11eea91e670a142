"""The table of measures: what each records, how it is made, what it costs and what it asks for.

    gammas        |gamma| by block and norm                                   (gamma_profiles)
    depth         the depth law predicted from measured power gains           (depth_measures)
    singles       loss and error after deleting each single block             (lesion_curves)
    pairs         the same for any two blocks                                 (lesion_curves)
    random        the same for j blocks chosen at random                      (lesion_curves)
    greedy        the same for the blocks that are missed least, one by one   (lesion_curves)
    reorder       loss and error after swapping blocks of equal shape         (orders)
    paths         the gradient at h_0 by the length of its paths              (path_spectra)
    interactions  how blocks act together, from all 2^L sub-networks          (interaction_spectra)
    influence     what each block does to signal and gradient                 (block_influence)

A new measure is a module of its own and one entry here.
"""

from collections.abc import Callable
from typing import NamedTuple

from resnet_dyn.analysis import (
    block_influence,
    depth_measures,
    gamma_profiles,
    interaction_spectra,
    lesion_curves,
    orders,
    path_spectra,
)
from resnet_dyn.analysis import needs as needs_lib
from resnet_dyn.analysis import scope as scope_lib

Cost, Scope = scope_lib.Cost, scope_lib.Scope


class Kind(NamedTuple):
    """One measure: function(step, stacks, scope) -> a record, its cost, and what it asks for.

    `depends` are the fields of the scope that its numbers depend on, beside the examples. A
    measure with `only` reads that collection of the variables, led by S, in place of stacks.
    """

    record: type
    function: Callable[..., NamedTuple]
    cost: Callable[[int, Scope], Cost]
    needs: tuple[Callable[[needs_lib.Facts], str], ...] = (needs_lib.skips,)
    depends: tuple[str, ...] = ()
    only: str | None = None


KINDS = {
    'gammas': Kind(
        gamma_profiles.Gammas,
        gamma_profiles.measure,
        lambda L, scope: Cost(),
        needs=(needs_lib.norms,),
        only='gammas',
    ),
    'depth': Kind(depth_measures.DepthLaw, depth_measures.measure, depth_measures.cost),
    'singles': Kind(lesion_curves.SingleLesions, lesion_curves.single, lesion_curves.single_cost),
    'pairs': Kind(lesion_curves.PairLesions, lesion_curves.pairs, lesion_curves.pairs_cost),
    'random': Kind(
        lesion_curves.RandomLesions,
        lesion_curves.random,
        lesion_curves.random_cost,
        depends=('seed', 'random'),
    ),
    'greedy': Kind(lesion_curves.GreedyLesions, lesion_curves.greedy, lesion_curves.greedy_cost),
    'reorder': Kind(
        orders.Reorders,
        orders.measure,
        orders.cost,
        needs=(needs_lib.skips, needs_lib.equal_blocks),
        depends=('seed', 'random'),
    ),
    'paths': Kind(
        path_spectra.PathSpectrum,
        path_spectra.measure,
        path_spectra.cost,
        depends=('seed', 'probes', 'at_once'),
    ),
    'interactions': Kind(
        interaction_spectra.Interactions,
        interaction_spectra.measure,
        interaction_spectra.cost,
        needs=(needs_lib.skips, needs_lib.all_sub_networks),
    ),
    'influence': Kind(block_influence.Influences, block_influence.measure, block_influence.cost),
}
DEFAULT = ('gammas', 'depth', 'singles')
