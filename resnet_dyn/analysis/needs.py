"""What a measure asks of a network, and why it cannot be made of one that lacks it.

Each function gives the reason, '' where there is none.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from resnet_dyn import config
from resnet_dyn.analysis import interaction_spectra
from resnet_dyn.analysis import scope as scope_lib
from resnet_dyn.kernels import devices, interactions
from resnet_dyn.models import network


class Facts(NamedTuple):
    """The network, its config, and how it is looked at (None: no examples are)."""

    config: config.Model
    model: network.ResidualNetwork
    classes: int
    scope: scope_lib.Scope | None


Need = Callable[[Facts], str]


def missing(needs: Mapping[str, Sequence[Need]], facts: Facts) -> dict[str, str]:
    """The first reason against each measure, for those that have one."""
    reasons = {
        name: next((reason for need in own if (reason := need(facts))), '')
        for name, own in needs.items()
    }
    return {name: reason for name, reason in reasons.items() if reason}


def norms(facts: Facts) -> str:
    """Norms, whose scales are the gammas."""
    if facts.config.norm != 'none':
        return ''
    return 'a net with config.model.norm=none has no gammas: train one with batch or rms'


def skips(facts: Facts) -> str:
    """Blocks with a skip."""
    if facts.config.block != 'plain':
        return ''
    return (
        'blocks of the kind plain have no skip: without its branch nothing is left of the signal, '
        'and there are no paths of other lengths; train another config.model.block'
    )


def equal_blocks(facts: Facts) -> str:
    """Two blocks that can change places."""
    if any(spec.length > 1 for spec in facts.model.stages):
        return ''
    return 'no two blocks have the same shape, so none can change places; train a deeper net'


def all_sub_networks(facts: Facts) -> str:
    """So few blocks that all 2^L sub-networks can be scored, in the memory there is."""
    L, scope = facts.model.num_blocks, facts.scope
    if scope.exhaustive < L:
        passes = interaction_spectra.cost(L, scope).forward
        mend = (
            f'--exhaustive={L} lets it'
            if L <= interactions.LARGEST
            else f'L is at most {interactions.LARGEST}: take singles, pairs and random'
        )
        return (
            f'all 2^{L} sub-networks of L={L} blocks cost {passes:,.3g} forward passes of the '
            f'{scope.examples:,} examples for each network at each checkpoint, and L is at most '
            f'{scope.exhaustive} unless asked for; {mend}'
        )
    needed = interaction_spectra.table_bytes(L, facts.classes, scope)
    allowed = devices.default_budget() if scope.budget is None else scope.budget
    if needed > allowed:
        return (
            f'the logits of all {2**L:,} sub-networks on {min(scope.at_once, scope.examples):,} '
            f'examples at once take {needed / 2**30:.2g} GiB with their transforms, and '
            f'{allowed / 2**30:.2g} GiB are allowed; give fewer --examples_at_once, or more GiB '
            'by --memory'
        )
    return ''
