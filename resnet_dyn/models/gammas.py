"""Views of the collection `gammas`: every norm's scale (the paper's lambda) by name.

The tree is {stage_0: {norm_0: {gamma: (L_0, C)}, ...}, ..., stem: ..., head: ...}; a leading axis
S of the networks of a run may stand before all.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp


def by_block(gammas: Mapping) -> list[dict]:
    """The gammas of the L branches in forward order: a dict {norm_0: (C,), ...} for each block.

    Takes the gammas of one network; stem, shortcuts and head are left out. Raises ValueError
    where there are none (norm `none`).
    """
    blocks = []
    for stage in stage_names(gammas):
        norms = {k: v['gamma'] for k, v in gammas[stage].items() if k.startswith('norm_')}
        length = next(iter(norms.values())).shape[0]
        blocks += [{name: gamma[l] for name, gamma in norms.items()} for l in range(length)]
    return blocks


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


def last(gammas: Mapping) -> list:
    """The gamma (C,) that is closest to the end of each of the L branches, in forward order."""
    return [block[max(block)] for block in by_block(gammas)]


def is_last(gammas: Mapping) -> dict:
    """The tree of booleans that says which gammas are the ones that `last` gives."""

    def of(path, _):
        stage, name = path[0].key, path[1].key
        in_branch = [key for key in gammas[stage] if key.startswith('norm_')]
        return stage.startswith('stage_') and name == max(in_branch)

    return jax.tree_util.tree_map_with_path(of, dict(gammas))


def mean_abs(gammas: Mapping):
    """(mean, standard deviation) over channels of |gamma| of each branch's last norm: (L,) each."""
    absolute = [jnp.abs(gamma) for gamma in last(gammas)]
    return jnp.stack([a.mean() for a in absolute]), jnp.stack([a.std() for a in absolute])


def stage_names(tree: Mapping) -> list[str]:
    """The names stage_0, stage_1, ... of a collection, in forward order."""
    names = [name for name in tree if name.startswith('stage_')]
    if not names:
        raise ValueError(
            f'no stages among {sorted(tree)}: a net with norm none has no gammas; take batch or rms'
        )
    return sorted(names, key=lambda name: int(name.removeprefix('stage_')))


def _are_gammas(tree, length: int) -> bool:
    norms = [v for k, v in tree.items() if k.startswith('norm_')] if _is_mapping(tree) else []
    shapes = [getattr(norm.get('gamma'), 'shape', ()) for norm in norms if _is_mapping(norm)]
    return bool(norms) and len(shapes) == len(norms) and all(s[:1] == (length,) for s in shapes)


def _is_mapping(tree) -> bool:
    return isinstance(tree, Mapping)
