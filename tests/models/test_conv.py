"""The plain gradients of the convolution are XLA's own, at the top level and in a scan body."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_dyn.models import conv

CASES = [
    # size, kernel, stride, channels in and out, padding (None: the default)
    ((8, 8), 3, 1, (3, 5), None),
    ((8, 8), 3, 2, (4, 4), None),
    ((9, 7), 3, 1, (2, 3), None),
    ((9, 7), 3, 2, (2, 3), None),
    ((8, 8), 1, 1, (3, 4), None),
    ((7, 9), 1, 2, (3, 4), None),
    ((8, 10), 5, 3, (2, 2), None),
    ((10, 10), 7, 2, (3, 2), None),
    ((8, 9), 3, 2, (2, 3), ((0, 0), (1, 2))),
]


def gradients(case, form, scanned, dtype):
    size, k, stride, (c, d), padding = case
    random = np.random.default_rng(0)
    x = random.normal(size=(2, *size, c)).astype(dtype)
    kernel = random.normal(size=(k, k, c, d)).astype(dtype)
    weights = random.normal(size=(2, *size, d)).astype(dtype)  # of the outputs in the loss

    def loss(x, kernel):
        y = conv.convolve(x, kernel, stride, padding, form)
        return (y * weights[:, : y.shape[1], : y.shape[2]]).sum()

    step = jax.grad(loss, argnums=(0, 1))
    if not scanned:
        return jax.jit(step)(x, kernel)
    body = jax.jit(lambda xs, kernel: lax.map(lambda x: step(x, kernel), xs))
    return jax.tree.map(lambda a: np.asarray(a)[0], body(np.stack([x, 2 * x]), kernel))


@pytest.mark.parametrize('case', CASES, ids=str)
def test_plain_gradients_in_a_scan_equal_those_that_xla_derives(case):
    with jax.enable_x64(True):
        ours = gradients(case, 'plain', True, jnp.float64)
        theirs = gradients(case, 'xla', False, jnp.float64)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def test_plain_gradients_are_float32_gradients_to_rounding():
    for case in CASES[2:4]:
        ours = gradients(case, 'plain', False, jnp.float32)
        theirs = gradients(case, 'xla', False, jnp.float32)
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * float(jnp.abs(b).max()))


def test_both_forms_have_the_same_forward_bits():
    random = np.random.default_rng(0)
    x = random.normal(size=(2, 9, 9, 3)).astype(np.float32)
    kernel = random.normal(size=(3, 3, 3, 4)).astype(np.float32)
    plain, xla = (conv.convolve(x, kernel, 2, gradients=form) for form in ('plain', 'xla'))
    assert (plain == xla).all()


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match='neither plain nor xla'):
        conv.convolve(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1)), gradients='fast')
