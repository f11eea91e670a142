"""The state of a run, S networks, and the keys that all their randomness comes from.

Network s starts from key(seed + s). Each use folds in a constant of its own, and the step or the
epoch, so that what is drawn at a step depends on (seed, step) alone: a resumed run repeats the
uninterrupted one.

    initial values   fold_in(key, INIT)
    order of epoch e permutation(fold_in(fold_in(key, ORDER), e))
    augmentation     fold_in(fold_in(key, AUGMENT), t)
    surviving blocks fold_in(fold_in(key, SURVIVAL), t)
"""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np
import optax

from resnet_dyn import config

INIT, ORDER, AUGMENT, SURVIVAL = 0, 1, 2, 3


class State(NamedTuple):
    """S networks and their optimizers, every leaf led by S; the step is kept beside it."""

    variables: dict[str, Any]  # params, and gammas and batch_stats where there are norms
    optimizer: optax.OptState


def keys(cfg: config.Config) -> jax.Array:
    """The keys (S,) of the networks of a run: key(seed + s)."""
    seeds_S = np.uint32(cfg.seed) + np.arange(cfg.seeds, dtype=np.uint32)
    return jax.vmap(jax.random.key)(seeds_S)


def initial_variables(model: nn.Module, keys_S, input_shape) -> dict[str, Any]:
    """The variables at step 0, every leaf led by S; `input_shape` is of one input, no batch.

    On the CPU it is compiled without optimisation: it is the compiling that takes the time
    (ResNet-20: 1.3 s, and 6.6 s with it), not the drawing.
    """
    return _drawing(model, tuple(input_shape))(keys_S)


def initial(model: nn.Module, transform, gammas: str, keys_S, input_shape) -> State:
    """The state at step 0, under the optimizer `transform` and `train.gammas`."""
    variables = initial_variables(model, keys_S, input_shape)
    return State(variables, _resting(transform.init)(trainable(variables, gammas)))


def form(model: nn.Module, transform, gammas: str, keys_S, input_shape) -> State:
    """The shapes and dtypes of `initial`, with nothing computed."""
    variables = jax.eval_shape(_drawing(model, tuple(input_shape)), keys_S)
    moved = trainable(variables, gammas)
    return State(variables, jax.eval_shape(_resting(transform.init), moved))


def trainable_values(model: nn.Module, gammas: str, input_shape) -> int:
    """How many values the optimizer moves in one network; nothing is computed."""
    variables = jax.eval_shape(_drawing(model, tuple(input_shape)), jax.eval_shape(_some_keys))
    return sum(leaf.size for leaf in jax.tree.leaves(trainable(variables, gammas)))


def trainable(variables: Mapping[str, Any], gammas: str) -> dict[str, Any]:
    """What the optimizer moves of params and gammas, None in the place of what stays.

    By `train.gammas`: trained, all; frozen, no gamma; only, the gammas and the classifier, its bias
    too (Frankle et al. 2020, arXiv:2003.00152, who move the biases of the norms besides).
    """

    def moves(path) -> bool:
        collection, *rest = (key.key for key in path)
        if collection == 'gammas':
            return gammas != 'frozen'
        return gammas != 'only' or rest[:2] == ['head', 'linear']

    there = {name: variables[name] for name in ('params', 'gammas') if name in variables}
    return jax.tree_util.tree_map_with_path(lambda path, a: a if moves(path) else None, there)


def merged(variables: Mapping[str, Any], moved: Mapping[str, Any]) -> dict[str, Any]:
    """The variables with those of `moved` in their places: what `trainable` took apart."""
    old = {name: variables[name] for name in moved}
    new = jax.tree.map(
        lambda after, before: before if after is None else after, moved, old, is_leaf=_is_none
    )
    return {**variables, **new}


def to_trees(state: State) -> dict[str, Any]:
    """What a checkpoint holds: the collections, and the optimizer's leaves by their dotted path.

    Flat names instead of optax's nested NamedTuples, which no file gives back as they were.
    """
    paths, _ = jax.tree_util.tree_flatten_with_path(state.optimizer)
    return {**state.variables, 'optimizer': {_dotted(path): leaf for path, leaf in paths}}


def from_trees(trees: Mapping[str, Any], form: State) -> State:
    """The state that `to_trees` took apart, in the `form` that is given."""
    optimizer = jax.tree_util.tree_map_with_path(
        lambda path, _: trees['optimizer'][_dotted(path)], form.optimizer
    )
    return State({name: trees[name] for name in form.variables}, optimizer)


def _is_none(leaf) -> bool:
    return leaf is None


def _some_keys() -> jax.Array:
    return jax.vmap(jax.random.key)(np.arange(1, dtype=np.uint32))


@functools.lru_cache(maxsize=16)  # what goes on, or is asked for shapes too, is traced once
def _drawing(model: nn.Module, input_shape: tuple[int, ...]):
    """keys_S -> initial variables, one network after the other: it compiles in half the time."""
    example = np.zeros((1, *input_shape), np.float32)
    quick = {'xla_backend_optimization_level': 0} if jax.default_backend() == 'cpu' else None

    def one(key):
        return dict(model.init(jax.random.fold_in(key, INIT), example))

    return jax.jit(lambda keys_S: jax.lax.map(one, keys_S), compiler_options=quick)


@functools.lru_cache(maxsize=16)
def _resting(init):
    """The initial states of S optimizers, jitted: one for each update rule."""
    return jax.jit(jax.vmap(init))


def _dotted(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator='.')
