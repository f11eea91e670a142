"""What a measure asks of networks, and why it cannot be made of those that lack it.

Each function takes the subject, the effort and the measure's options, and gives the reason, ''
where there is none.
"""

import itertools
from collections.abc import Callable
from typing import Any

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import interaction_spectra, subjects
from resnet_dyn.kernels import devices, growth, interactions, reorder
from resnet_dyn.models import builders
from resnet_dyn.models import gammas as gammas_lib
from resnet_dyn.theory import network_depth

Requirement = Callable[[subjects.Subject, effort_lib.Effort, Any], str]

TABLES = 4  # of all logits that a transform of interactions holds at once, in float64


def reason(requirements: tuple[Requirement, ...], subject, effort, options) -> str:
    """The first reason against a measure, '' where there is none."""
    found = (requirement(subject, effort, options) for requirement in requirements)
    return next(filter(None, found), '')


def gammas(subject: subjects.Subject, effort, options) -> str:
    """Trained scales, of norms or of branches."""
    if gammas_lib.of_stack(subject.stacks[0]) is not None:
        return ''
    return (
        'these networks have no collection of gammas: of ours, train one with config.model.norm '
        'batch or rms, or with config.model.branch_scale=skipinit; of others, only blocks with '
        'params["gammas"] have them'
    )


def law_of_gammas(subject: subjects.Subject, effort, options) -> str:
    """Blocks and norms of ours for which the theory has a depth law, and no other scales."""
    style = builders.style(subject.stacks[0])
    if style is None:
        return (
            'the theory has a law for the blocks and norms of our fully connected networks and '
            'ResNets alone; what the functions of these do to their gammas is not known'
        )
    if (style.block, style.norm) not in network_depth.VARIANTS:
        known = ', '.join(f'{block} with norm {norm}' for block, norm in network_depth.VARIANTS)
        return (
            f'the theory has no law for blocks of the kind {style.block} with norm {style.norm}: '
            f'it has one for {known}'
        )
    if style.branch_scale != 'none' or builders.has_factors(subject.stacks[0]):
        return (
            'the theory has no law for branches that are scaled too, here by branch_scale '
            f'{style.branch_scale} or the rates of stochastic depth: it has one for branch_scale '
            'none and survival 1'
        )
    return ''


def skips(subject: subjects.Subject, effort, options) -> str:
    """Blocks with a skip."""
    if all(stage.skippable for stage in subject.stacks[0].stages):
        return ''
    return (
        'blocks of the kind plain have no skip: without its branch nothing is left of the signal, '
        'and there are no paths of other lengths; train another config.model.block'
    )


def examples_apart(subject: subjects.Subject, effort, options) -> str:
    """Examples that do not meet, so that each has a gradient of its own."""
    if not subject.couples_examples:
        return ''
    return 'the examples of these networks meet (couples_examples), and have no gradients apart'


def weights(subject: subjects.Subject, effort, options) -> str:
    """Weights among the parameters, for a step to move."""
    if growth.weights(subject.stacks[0]):
        return ''
    return (
        'these networks have no weights among their parameters, arrays of at least two axes in a '
        'block: give those that functions close over as params'
    )


def layers(subject: subjects.Subject, effort, options) -> str:
    """Blocks that belong together, where whole layers are asked for."""
    if options.of == 'blocks' or subject.stacks[0].groups is not None:
        return ''
    return (
        'these networks do not say which blocks are a layer (ResidualStack.groups): take '
        'of=blocks, or open them by sublayers'
    )


def layers_in_a_row(subject: subjects.Subject, effort, options) -> str:
    """Layers that make up the network one after the other, where it says what a layer is."""
    groups = subject.stacks[0].groups
    if groups is None or list(itertools.chain.from_iterable(groups)) == list(range(subject.blocks)):
        return ''
    return (
        'depth is counted in layers passed, and those of these networks (ResidualStack.groups) '
        'leave blocks out or stand within each other: give groups that follow on one another, of '
        'all blocks, or none'
    )


def equal_blocks(subject: subjects.Subject, effort, options) -> str:
    """Two blocks that can change places."""
    if reorder.alike(subject.stacks[0], subject.examples.first(2)):
        return ''
    return 'no two blocks have the same shape, so none can change places; train a deeper net'


def all_sub_networks(subject: subjects.Subject, effort, options) -> str:
    """So few blocks that all 2^L sub-networks can be scored, in the memory there is."""
    L, examples = subject.blocks, subject.examples.number
    if options.exhaustive < L:
        mend = (
            f'--interactions.exhaustive={L} lets it'
            if L <= interactions.LARGEST
            else f'L is at most {interactions.LARGEST}: take singles, pairs and random'
        )
        return (
            f'all 2^{L} sub-networks of L={L} blocks cost {(2**L - 1) / L:,.3g} forward passes of '
            f'the {examples:,} examples for each network at each checkpoint, and L is at most '
            f'{options.exhaustive} unless asked for; {mend}'
        )
    at_once = effort.part(subject)
    losses = interaction_spectra.of_losses(subject, options)
    needed = TABLES * 8 * 2**L * at_once * (1 if losses else subject.outputs)
    allowed = devices.default_budget() if effort.budget is None else effort.budget
    if needed > allowed:
        return (
            f'the logits of all {2**L:,} sub-networks on {at_once:,} examples at once take '
            f'{needed / 2**30:.2g} GiB with their transforms, and {allowed / 2**30:.2g} GiB are '
            'allowed; give fewer --examples_at_once, or more GiB by --memory'
        )
    return ''
