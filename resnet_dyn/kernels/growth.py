"""What one step of the weights does to the scales of branches: Theorems 3 and 4 on real networks.

    F(w, s) = sum_b v_b . Y_b(w, s),   v = d loss / d Y held,   s one gate a branch, all 1

is the loss that the theorems speak of, linear in the output; g = grad_w F is the loss's gradient.
Gate s_l scales all paths through branch l, as the scale gamma_l of its norm does, so that

    slope_l = dF/ds_l = L_p                    must be 0 for Theorem 3 to speak of branch l
    drive_l = g . d(grad_w F)/ds_l             = |g_p|^2 + g_p . g_m, p the paths through l

and after w' = w - mu g the slope is -mu drive_l where it was 0: the scale grows iff drive_l > 0
(`theory.gamma_growth`). Since the sum over l of d/ds_l counts the branches k of each path,

    |g|^2 + sum_l drive_l = g . sum_r r g_r,   r = k + 1         eq 25 over all lengths
    |g|^2 + w . H g = g . grad(w . g),         H = d^2F/dw^2     Theorem 4 for the scale of all w

The two agree for one matrix a layer, all layers counted. Norms keep the statistics that the stack
holds; ReLUs keep theirs, having no curvature.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from resnet_dyn.models import stack as stack_lib
from resnet_dyn.models import transforms


class Along(NamedTuple):
    """What the direction g sees, and where the theorems' hypotheses are measured."""

    slope_LB: jax.Array  # of F by each gate, from each example
    drive_L: jax.Array  # the change of the slope by w + mu g, over mu
    curvature: jax.Array  # () w . H g
    output_B: jax.Array  # v_b . Y_b


def weights(stack: stack_lib.ResidualStack) -> list[jax.Array]:
    """The w of a stack: its arrays of floats with two axes or more (in one block, without S).

    Matrices, kernels of convolutions, embeddings; scales, biases and averages of norms are none.
    """
    return _split(stack)[0]


def gradient(stack: stack_lib.ResidualStack, inputs, loss: Callable) -> list[jax.Array]:
    """g of loss(Y) by each of the `weights`, all gates open."""
    w, rebuilt = _split(transforms.with_forward_derivatives(stack))
    gates_L = jnp.ones(stack.num_blocks)
    return jax.grad(lambda w: loss(stack_lib.apply(rebuilt(w), inputs, gates_L)))(w)


def along(
    stack: stack_lib.ResidualStack, inputs, loss: Callable, direction: Sequence[jax.Array]
) -> Along:
    """`Along` of a direction among the `weights`: of g, and of sums of g over more examples.

    The network must not couple its examples. One forward pass, and the forward derivative of a
    forward and a backward one. Pure: to be jitted by the caller; what is compiled does not grow
    with the length of a stage.

    Args:
      loss: of the outputs (B, ...) to a scalar, a sum or a mean over examples.
      direction: as `gradient` gives it.
    """
    w, rebuilt = _split(transforms.with_forward_derivatives(stack))
    Y = stack_lib.apply(stack, inputs, jnp.ones(stack.num_blocks))
    v = jax.grad(loss)(Y)

    def linear(gates, w):
        net = rebuilt(w)
        net, h = stack_lib.enter(net, inputs)
        for stage, part in zip(net.stages, gates, strict=True):
            h, _ = stack_lib.scan_stage(stage, lambda *a: (stack_lib.block(*a), None), h, part)
        return (stack_lib.precise(stack_lib.head(net, h)) * stack_lib.precise(v)).sum()

    gates = _gates(stack, inputs)
    still = jax.tree.map(jnp.zeros_like, gates)
    slopes, changes = jax.jvp(
        jax.grad(linear, argnums=(0, 1)), (gates, w), (still, list(direction))
    )
    slope_LB, drive_LB = (_by_block(parts) for parts in (slopes[0], changes[0]))
    curvature = sum(
        (stack_lib.precise(a) * stack_lib.precise(b)).sum()
        for a, b in zip(w, changes[1], strict=True)
    )
    output_B = (stack_lib.precise(Y) * v).reshape(len(Y), -1).sum(1)
    return Along(slope_LB, drive_LB.sum(1), curvature, output_B)


def _split(stack):
    """The weights, and the function that puts others in their places."""
    found, form = jax.tree_util.tree_flatten_with_path(stack)
    leaves = [leaf for _, leaf in found]
    places = [
        number
        for number, (path, leaf) in enumerate(found)
        if jnp.issubdtype(leaf.dtype, jnp.floating)
        and leaf.ndim >= (3 if path[0].name == 'stages' else 2)
    ]

    def rebuilt(w):
        others = dict(zip(places, w, strict=True))
        return jax.tree.unflatten(form, [others.get(i, leaf) for i, leaf in enumerate(leaves)])

    return [leaves[number] for number in places], rebuilt


def _gates(stack, inputs):
    """Open gates of each stage, one a block and example, of the rank of what they multiply."""
    _, outputs = stack_lib.shapes(stack, inputs)
    firsts = [number for number, (_, i) in enumerate(stack_lib.locate(stack)) if not i]
    return [
        jnp.ones((stage.length, stack_lib.examples(inputs), *[1] * (outputs[first].ndim - 1)))
        for stage, first in zip(stack.stages, firsts, strict=True)
    ]


def _by_block(parts):
    return jnp.concatenate([part.reshape(part.shape[:2]) for part in parts])
