"""Views of the collection `gammas`: every trained scale (the paper's lambda) by name.

The tree is {stage_0: {norm_0: {gamma: (L_0, C)}, ..., branch_scale: {gamma: (L_0, 1)}}, ..., stem:
..., head: ...}; a leading axis S of the networks of a run may stand before all. Norms count from
the branch's input, and `branch_scale`, which multiplies the whole branch, comes after them.
"""

import math
from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp

BRANCH_SCALE = 'branch_scale'
_NORM = 'norm_'


def by_block(gammas: Mapping) -> list[dict]:
    """The gammas of the L branches in forward order: a dict {norm_0: (C,), ...} for each block.

    A dict is in forward order too. Takes the gammas of one network; stem, shortcuts and head are
    left out. Raises ValueError where there are none (norm `none`, no trained scale of branches).
    """
    blocks = []
    for stage in stage_names(gammas):
        scales = {name: gammas[stage][name]['gamma'] for name in in_order(gammas[stage])}
        length = next(iter(scales.values())).shape[0]
        blocks += [{name: gamma[l] for name, gamma in scales.items()} for l in range(length)]
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
    parts |= {f'stage_{i}': stage.params for i, stage in enumerate(stack.stages)}
    found = {
        name: params['gammas']
        for name, params in parts.items()
        if isinstance(params, Mapping) and 'gammas' in params
    }
    stages = enumerate(stack.stages)
    everywhere = all(_are_gammas(found.get(f'stage_{i}'), stage.length) for i, stage in stages)
    return found if everywhere else None


def norms(block: Mapping) -> list:
    """The gammas (C,) of one branch's norms, of those of `by_block`, in forward order."""
    return [block[name] for name in in_order(block) if name != BRANCH_SCALE]


def last(gammas: Mapping) -> list:
    """The gamma (C,) that is closest to the end of each of the L branches, in forward order."""
    return [list(block.values())[-1] for block in by_block(gammas)]


def is_last(gammas: Mapping) -> dict:
    """The tree of booleans that says which gammas are the ones that `last` gives."""

    def of(path, _):
        stage, name = path[0].key, path[1].key
        return stage.startswith('stage_') and name == in_order(gammas[stage])[-1]

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


def _are_gammas(tree, length: int) -> bool:
    scales = [tree[name] for name in in_order(tree)] if _is_mapping(tree) else []
    shapes = [getattr(scale.get('gamma'), 'shape', ()) for scale in scales if _is_mapping(scale)]
    return bool(scales) and len(shapes) == len(scales) and all(s[:1] == (length,) for s in shapes)


def _place(name: str) -> tuple[bool, float, str]:
    number = name.removeprefix(_NORM)
    return name == BRANCH_SCALE, int(number) if number.isdecimal() else math.inf, name


def _is_mapping(tree) -> bool:
    return isinstance(tree, Mapping)
