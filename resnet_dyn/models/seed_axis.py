"""How S networks of one model go through what is written for one: together or in turn.

    f(network_s, shared)  for s = 1..S,   arrays led by an axis S

`vmap` computes all at once; `map` one after the other, which is faster where XLA has no good
kernel for convolutions with several sets of weights. Where there are several devices the networks
are dealt out over them first (`placement`).

Three things go through: a function of a tree led by S (`each`), a function of stacks (`of_stacks`),
and a kernel's walk, which is no function, and takes all S as one stack (`over_seeds`).
"""

import dataclasses
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from resnet_dyn import config, fields
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import transforms

WAYS = ('vmap', 'map')

# From measurements on the CPU: 4 ResNet-20 a step take 1.01 (map) and 1.7 (vmap) times a loop of
# single steps; 10 nets of the paper take the same within 10 %; 5 transformers of 8
# layers of width 48 take by map 0.92 of the time by vmap. Elsewhere a guess until measured.
_FASTER = {
    'cpu': {
        'fully_connected': 'vmap',
        'cifar_resnet': 'map',
        'imagenet_resnet': 'map',
        'transformer': 'map',
    },
    'elsewhere': {
        'fully_connected': 'vmap',
        'cifar_resnet': 'map',
        'imagenet_resnet': 'map',
        'transformer': 'vmap',
    },
}


def settle(
    cfg: config.Config, stored: config.Config | None = None, platform: str | None = None
) -> config.Config:
    """The config with a definite `train.seed_axis`: its own, else the workdir's, else the table's.

    The choices differ in the last bits of the result, so a resumed run keeps the one it began with.
    `platform` is that of the devices, the backend at hand unless given.
    """
    if cfg.train.seed_axis != 'auto':
        return cfg
    choice = faster(cfg.model.family, platform)
    if stored is not None and stored.train.seed_axis != 'auto':
        choice = stored.train.seed_axis
    return fields.replace(cfg, {'train.seed_axis': choice})


def faster(family: str, platform: str | None = None) -> str:
    """The table's way for networks of a family, 'vmap' or 'map', on the backend at hand."""
    return _FASTER.get(platform or jax.default_backend(), _FASTER['elsewhere'])[family]


def each(function: Callable, how: str) -> Callable:
    """`function(network, *shared)` of one network, as a function of S of them led by an axis S."""

    def together(networks, *shared):
        return jax.vmap(lambda network: function(network, *shared))(networks)

    def in_turn(networks, *shared):
        return jax.lax.map(lambda network: function(network, *shared), networks)

    return {'vmap': together, 'map': in_turn}[check(how)]


def of_stacks(function: Callable, stacks: Sequence, how: str, *shared):
    """`function(stack, *shared)` of each stack: a tree of arrays led by an axis S.

    In turn they go through one program, compiled for the first; together through its vmap.
    """
    if check(how) == 'vmap':
        return each(function, how)(joined(stacks), *shared)
    results = [function(stack, *shared) for stack in stacks]
    return stack_lib.stacked(results)


def over_seeds(stacks: Sequence[stack_lib.ResidualStack]) -> stack_lib.ResidualStack:
    """S networks of one model as one stack, whose h and outputs are led by an axis S.

    Every function, merges too, is mapped over the S networks by vmap; they share the inputs x and
    the gates. Raises ValueError where the stacks are not of one model.
    """
    together, S = joined(stacks), len(stacks)

    def mapped(function, *axes):
        return None if function is None else Mapped(function, S, axes)

    def over(kind: stack_lib.Stage) -> stack_lib.Stage:
        merge = None if kind.merge is None else stack_lib.of_parameters(kind.merge)
        return dataclasses.replace(
            kind,
            # the block axis stays in front, where a scan looks for it
            params=_blocks_first(kind.params),
            branch=mapped(kind.branch, 0, 0),
            skip=mapped(kind.skip, 0, 0),
            merge=mapped(merge, 0, 0),
        )

    stages = [stack_lib.over_kinds(stage, over) for stage in together.stages]
    return dataclasses.replace(
        transforms.with_stages(together, stages),
        stem=mapped(together.stem, 0, None),
        head=mapped(together.head, 0, 0),
    )


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A function over S of each of two arguments (axis 0) or one for all (None); one context."""

    function: Callable
    seeds: int
    axes: tuple[int | None, ...]

    def __call__(self, first, second, *context):
        # axis_size says S where no argument has arrays that could: a stem without parameters
        axes = self.axes + (None,) * len(context)
        return jax.vmap(self.function, axes, axis_size=self.seeds)(first, second, *context)

    def with_forward_derivatives(self):
        return dataclasses.replace(self, function=transforms.forward_form(self.function))


def joined(stacks: Sequence[stack_lib.ResidualStack]) -> stack_lib.ResidualStack:
    """A stack whose every array is led by an axis S; ValueError where models differ."""
    if not stacks:
        raise ValueError('no stacks: give one a network')
    first, *others = stacks
    if any(jax.tree.structure(other) != jax.tree.structure(first) for other in others):
        raise ValueError('the stacks are not of one model: their blocks or functions differ')
    return stack_lib.stacked(stacks)


@jax.jit
def _blocks_first(params):
    return jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), params)


def check(how: str) -> str:
    """`how` where it is one of `WAYS`, else ValueError."""
    if how not in WAYS:
        raise ValueError(f'how={how!r} is neither {" nor ".join(reversed(WAYS))}')
    return how
