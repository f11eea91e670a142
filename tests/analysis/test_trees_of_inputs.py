"""Inputs that are trees, labels of tokens and masks: cut with the examples, and told apart."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.analysis import depth_measures, depth_use, effort, path_spectra, subjects
from resnet_dyn.kernels import depth_use as kernel
from resnet_dyn.models import placement, stack

DRAW = np.random.default_rng(5)
TOKENS = DRAW.integers(0, 6, (7, 4)).astype(np.int32)
MASK = np.arange(4) < np.array([4, 1, 3, 2, 4, 4, 2])[:, None]
EMBEDDING = DRAW.normal(size=(6, 5)).astype(np.float32)
LABELS = np.where(MASK, DRAW.integers(0, 6, (7, 4)), -1)
INPUTS = {'tokens': TOKENS, 'mask': MASK}


def stem(params, inputs):
    return params[inputs['tokens']] * inputs['mask'][..., None]


def branch(params, h):
    return jnp.tanh(h)


def head(params, h):
    return h @ params.T


def network():
    return stack.ResidualStack(EMBEDDING, (stack.Stage((), branch, 1),), EMBEDDING, stem, head)


def parts_of(net, inputs, labels, mask):
    return inputs['tokens'].sum(1), labels, mask


@pytest.mark.parametrize('devices', [1, 4])
@pytest.mark.parametrize('at_once', [3, 7])
def test_values_of_each_example_come_in_the_order_of_the_examples(at_once, devices):
    subject = subjects.of_networks([network(), network()], INPUTS, LABELS, mask=MASK)
    mesh = placement.kernel_mesh(jax.devices()[:devices]) if devices > 1 else None
    found = effort.by_example(parts_of, subject, effort.Effort(at_once, mesh=mesh))
    for given, expected in zip(found, (TOKENS.sum(1), LABELS, MASK), strict=True):
        np.testing.assert_array_equal(given, np.stack([expected] * 2))


def test_sums_of_what_is_masked_are_given_the_mask():
    subject = subjects.of_networks(network(), INPUTS, LABELS, mask=MASK)

    def counted(net, inputs, labels, mask):
        return mask.sum()

    assert effort.totals(counted, subject, effort.Effort(2), masked=True) == MASK.sum()


def test_depth_is_of_the_tokens_that_count():
    net = dataclasses.replace(
        network(), stem=lambda table, inputs: jnp.asarray(table)[inputs['tokens']]
    )
    inputs, labels, mask = stack.take((INPUTS, LABELS, MASK), slice(6))  # two parts of one shape
    subject = subjects.of_networks(net, inputs, labels, mask=mask)
    tokens = {'tokens': TOKENS[:6][mask][:, None], 'mask': np.ones((mask.sum(), 1), bool)}
    alone = subjects.of_networks(net, tokens, np.zeros((mask.sum(), 1), int))
    found, each = (depth_measures.measure(s, effort.Effort(3)) for s in (subject, alone))
    np.testing.assert_allclose(found.gains_SL, each.gains_SL, rtol=1e-5)
    padded = depth_use.measure(subject, effort.Effort(3))
    other = inputs | {'tokens': np.where(mask, TOKENS[:6], (TOKENS[:6] + 1) % 6)}
    again = depth_use.measure(subjects.of_networks(net, other, labels, mask=mask), effort.Effort(3))
    for one, two in zip(padded, again, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)
    single = MASK.sum(1) == 1  # an example of one token is that token by itself
    cut = {'tokens': TOKENS[single, :1], 'mask': MASK[single, :1]}
    wanted = kernel.sums(net, cut)
    found = kernel.sums(net, stack.take(INPUTS, single), MASK[single])
    for one, two in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


def test_whole_numbers_by_place_are_tokens_and_images_are_none():
    assert subjects.of_networks(network(), INPUTS, LABELS).examples.tokens
    images = subjects.Examples(np.zeros((2, 4, 4, 3), np.uint8), np.zeros(2, int))
    assert not images.tokens and not images._replace(inputs=np.zeros((2, 4))).tokens


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'labels': LABELS[:3]}, 'one label an example'),
        ({'labels': np.where(LABELS < 0, -2, LABELS)}, 'label -2 of example 1 is none of the 6'),
        ({'mask': MASK[:3]}, r'the mask has shape \(3, 4\)'),
        ({'inputs': INPUTS | {'mask': MASK[:3]}}, 'one label an example'),
    ],
)
def test_what_does_not_go_together_is_refused(given, message):
    given = {'inputs': INPUTS, 'labels': LABELS, 'mask': None} | given
    with pytest.raises(errors.DataError, match=message):
        subjects.of_networks(network(), given.pop('inputs'), given.pop('labels'), **given)


def masked(kernel, h, context):
    return jnp.tanh(h @ kernel) * context['mask'][..., None]


def entering(params, inputs, context):
    return params[inputs['tokens']]


def leaving(params, h, context):
    return h @ params.T


def context_of(inputs):
    return {'mask': jnp.asarray(inputs['mask'])}


def test_paths_of_blocks_that_know_the_inputs_sum_to_the_gradient():
    kernels = DRAW.normal(size=(3, 5, 5)).astype(np.float32)
    net = stack.ResidualStack(
        EMBEDDING,
        (stack.Stage(kernels, masked, 3),),
        EMBEDDING,
        entering,
        leaving,
        make_context=context_of,
    )
    subject = subjects.of_networks(net, INPUTS, LABELS)
    options = path_spectra.Options(probes=2)
    record = path_spectra.measure(subject, effort.Effort(), options)
    assert record.sum_norm_SR.min() > 0 and record.closure_S < 1e-5
