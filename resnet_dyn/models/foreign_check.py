"""Whether a stack does what the module does that it was made of; if not, which block does not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import errors
from resnet_dyn.models import modules
from resnet_dyn.models import stack as stack_lib

# the largest difference, as a part of the largest output, by what the values are computed in
_TOLERANCES = {'float64': 1e-10, 'float32': 1e-5, 'float16': 1e-2, 'bfloat16': 5e-2}

_GIVEN = 'given'

# products of low precision differ from program to program
_PRECISELY = functools.partial(jax.default_matmul_precision, 'highest')

_apply = jax.jit(stack_lib.apply)


def tolerance_for(shapes) -> float:
    """That of the coarsest dtype that h has, at any block."""
    return max(_TOLERANCES.get(h.dtype.name, 0) for pair in shapes for h in pair)


def check(plan, tree, inputs, tolerance: float):
    """UserError where stack and module differ, with these variables or with the constant moved."""
    with _PRECISELY():
        _check(plan, tree, inputs, tolerance, _GIVEN)
        _check(plan, _shaken(tree), inputs, tolerance, 'moved where they are constant')


def couples(net, inputs, tolerance: float) -> bool:
    """Whether the first example's output changes where all others are made equal to it."""
    ones, inputs = np.ones(net.num_blocks), jax.tree.map(np.asarray, inputs)
    alike = jax.tree.map(lambda a: np.broadcast_to(a[:1], a.shape), inputs)
    with _PRECISELY():  # the program of the check
        outputs = [_apply(net, x, ones) for x in (inputs, alike)]
    return not _close(*jax.tree.map(lambda a: np.asarray(a)[:1], outputs), tolerance)


def _check(plan, tree, inputs, tolerance: float, which: str):
    net, leaves = plan.assemble(tree), modules.form_of(tree)[1]
    expected = _run(plan.root, plan.form, leaves, inputs)
    if not _finite(expected):
        if which == _GIVEN:
            raise errors.UserError('the output of the module is not finite on these inputs')
        return
    found = _apply(net, inputs, np.ones(net.num_blocks))
    if not _close(found, expected, tolerance):
        raise errors.UserError(
            f'{_reason(plan, net, leaves, inputs, tolerance)} (variables {which}; the stack as a '
            f'whole differs by {_difference(found, expected):.2g} of the largest output)'
        )


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(root, form, leaves, inputs):
    return root.run(form.whole(leaves), *modules.arguments(inputs))


def _reason(plan, net, leaves, inputs, tolerance) -> str:
    """The first place where stack and module part, each block given what the module gives it."""
    seen = []

    def hook(path, bound, function, args, kwargs):
        output = function(*args, **kwargs)
        if path in plan.paths:
            seen.append((args[0], output))
        return output

    @jax.jit
    def observed(leaves):
        seen.clear()
        tree = plan.form.whole(leaves)
        return plan.root.run(tree, *modules.arguments(inputs), hook), list(seen)

    final, values = observed(leaves)
    pairs = zip([None, *plan.paths], plan.paths, strict=False)
    net, h = stack_lib.enter(net, inputs)
    for (before, path), (s, i), (given, output) in zip(
        pairs, stack_lib.locate(net), values, strict=True
    ):
        if not _close(given, h, tolerance):
            place = f'between blocks {before} and {path}' if before else f'before block {path}'
            return (
                f'h changes {place}: what comes out of the one is not what goes into the other '
                f'({_difference(given, h):.2g}). Put that into a module that is named as a block, '
                'or call the module without it'
            )
        stage = net.stages[s]
        found = stack_lib.block(stage, stack_lib.block_params(stage, i), given, 1.0)
        if not _close(found, output, tolerance):
            return (
                f'block {path} is not act(skip + branch) as given: its output differs by '
                f'{_difference(found, output):.2g}. Check branch=, skip= and act='
            )
        h = output
    found = stack_lib.head(net, h)
    if not _close(found, final, tolerance):
        return (
            f'what comes after block {plan.paths[-1]} takes more than its output and the inputs: '
            f'outputs of earlier blocks ({_difference(found, final):.2g})'
        )
    return 'every block does what the module does, and their roundings add up: raise tolerance='


def _shaken(tree):
    """The tree with each constant array of floats moved by random numbers within (0, 0.1)."""
    random = np.random.default_rng(0)

    def move(leaf):
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            return leaf
        values = np.asarray(leaf)
        if not values.size or (values != values.flat[0]).any():
            return leaf
        return values + random.uniform(0, 0.1, values.shape).astype(np.float32).astype(values.dtype)

    return jax.tree.map(move, tree)


def _close(found, expected, tolerance: float) -> bool:
    return _difference(found, expected) <= tolerance


def _difference(found, expected) -> float:
    """The largest difference, as a part of the largest value expected; of trees the worst."""

    def of(a, b):
        if a.shape != b.shape:
            return np.inf
        a, b = (np.asarray(v).astype(jnp.promote_types(v.dtype, jnp.float32)) for v in (a, b))
        largest = np.abs(b).max(initial=0)
        return np.abs(a - b).max(initial=0) / (largest if largest else 1)

    return max(map(of, jax.tree.leaves(found), jax.tree.leaves(expected)), default=0.0)


def _finite(outputs) -> bool:
    return all(np.isfinite(np.asarray(a)).all() for a in jax.tree.leaves(outputs))
