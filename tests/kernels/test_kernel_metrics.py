"""Metrics: of each example or of all, in float32 whatever the output's dtype."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import lesions, masks, metrics
from resnet_dyn.models import stack


def outputs(wrong, num=1000):
    """Logits of three classes, of which so many of `num` examples are wrong, in bfloat16."""
    labels = np.arange(num) % 3
    told = np.where(np.arange(num) < wrong, (labels + 1) % 3, labels)
    noise = np.random.default_rng(0).uniform(0, 0.4, (num, 3))
    return (np.eye(3)[told] + noise).astype(jnp.bfloat16), labels


def exact_loss(logits, labels):
    z = np.asarray(logits, np.float64)
    return (np.log(np.exp(z).sum(-1)) - z[np.arange(len(z)), labels]).mean()


def test_metrics_of_bfloat16_outputs_are_exact_to_float32():
    logits, labels = outputs(873)
    error, loss = (jax.jit(f)(logits, labels) for f in (metrics.mean_error, metrics.mean_loss))
    assert float(error) == pytest.approx(0.873, abs=1e-6)
    assert float(loss) == pytest.approx(exact_loss(logits, labels), rel=1e-6)


def pick(logits, labels):
    return jnp.take_along_axis(logits, labels[:, None], -1)[:, 0]


@pytest.mark.parametrize('at_once', [None, 300])
def test_scores_of_bfloat16_networks_are_exact_to_float32(at_once):
    logits, labels = outputs(873)
    net = stack.from_functions(lambda x: x, [lambda h: 0 * h], lambda h: h)
    chosen = {'loss': metrics.cross_entropy, 'error': metrics.wrong, 'own': pick}
    found = lesions.score(net, logits, labels, masks.single(1), chosen, examples_at_once=at_once)
    expected = {
        'loss': exact_loss(logits, labels),
        'error': 0.873,
        'own': logits.astype(np.float64)[np.arange(1000), labels].mean(),
    }
    for name, value in expected.items():
        assert found[name].dtype == np.float32
        np.testing.assert_allclose(found[name], [value], rtol=2e-6, err_msg=name)


class Twice(NamedTuple):
    """Has no weak references."""

    metric: object

    def __call__(self, output, labels):
        return 2 * self.metric(output, labels)


def test_any_callable_is_a_metric_of_examples_in_parts():
    logits, labels = np.eye(3, dtype=np.float32)[np.zeros(5, int)], np.array([0, 1, 1, 1, 0])
    net = stack.from_functions(lambda x: x, [lambda h: 0 * h], lambda h: h)
    chosen = {'error': Twice(metrics.wrong)}
    found = lesions.score(net, logits, labels, masks.single(1), chosen, examples_at_once=2)
    np.testing.assert_allclose(found['error'], [2 * 3 / 5], rtol=1e-6)


def test_metrics_of_tokens_are_means_over_an_example():
    labels = np.array([[0, 1], [1, 1]])
    logits = np.log(np.array([[[0.5, 0.5], [0.2, 0.8]], [[0.9, 0.1], [0.25, 0.75]]], np.float32))
    expected = -np.log([[0.5, 0.8], [0.1, 0.75]]).mean(1)
    cross_entropy, wrong, mean_error = jax.jit(all_three)(logits, labels)
    np.testing.assert_allclose(cross_entropy, expected, rtol=1e-6)
    np.testing.assert_allclose(wrong, [0, 0.5])  # ties go to class 0
    assert mean_error == 0.25


def all_three(logits, labels):
    return [f(logits, labels) for f in (metrics.cross_entropy, metrics.wrong, metrics.mean_error)]


TIMES_2 = stack.from_functions(lambda x: x, [lambda h: h], lambda h: h)


@pytest.mark.parametrize(
    ('metrics', 'message'),
    [
        (lambda logits, y: logits.max(), r"or functions by name, as in \{'margin': function\}"),
        ({'margin': 3}, "metric 'margin' is 3: it must be a function"),
        ({'both': lambda logits, y: (logits, y)}, 'gives tuple, parts of shapes .* one array'),
        ({'all': lambda logits, y: {'top': logits.max()}}, 'gives dict'),
        ({'none': lambda logits, y: None}, 'gives NoneType'),
        (('loss', []), r'no metric \[\]'),
    ],
)
def test_what_is_no_metric_is_refused_with_what_is(metrics, message):
    with pytest.raises(ValueError, match=message):
        lesions.score(TIMES_2, np.ones((2, 3), np.float32), np.zeros(2, int), [[1]], metrics)


def under(head):
    return stack.from_functions(lambda x: x, [lambda h: 0 * h], head)


WHOLE = under(lambda h: h)


@pytest.mark.parametrize('kernel', [lesions.score, lesions.first_order])
@pytest.mark.parametrize(
    ('net', 'labels', 'message'),
    [
        (WHOLE, [0.0, 1.0], 'labels have dtype float32'),
        (WHOLE, ['cat', 'dog'], 'dtype <U3: .* names by np.unique'),
        (WHOLE, [[0, 1], [1, 1]], r'\(2, 3\) and labels \(2, 2\): .* are \(2, 2, K\)'),
        (WHOLE, 1, 'label'),
        (WHOLE, [0, 3], 'label 3 of example 1'),
        (WHOLE, [-1, 0], 'label -1 of example 0'),
        (under(lambda h: h[:, 0]), [0, 1], r'output has shape \(2,\)'),
        (under(lambda h: {'a': h, 'b': h[0]}), [0, 1], r'a dict of arrays .* \[\(2, 3\), \(3,\)\]'),
        (under(lambda h: h[:, None] + h[..., None]), [[0, 1, 1], [-1] * 3], 'token of example 1'),
    ],
)
def test_labels_and_outputs_that_do_not_go_together_are_refused(kernel, net, labels, message):
    own = (masks.single(1),) if kernel is lesions.score else ()
    with pytest.raises(ValueError, match=message):
        kernel(net, np.ones((2, 3), np.float32), labels, *own)


def test_a_walk_within_jit_is_refused_with_what_goes_there():
    def score(x):
        return lesions.score(WHOLE, x, [0, 1], masks.single(1))

    with pytest.raises(ValueError, match='is none within jit'):
        jax.jit(score)(np.ones((2, 3)))
