"""Scores of masks: equal to a loop over networks, in the order of the masks, errors by name."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import lesions, masks
from resnet_dyn.models import presets, stack


def setting(block='preact'):
    model = presets.fully_connected(7, 8, 3, block)
    x = jax.random.normal(jax.random.key(1), (6, 5))
    labels = jnp.arange(6) % 3
    return model, jax.jit(model.init)(jax.random.key(0), x), x, labels


@pytest.mark.parametrize(('block', 'chunk'), [('preact', 1), ('postact', 4), ('paper', 64)])
def test_scores_equal_a_loop_over_gated_forward_passes(block, chunk):
    model, variables, x, labels = setting(block)
    whole = stack.from_model(model, variables)
    masks_ML = masks.up_to(6, 1)
    scores = lesions.score(whole, x, labels, masks_ML, ('loss', 'error', 'logits'), chunk)
    forward = jax.jit(model.apply)
    for mask, loss, error, logits in zip(
        masks_ML, scores['loss'], scores['error'], scores['logits'], strict=True
    ):
        expected = forward(variables, x, jnp.asarray(mask))
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
        log_p = expected - jax.scipy.special.logsumexp(expected, axis=-1, keepdims=True)
        np.testing.assert_allclose(loss, -log_p[jnp.arange(6), labels].mean(), rtol=1e-5)
        assert error == pytest.approx((expected.argmax(-1) != labels).mean())


def test_metrics_may_be_functions_and_gates_any_factor():
    model, variables, x, labels = setting()
    whole = stack.from_model(model, variables)
    halves = np.full((2, 6), 0.5)
    scores = lesions.score(whole, x, labels, halves, {'top': lambda logits, y: logits.max()})
    expected = model.apply(variables, x, jnp.full(6, 0.5)).max()
    np.testing.assert_allclose(scores['top'], [expected] * 2, rtol=1e-5)


def test_deleting_a_block_without_a_skip_is_refused():
    model, variables, x, labels = setting('plain')
    with pytest.raises(ValueError, match='mask 0 deletes block 3, which has no skip'):
        lesions.score(stack.from_model(model, variables), x, labels, masks.single(6)[3:])


def test_logits_that_are_not_finite_are_named_with_their_mask():
    branches = [lambda h: jnp.log(h), lambda h: -2 * h]
    foreign = stack.from_functions(lambda x: x, branches[::-1], lambda h: h)
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r'mask 1 are not finite: \[1.0, 1.0\]'):
        lesions.score(foreign, x, jnp.zeros(2, int), [[0.0, 1.0], [1.0, 1.0]])


def test_an_unknown_metric_is_refused():
    model, variables, x, labels = setting()
    with pytest.raises(ValueError, match="no metric 'los'"):
        lesions.score(stack.from_model(model, variables), x, labels, masks.single(6), ('los',))
