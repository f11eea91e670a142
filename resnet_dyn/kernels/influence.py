"""What each block of a network does to its signal, measured in one forward and backward pass.

    total_l = skip_l(h_l) + branch_l(h_l),   h_{l+1} = merge(total_l),   norms over units

    branch over skip   |branch_l(h_l)| / |skip_l(h_l)|                       Veit, Greff
    block influence    1 - cos(skip_l(h_l), h_{l+1})                         Men et al.
    gradient cosine    cos(branch_l(h_l), d loss / d total_l)                Jastrzebski et al.
    angular distance   arccos(cos(h_i, h_j)) / pi, i and j depths 0..L       Gromov et al.

Each is taken for every example by itself and then averaged over the examples, all gates open.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.models import stack as stack_lib


class Influence(NamedTuple):
    """Means over examples; L blocks, N = L + 1 depths (depth l is the input of block l)."""

    branch_over_skip_L: jax.Array  # NaN for a block without a skip
    block_influence_L: jax.Array  # in [0, 2], 0 where a block does nothing; NaN without a skip
    gradient_cosine_L: jax.Array  # < 0 where the branch goes down the loss
    angular_distance_NN: jax.Array  # in [0, 1]; NaN where the shapes of h_i and h_j differ


@functools.partial(jax.jit, static_argnames='loss')
def measure(stack: stack_lib.ResidualStack, inputs, loss: Callable) -> Influence:
    """The influence of every block on inputs (B, ...), and on the loss.

    Vectors of zeros have no direction: two of them count as equal (distance and influence 0), one
    beside another vector as at right angles (distance 1/2, influence 1), a branch or a gradient of
    zeros as of cosine 0. Zero over zero is 0 in `branch_over_skip`, anything else over zero inf.

    An example is one vector (tokens or pixels together).

    Pure: jit and vmap over stacked parameters work, and what is compiled does not grow with the
    length of a stage. Memory: several arrays of all hidden states, (L, B, ...) each. Angles come
    from sums and differences of unit vectors: by arccos, float32 would lose all below 1e-4.

    Args:
      stack: one network; the norms keep the statistics it was built with.
      inputs: (B, ...); with running statistics the mean of the results of equal chunks of
        examples is the result of the whole, if `loss` is a mean or a sum over examples.
      loss: function of the head's output to a scalar, e.g. the mean cross-entropy for its labels.
        One that compares equal to that of an earlier call compiles nothing.

    Returns:
      `Influence`, in the dtype of the hidden states, at least float32.

    Raises:
      ValueError: if `loss` does not give a scalar, or a batch of 1 has to give its own statistics.

    Sources: Veit et al. 2016 (arXiv 1605.06431); Greff et al. 2017 (1612.07771); Jastrzebski et al.
    2018 (1710.04773), whose blocks descend the loss; Men et al. 2024 (ShortGPT, 2403.03853);
    Gromov et al. 2024 (2403.17887).
    """

    def run(nudges):
        h = stack_lib.stem(stack, inputs)
        first, seen = h, []
        for stage, nudge in zip(stack.stages, nudges, strict=True):
            h, here = stack_lib.scan_stage(stage, lambda *a, s=stage: _block(s, *a), h, nudge)
            seen.append(here)
        return stack_lib.scalar_loss(stack, h, loss), (first, seen)

    # The gradient at skip + branch is the derivative by a nudge of zeros that is added there.
    scalars = [jnp.zeros(stage.length) for stage in stack.stages]
    _, (_, shapes) = jax.eval_shape(run, scalars)
    nudges = [jnp.zeros(stage.branch.shape, stage.branch.dtype) for stage in shapes]
    gradients, (first, seen) = jax.grad(run, has_aux=True)(nudges)
    cosines = [
        (directions(stage.branch, 2) * directions(gradient, 2)).sum(-1).mean(1)
        for stage, gradient in zip(seen, gradients, strict=True)
    ]
    return Influence(
        jnp.concatenate([stage.branch_over_skip for stage in seen]),
        jnp.concatenate([stage.influence for stage in seen]),
        jnp.concatenate(cosines),
        _angular_distances([first[None], *(stage.output for stage in seen)]),
    )


class _Seen(NamedTuple):
    """What a block shows on the way forward; a stage stacks them on a leading block axis."""

    branch: jax.Array
    output: jax.Array
    branch_over_skip: jax.Array
    influence: jax.Array


def _block(stage, params, h, nudge):
    branch, skip = stack_lib.addends(stage, params, h, 1.0)
    h = stack_lib.join(stage, branch + nudge.astype(branch.dtype), skip)
    branch, skip, output = jax.lax.stop_gradient((branch, skip, h))
    if skip is None:
        missing = jnp.full((), jnp.nan, stack_lib.precise(branch).dtype)
        return h, _Seen(branch, output, missing, missing)
    angle_B = _angle(directions(skip, 1), directions(output, 1))
    influence = (2 * jnp.sin(angle_B / 2) ** 2).mean()  # 1 - cos
    branch_B, skip_B = _polar(_rows(branch, 1))[0], _polar(_rows(skip, 1))[0]
    ratio_B = jnp.where(branch_B == 0, 0, branch_B / jnp.where(branch_B == 0, 1, skip_B))
    return h, _Seen(branch, output, ratio_B.mean(), influence)


def _angular_distances(states):
    """The matrix (N, N) of hidden states given as arrays (depths, B, ...), depth by depth."""
    depths = np.split(np.arange(sum(map(len, states))), np.cumsum([len(h) for h in states])[:-1])
    distances_NN = jnp.full((depths[-1][-1] + 1,) * 2, jnp.nan, stack_lib.precise(states[0]).dtype)
    for shape in dict.fromkeys(h.shape[1:] for h in states):
        alike = [i for i, h in enumerate(states) if h.shape[1:] == shape]
        units = directions(jnp.concatenate([states[i] for i in alike]), 2)
        rows = jax.lax.map(lambda unit, units=units: _angle(unit[None], units).mean(1), units)
        index = np.concatenate([depths[i] for i in alike])
        distances_NN = distances_NN.at[np.ix_(index, index)].set(rows / jnp.pi)
    return distances_NN


def directions(x, axes: int):
    """Unit vectors of all that stands behind the first `axes` axes of x."""
    return _polar(_rows(x, axes))[1]


def _rows(x, axes: int):
    return stack_lib.precise(x).reshape(*x.shape[:axes], -1)


def _polar(x):
    """(|x|, x / |x|) over the last axis; no square under- or overflows, zeros have direction 0."""
    _, exponent = jnp.frexp(jnp.abs(x).max(-1, keepdims=True))
    factor = jnp.ldexp(jnp.ones((), x.dtype), -exponent)  # a power of 2: nothing is rounded
    scaled = x * factor
    length = jnp.sqrt((scaled**2).sum(-1, keepdims=True))
    return (length / factor)[..., 0], scaled / jnp.where(length == 0, 1, length)


def _angle(u, v):
    """The angle between unit vectors, exact at 0 and pi; 0 for two zeros, pi/2 for one."""
    return 2 * jnp.arctan2(jnp.linalg.norm(u - v, axis=-1), jnp.linalg.norm(u + v, axis=-1))
