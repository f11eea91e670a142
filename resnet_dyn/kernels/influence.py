"""What each block of a network does to its signal, measured in one forward and backward pass.

    total_l = skip_l(h_l) + branch_l(h_l),   h_{l+1} = merge(total_l),   norms over units

    branch over skip   |branch_l(h_l)| / |skip_l(h_l)|                       Veit, Greff
    block influence    1 - cos(skip_l(h_l), h_{l+1})                         Men et al.
    gradient cosine    cos(branch_l(h_l), d loss / d total_l)                Jastrzebski et al.
    angular distance   arccos(cos(h_i, h_j)) / pi, i and j depths 0..L       Gromov et al.

Each is taken for every example by itself and then averaged over the examples, all gates open: of
all its tokens (or pixels) as one vector, of every token by itself, or of its last token alone.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn.models import stack as stack_lib

OVER = ('example', 'token', 'last')


class Influence(NamedTuple):
    """Means over examples or tokens; L blocks, N = L + 1 depths (l is the input of block l)."""

    branch_over_skip_L: jax.Array  # NaN for a block without a skip
    block_influence_L: jax.Array  # in [0, 2], 0 where a block does nothing; NaN without a skip
    gradient_cosine_L: jax.Array  # < 0 where the branch goes down the loss
    angular_distance_NN: jax.Array  # in [0, 1]; NaN where the shapes of h_i and h_j differ


@functools.partial(jax.jit, static_argnames=('loss', 'over'))
def measure(
    stack: stack_lib.ResidualStack, inputs, loss: Callable, over: str = 'example', mask=None
) -> Influence:
    """The influence of every block on inputs (B, ...), and on the loss.

    Vectors of zeros have no direction: two of them count as equal (distance and influence 0), one
    beside another vector as at right angles (distance 1/2, influence 1), a branch or a gradient of
    zeros as of cosine 0. Zero over zero is 0 in `branch_over_skip`, anything else over zero inf.

    Pure: jit and vmap over stacked parameters work, and what is compiled does not grow with the
    length of a stage. Memory: several arrays of all hidden states, (L, B, ...) each. Angles come
    from sums and differences of unit vectors: by arccos, float32 would lose all below 1e-4.

    Args:
      stack: one network; the norms keep the statistics it was built with.
      inputs: (B, ...), or a tree led by B; with running statistics the mean of the results of
        chunks of examples, weighted by their `count`, is the result of the whole, if `loss` is a
        mean or a sum over examples.
      loss: function of the head's output to a scalar, e.g. the mean cross-entropy for its labels.
        One that compares equal to that of an earlier call compiles nothing.
      over: what is a vector. `example`: all of an example, its tokens or pixels together;
        `token`: the last axis at each place of the others (ShortGPT's), all places counting alike;
        `last`: the last token of each example (Gromov et al.), for h of shape (B, T, D).
      mask: (B, T), True where a token counts; None: all do. Those that do not are 0 in the vectors
        of `example`, and none of `token`; `last` takes the last that counts. Every example has one.

    Returns:
      `Influence`, in the dtype of the hidden states, at least float32.

    Raises:
      ValueError: if `loss` does not give a scalar, a batch of 1 has to give its own statistics,
        `over` is another word, or h has no tokens of the mask's shape.

    Sources: Veit et al. 2016 (arXiv 1605.06431); Greff et al. 2017 (1612.07771); Jastrzebski et al.
    2018 (1710.04773), whose blocks descend the loss; Men et al. 2024 (ShortGPT, 2403.03853);
    Gromov et al. 2024 (2403.17887).
    """

    if over not in OVER:
        raise ValueError(f'over={over!r}: take one of {", ".join(OVER)}')
    look = _Look(over, None if mask is None else jnp.asarray(mask, bool))

    def run(nudges):
        net, h = stack_lib.enter(stack, inputs)
        first, seen = h, []
        for stage, nudge in zip(net.stages, nudges, strict=True):
            h, here = stack_lib.scan_stage(stage, lambda *a: _block(look, *a), h, nudge)
            seen.append(here)
        return stack_lib.scalar_loss(net, h, loss), (first, seen)

    # The gradient at skip + branch is the derivative by a nudge of zeros that is added there.
    scalars = [jnp.zeros(stage.length) for stage in stack.stages]
    _, (_, shapes) = jax.eval_shape(run, scalars)
    nudges = [jnp.zeros(stage.branch.shape, stage.branch.dtype) for stage in shapes]
    gradients, (first, seen) = jax.grad(run, has_aux=True)(nudges)

    def cosine(pair):
        branch, gradient = map(look.directions, pair)
        return look.mean((branch * gradient).sum(-1))

    cosines = [
        jax.lax.map(cosine, (stage.branch, gradient))
        for stage, gradient in zip(seen, gradients, strict=True)
    ]
    return Influence(
        jnp.concatenate([stage.branch_over_skip for stage in seen]),
        jnp.concatenate([stage.influence for stage in seen]),
        jnp.concatenate(cosines),
        _angular_distances(look, [first[None], *(stage.output for stage in seen)]),
    )


def count(examples: int, over: str = 'example', mask=None):
    """What a mean over so many examples weighs beside that of others: tokens, where some count."""
    return examples if over != 'token' or mask is None else mask.sum()


class _Look(NamedTuple):
    """What of an array (B, ...) is a vector, and the mean over those that count."""

    over: str
    mask: jax.Array | None

    def rows(self, x):
        """The vectors (..., n), of one axis B, or of two (B, T) for tokens."""
        x = stack_lib.precise(x)
        if self.mask is not None and x.shape[1:-1] != self.mask.shape[1:]:
            raise ValueError(
                f'a mask of shape {self.mask.shape} and hidden states of shape {x.shape}: give a '
                'mask (B, T) of the tokens of h (B, T, D)'
            )
        if self.over == 'last':
            if x.ndim != 3:
                raise ValueError(f"over='last' of h of shape {x.shape}: it must be (B, T, D)")
            return x[jnp.arange(len(x)), self._last(x)]
        if self.over == 'token':
            return x.reshape(len(x), -1, x.shape[-1])
        if self.mask is not None:
            x = jnp.where(self.mask[..., None], x, 0)
        return x.reshape(len(x), -1)

    def directions(self, x):
        """Their unit vectors."""
        return _polar(self.rows(x))[1]

    def mean(self, values):
        """The mean of numbers, one a vector."""
        if self.over != 'token' or self.mask is None:
            return values.mean()
        return jnp.where(self.mask, values, 0).sum() / self.mask.sum()

    def _last(self, x):
        if self.mask is None:
            return jnp.full(len(x), x.shape[1] - 1)
        return x.shape[1] - 1 - jnp.argmax(self.mask[:, ::-1], axis=1)


class _Seen(NamedTuple):
    """What a block shows on the way forward; a stage stacks them on a leading block axis."""

    branch: jax.Array
    output: jax.Array
    branch_over_skip: jax.Array
    influence: jax.Array


def _block(look, stage, params, h, nudge):
    branch, skip = stack_lib.addends(stage, params, h, 1.0)
    h = stack_lib.join(stage, params, branch + nudge.astype(branch.dtype), skip)
    branch, skip, output = jax.lax.stop_gradient((branch, skip, h))
    if skip is None:
        missing = jnp.full((), jnp.nan, stack_lib.precise(branch).dtype)
        return h, _Seen(branch, output, missing, missing)
    angle = _angle(look.directions(skip), look.directions(output))
    influence = look.mean(2 * jnp.sin(angle / 2) ** 2)  # 1 - cos
    branches, skips = (_polar(look.rows(x))[0] for x in (branch, skip))
    ratio = jnp.where(branches == 0, 0, branches / jnp.where(branches == 0, 1, skips))
    return h, _Seen(branch, output, look.mean(ratio), influence)


def _angular_distances(look, states):
    """The matrix (N, N) of hidden states given as arrays (depths, B, ...), depth by depth."""
    depths = np.split(np.arange(sum(map(len, states))), np.cumsum([len(h) for h in states])[:-1])
    distances_NN = jnp.full((depths[-1][-1] + 1,) * 2, jnp.nan, stack_lib.precise(states[0]).dtype)
    for shape in dict.fromkeys(h.shape[1:] for h in states):
        alike = [i for i, h in enumerate(states) if h.shape[1:] == shape]
        units = jax.lax.map(look.directions, jnp.concatenate([states[i] for i in alike]))

        def row(unit, units=units):
            return jax.vmap(lambda other: look.mean(_angle(unit, other)))(units)

        rows = jax.lax.map(row, units)
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
