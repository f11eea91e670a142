"""Views of the collection `gammas`: every trained scale (the paper's lambda) by name.

The tree is {stage_0: {norm_0: {gamma: (L_0, C)}, ..., branch_scale: {gamma: (L_0, 1)}}, ..., stem:
..., head: ...}; a leading axis S of the networks of a run may stand before all. Norms count from
the branch's input, and `branch_scale`, which multiplies the whole branch, comes after them. A stage
of units holds {unit_0: ..., unit_1: ...}, such a tree for each kind of their blocks.
"""

import math
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

from resnet_dyn.models import stack as stack_lib

BRANCH_SCALE = 'branch_scale'
_NORM, _UNIT = 'norm_', 'unit_'


def by_block(gammas: Mapping) -> list[dict]:
    """The gammas of the L branches in forward order: a dict {norm_0: (C,), ...} for each block.

    A dict is in forward order too. Takes the gammas of one network; stem, shortcuts and head are
    left out. Raises ValueError where there are none (norm `none`, no trained scale of branches).
    """
    blocks = []
    for stage in stage_names(gammas):
        kinds = [
            {name: kind[name]['gamma'] for name in in_order(kind)} for kind in _kinds(gammas[stage])
        ]
        length = next(iter(kinds[0].values())).shape[0]
        blocks += [
            {name: gamma[l] for name, gamma in scales.items()}
            for l in range(length)
            for scales in kinds
        ]
    return blocks


def in_order(names: Iterable[str]) -> list[str]:
    """Those of the names that are of a branch's scales, from its input to its end."""
    scales = (name for name in names if name.startswith(_NORM) or name == BRANCH_SCALE)
    return sorted(scales, key=_place)


def of_stack(stack) -> dict | None:
    """The collection as a stack's parameters hold it, for `by_block`; None unless every stage does.

    A stage holds gammas where its parameters are {'gammas': {'norm_0': {'gamma': (length, C)}},
    ...}, as those of our networks; a stem or a head where they are a mapping with that name.
    """
    parts = {'stem': stack.stem_params, 'head': stack.head_params}
    found = {
        name: params['gammas']
        for name, params in parts.items()
        if isinstance(params, Mapping) and 'gammas' in params
    }
    for i, stage in enumerate(stack.stages):
        kinds = [_scales(kind) for kind in stage.kinds]
        if any(scales is None for scales in kinds):
            return None
        units = {f'{_UNIT}{j}': scales for j, scales in enumerate(kinds)}
        found[f'stage_{i}'] = units if isinstance(stage, stack_lib.Unit) else kinds[0]
    return found


def norms(block: Mapping) -> list:
    """The gammas (C,) of one branch's norms, of those of `by_block`, in forward order."""
    return [block[name] for name in in_order(block) if name != BRANCH_SCALE]


def last(gammas: Mapping) -> list:
    """The gamma (C,) that is closest to the end of each of the L branches, in forward order."""
    return [list(block.values())[-1] for block in by_block(gammas)]


def is_last(gammas: Mapping) -> dict:
    """The tree of booleans that says which gammas are the ones that `last` gives."""

    def of(path, _):
        *where, name, _ = (key.key for key in path)
        scales = gammas
        for key in where:
            scales = scales[key]
        return where[0].startswith('stage_') and name == in_order(scales)[-1]

    return jax.tree_util.tree_map_with_path(of, dict(gammas))


def mean_abs(gammas: Mapping):
    """(mean, standard deviation) over channels of |gamma| of every branch's last scale: (L,)."""
    absolute = [jnp.abs(gamma) for gamma in last(gammas)]
    return jnp.stack([a.mean() for a in absolute]), jnp.stack([a.std() for a in absolute])


def stage_names(tree: Mapping) -> list[str]:
    """The names stage_0, stage_1, ... of a collection, in forward order."""
    names = [name for name in tree if name.startswith('stage_')]
    if not names:
        raise ValueError(
            f'no stages among {sorted(tree)}: a net with norm none has no gammas; take batch or '
            'rms, or a trained scale of the branches'
        )
    return sorted(names, key=lambda name: int(name.removeprefix('stage_')))


def _kinds(stage: Mapping) -> list[Mapping]:
    """The trees of the kinds of blocks of a stage: of its units, or itself."""
    units = [name for name in stage if name.startswith(_UNIT)]
    if not units:
        return [stage]
    return [stage[name] for name in sorted(units, key=lambda name: int(name.removeprefix(_UNIT)))]


def _scales(kind) -> Mapping | None:
    """The gammas of a stage of plain blocks, None where it has none."""
    tree = kind.params.get('gammas') if _is_mapping(kind.params) else None
    return tree if _are_gammas(tree, kind.length) else None


def _are_gammas(tree, length: int) -> bool:
    scales = [tree[name] for name in in_order(tree)] if _is_mapping(tree) else []
    shapes = [getattr(scale.get('gamma'), 'shape', ()) for scale in scales if _is_mapping(scale)]
    return bool(scales) and len(shapes) == len(scales) and all(s[:1] == (length,) for s in shapes)


def _place(name: str) -> tuple[bool, float, str]:
    number = name.removeprefix(_NORM)
    return name == BRANCH_SCALE, int(number) if number.isdecimal() else math.inf, name


def _is_mapping(tree) -> bool:
    return isinstance(tree, Mapping)
