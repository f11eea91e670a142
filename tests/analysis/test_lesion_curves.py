"""Single lesions against networks built without the block."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from resnet_dyn.analysis import lesion_curves
from resnet_dyn.models import stack

LABELS = np.array([0, 2, 1, 1, 0])
FACTORS = (0.5, -2.0, 1.5)


def network(kept):
    """h + tanh(factor h) for the kept blocks, a fixed head: built anew without the others."""
    branches = [lambda h, f=FACTORS[l]: jnp.tanh(f * h) for l in kept]
    head = jax.random.normal(jax.random.key(1), (4, 3))
    return stack.from_functions(lambda x: x, branches, lambda h: h @ head)


def inputs():
    return jax.random.normal(jax.random.key(0), (5, 4))


def test_each_row_is_the_net_built_without_that_block():
    record = lesion_curves.measure_single(3, [network((0, 1, 2))], inputs(), LABELS)
    for block, kept in enumerate(((1, 2), (0, 2), (0, 1))):
        cut = network(kept)
        logits_BK = stack.apply(cut, inputs(), jnp.ones(2))
        losses = optax.softmax_cross_entropy_with_integer_labels(logits_BK, LABELS)
        np.testing.assert_allclose(record.loss_SL[0, block], losses.mean(), rtol=1e-5)
        error = np.mean(np.asarray(logits_BK).argmax(-1) != LABELS)
        np.testing.assert_allclose(record.error_SL[0, block], error, rtol=1e-6)


def test_the_full_net_stands_beside_its_lesions():
    record = lesion_curves.measure_single(3, [network((0, 1, 2))] * 2, inputs(), LABELS)
    logits_BK = stack.apply(network((0, 1, 2)), inputs(), jnp.ones(3))
    error = np.mean(np.asarray(logits_BK).argmax(-1) != LABELS)
    np.testing.assert_allclose(record.full_error_S, [error, error], rtol=1e-6)
    assert record.loss_SL.shape == record.error_SL.shape == (2, 3)


def test_the_cost_is_a_pass_for_the_full_net_and_one_for_each_block():
    assert lesion_curves.forward_passes(9) == 10
