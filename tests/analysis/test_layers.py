"""Whole layers: deleted, swapped, greedily left out; tokens that count in influence and spectra."""

import dataclasses
import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.analysis import (
    block_influence,
    effort,
    interaction_spectra,
    layer_swaps,
    lesion_curves,
    requirements,
    subjects,
)
from resnet_dyn.kernels import interactions, lesions, masks
from resnet_dyn.models import stack
from resnet_dyn.reports import measures, said

DRAW = np.random.default_rng(2)
LAYERS = ((0, 1), (2, 3), (4, 5))
KERNELS = DRAW.normal(size=(6, 5, 5)).astype(np.float32)
EMBEDDING = DRAW.normal(size=(8, 5)).astype(np.float32)
TOKENS = DRAW.integers(0, 8, (6, 4)).astype(np.int32)
MASK = np.arange(4) < np.array([4, 4, 3, 2, 1, 4])[:, None]
LABELS = np.where(MASK, DRAW.integers(0, 8, (6, 4)), -1)


def stem(params, inputs):
    return params[inputs['tokens']]


def branch(kernel, h):
    return jnp.tanh(h @ kernel)


def head(params, h):
    return h @ params.T


NET = stack.ResidualStack(
    EMBEDDING, (stack.Stage(KERNELS, branch, 6),), EMBEDDING, stem, head, groups=LAYERS
)
SUBJECT = subjects.of_networks(NET, {'tokens': TOKENS}, LABELS, mask=MASK)
EFFORT = effort.Effort(at_once=3)  # two parts of one shape


def logits(order):
    h = EMBEDDING[TOKENS].astype(float)
    for block in order:
        h = h + np.tanh(h @ KERNELS[block])
    return h @ EMBEDDING.T


def losses(order):
    """Of each example the mean over its tokens that count."""
    values = logits(order)
    log_p = values - np.log(np.exp(values).sum(-1, keepdims=True))
    each = -np.take_along_axis(log_p, np.maximum(LABELS, 0)[..., None], -1)[..., 0]
    return (each * MASK).sum(1) / MASK.sum(1)


def loss(order):
    return losses(order).mean()


def kept(order):
    same = logits(order).argmax(-1) == logits(range(6)).argmax(-1)
    return ((same * MASK).sum(1) / MASK.sum(1)).mean()


def without(*layers):
    return [block for u, layer in enumerate(LAYERS) if u not in layers for block in layer]


def test_layers_are_deleted_and_swapped_as_wholes_part_by_part():
    record = layer_swaps.measure(SUBJECT, EFFORT)
    np.testing.assert_allclose(record.full_loss_S, loss(range(6)), rtol=1e-5)
    deleted = [without(u) for u in range(3)]
    np.testing.assert_allclose(record.deleted_kept_SU[0], list(map(kept, deleted)), atol=1e-6)
    np.testing.assert_allclose(record.deleted_loss_SU[0], list(map(loss, deleted)), rtol=1e-5)
    swapped = [[2, 3, 0, 1, 4, 5], [0, 1, 4, 5, 2, 3]]
    np.testing.assert_allclose(record.swapped_kept_SW[0], list(map(kept, swapped)), atol=1e-6)
    np.testing.assert_allclose(record.swapped_loss_SW[0], list(map(loss, swapped)), rtol=1e-5)
    assert 0 < record.deleted_kept_SU.min() < 1


def test_greedy_leaves_out_whole_layers():
    options = lesion_curves.GreedyOptions(of='layers')
    record = lesion_curves.greedy(SUBJECT, EFFORT, options)
    first = min(range(3), key=lambda u: loss(without(u)))
    second = min({0, 1, 2} - {first}, key=lambda u: loss(without(first, u)))
    assert list(record.deleted_SL[0][:2]) == [first, second]
    expected = [loss(range(6)), loss(without(first)), loss(without(first, second)), loss([])]
    np.testing.assert_allclose(record.loss_SJ[0], expected, rtol=1e-5)
    (line,) = said.greedy(record, SUBJECT.names)
    assert line.startswith(f'network 0 loses, in this order: layer {first}, layer {second}')


def test_blocks_of_no_layer_stay_where_they_are():
    net = dataclasses.replace(NET, groups=((4, 5), (2, 1)))  # in any order
    assert net.groups == ((1, 2), (4, 5))
    subject = subjects.of_networks(net, {'tokens': TOKENS}, LABELS, mask=MASK)
    record = layer_swaps.measure(subject, EFFORT)
    deleted = [loss([0, 3, 4, 5]), loss([0, 1, 2, 3])]
    np.testing.assert_allclose(record.deleted_loss_SU[0], deleted, rtol=1e-5)
    np.testing.assert_allclose(record.swapped_loss_SW[0], [loss([0, 4, 5, 3, 1, 2])], rtol=1e-5)
    found = lesion_curves.greedy(subject, EFFORT, lesion_curves.GreedyOptions(of='layers'))
    np.testing.assert_allclose(found.loss_SJ[0][-1], loss([0, 3]), rtol=1e-5)
    assert 'leave blocks out' in requirements.layers_in_a_row(subject, None, None)
    assert requirements.layers_in_a_row(SUBJECT, None, None) == ''


def test_layers_within_each_other_are_deleted_and_not_swapped():
    net = dataclasses.replace(NET, groups=((0, 2), (1, 3), (4,), (5,)))
    subject = subjects.of_networks(net, {'tokens': TOKENS}, LABELS, mask=MASK)
    record = layer_swaps.measure(subject, EFFORT)
    assert np.isnan(record.swapped_loss_SW[0]).tolist() == [True, True, False]
    np.testing.assert_allclose(record.swapped_loss_SW[0, 2], loss([0, 1, 2, 3, 5, 4]), rtol=1e-5)
    np.testing.assert_allclose(record.deleted_loss_SU[0, 1], loss([0, 2, 4, 5]), rtol=1e-5)


def test_the_mean_in_place_of_a_block_is_over_the_tokens_that_count():
    h = EMBEDDING[TOKENS].astype(float)
    for block in range(6):
        added = np.tanh(h @ KERNELS[block])
        if block == 2:
            counts_T1 = MASK.sum(0)[:, None]
            added = (added * MASK[..., None]).sum(0) / counts_T1
        h = h + added
    expected = h @ EMBEDDING.T
    mask = np.concatenate([MASK, np.zeros((6, 1), bool)], 1)  # a place that nobody has
    tokens = np.concatenate([TOKENS, TOKENS[:, :1]], 1)
    ablated = lesions.mean_ablated(NET, {'tokens': tokens}, mask)
    gates = np.ones((1, 6))
    gates[0, 2] = 0
    found = lesions.score(ablated, {'tokens': tokens}, None, gates, 'logits')['logits'][0]
    np.testing.assert_allclose(found[:, :4], expected, rtol=1e-4, atol=1e-5)
    assert np.isfinite(found).all()
    with pytest.raises(ValueError, match=r'mask of shape \(5, 6\) .* gives \(6, 5, '):
        lesions.mean_ablated(NET, {'tokens': tokens}, mask.T)


@pytest.mark.parametrize(
    'groups',
    [(), ((0, 1), ()), ((0, 1), (1, 2)), ((0, 6),), ((0, -1),), ((0, 0),), (('0.mlp',),), (0,)],
)
def test_groups_that_cannot_be_are_refused_where_a_network_is_made_or_they_are_given(groups):
    for use in (
        lambda: dataclasses.replace(NET, groups=groups),
        lambda: masks.of_groups(np.ones((1, len(groups))), groups, 6),
        lambda: lesions.greedy(NET, {'tokens': TOKENS}, LABELS, groups=groups),
    ):
        with pytest.raises(errors.UserError, match=r'each of 0\.\.5 at most once'):
            use()


def test_layers_are_asked_for_where_there_are_some():
    options = lesion_curves.GreedyOptions(of='layers')
    alone = subjects.of_networks(
        stack.ResidualStack(EMBEDDING, NET.stages, EMBEDDING, stem, head),
        {'tokens': TOKENS},
        LABELS,
    )
    assert requirements.layers(SUBJECT, None, options) == ''
    assert 'groups' in requirements.layers(alone, None, options)


@pytest.mark.parametrize('over', ['auto', 'last'])
def test_influence_is_of_the_tokens_that_count_whatever_goes_at_once(over):
    options = block_influence.Options(over)
    found = block_influence.measure(SUBJECT, EFFORT, options)
    hidden = [EMBEDDING[TOKENS].astype(float)]
    for kernel in KERNELS:
        hidden.append(hidden[-1] + np.tanh(hidden[-1] @ kernel))
    units_NBTD = np.stack([h / np.linalg.norm(h, axis=-1, keepdims=True) for h in hidden])
    counted = MASK if over == 'auto' else np.arange(4) == MASK.sum(1, keepdims=True) - 1
    units_NCD = units_NBTD[:, counted]
    cosines_NNC = np.einsum('icd,jcd->ijc', units_NCD, units_NCD).clip(-1, 1)
    angles_NN = np.arccos(cosines_NNC).mean(-1) / np.pi
    np.testing.assert_allclose(found.angular_distance_SNN[0], angles_NN, rtol=1e-4, atol=1e-6)
    influence_L = 1 - cosines_NNC[range(6), range(1, 7)].mean(-1)
    np.testing.assert_allclose(found.block_influence_SL[0], influence_L, rtol=1e-4, atol=1e-6)


def test_spectra_of_tokens_are_of_the_loss_of_each_example():
    options = interaction_spectra.Options()
    record = interaction_spectra.measure(SUBJECT, EFFORT, options)
    losses_MB = np.array(
        [
            losses([l for l in range(6) if kept_L[5 - l]])
            for kept_L in itertools.product((0, 1), repeat=6)
        ]
    )
    shapley_L = interactions.shapley(losses_MB.mean(1))
    np.testing.assert_allclose(record.variance_S, losses_MB.var(0).mean(), rtol=1e-4)
    np.testing.assert_allclose(record.shapley_loss_SL[0], shapley_L, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(record.walsh_SR[0, 1:].sum(), record.variance_S[0], rtol=1e-4)


def test_orders_and_spans_are_said_by_name():
    names = subjects.Names(('net',), ('a', 'b', 'c'))
    distance_NN = np.array([[0, 3, 4, 9], [3, 0, 1, 5], [4, 1, 0, 2], [9, 5, 2, 0]]) / 10
    record = block_influence.Influences(
        np.array(0), None, np.array([[0.3, 0.1, 0.2]]), None, distance_NN[None]
    )
    lines = said.influences(record, names)
    assert lines[1].strip() == 'b, c, a'
    assert [line.strip() for line in lines[3:]] == [
        '1: b (0.100)',
        '2: a to b (0.400)',
        '3: a to c (0.900)',
    ]


def test_every_measure_that_says_lines_has_them_of_its_record():
    for name in ('layer_swaps', 'effective_depth'):
        row = measures.MEASURES[name]
        record = row.function(SUBJECT, EFFORT, row.options())
        assert all(isinstance(line, str) for line in row.lines(record, SUBJECT.names))
