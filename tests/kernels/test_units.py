"""Every kernel on repeating units with a context, against their blocks one by one without either.

The reference has a stage for every block, and the mask closed over by the functions.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.kernels import (
    depth_use,
    growth,
    influence,
    interactions,
    lesions,
    masks,
    metrics,
    path_gradients,
    reorder,
)
from resnet_dyn.models import placement, seed_axis, stack, transforms

B, T, D, K, REPEATS, L = 4, 2, 3, 3, 2, 5
MASK_BT = np.array([[1, 1], [1, 0], [1, 1], [1, 0]], np.float32)
LABELS = np.arange(B) % K
RANDOM = np.random.default_rng(0)
INPUTS = {'x': RANDOM.normal(size=(B, T, D)).astype(np.float32), 'mask': MASK_BT}


def draw(*shape):
    return RANDOM.normal(size=shape).astype(np.float32)


def make_context(inputs):
    return {'seen': inputs['mask'][..., None]}


def stem(params, inputs, context):
    return inputs['x'] @ params * context['seen']


def mix(params, h, context):
    """Tokens that count tell each other their mean."""
    seen = context['seen']
    mean = (h * seen).sum(1, keepdims=True) / seen.sum(1, keepdims=True)
    return jnp.tanh((h + mean) @ params['own'])


def mlp(params, h, context):
    return jnp.sin(h @ params['wide']) @ params['narrow'] * context['seen']


def norm(params, total, context):
    """The norm of a post-LN block, with parameters, of tokens that count."""
    size = jnp.sqrt((total**2).mean(-1, keepdims=True) + 0.1)
    return total / size * params['scale'] * context['seen']


def half(params, h, context):
    return h @ params['skip'] + 0.1 * context['seen']


def head(params, h, context):
    return (h * context['seen']).sum(1) @ params


@dataclasses.dataclass(frozen=True)
class Without:
    """A function that takes a context, as one that knows it."""

    function: object

    def __call__(self, params, given):
        return self.function(params, given, {'seen': jnp.asarray(MASK_BT[..., None])})


def kinds(repeats):
    """The stages of a unit: post-LN, pre-LN and one with a skip and a merge of the total."""
    scale = 1 + draw(repeats, 1, 1, D) / 4
    own, wide, narrow = draw(repeats, D, D), draw(repeats, D, 5), draw(repeats, 5, D)
    return (
        stack.Stage({'own': own, 'scale': scale}, mix, repeats, merge=norm),
        stack.Stage({'wide': wide, 'narrow': narrow}, mlp, repeats),
    )


def last(length):
    params = {'own': draw(length, D, D), 'skip': draw(length, D, D)}
    return stack.Stage(params, mix, length, half, jnp.tanh)


def network(*stages):
    net = stack.ResidualStack(draw(D, D), stages, draw(D, K), stem, head, make_context=make_context)
    return stack.on_device(net)


def one_by_one(net):
    """The same blocks, each a stage of length 1, without a context."""

    def known(function):
        takes_one = function is None or function is jnp.tanh
        return function if takes_one else Without(function)

    stages = [
        stack.Stage(
            jax.tree.map(lambda a, i=i: a[i : i + 1], kind.params),
            known(kind.branch),
            1,
            known(kind.skip),
            known(kind.merge),
        )
        for stage in net.stages
        for i in range(stage.kinds[0].length)
        for kind in stage.kinds
    ]
    return stack.ResidualStack(
        net.stem_params, tuple(stages), net.head_params, known(stem), known(head)
    )


NET = network(stack.Unit(kinds(REPEATS)), last(1))
FLAT = one_by_one(NET)


def loss(logits):
    return metrics.mean_loss(logits, LABELS)


def size(g):
    return (g**2).sum()


def key():
    return jax.random.key(0)


METRICS = ('logits', 'loss')
ALL = masks.all_masks(L)


def score(masks_ML, width=4, **options):
    options = {'width': width, **options}
    return lambda net: lesions.score(net, INPUTS, LABELS, masks_ML, METRICS, **options)


@functools.cache
def scores_of_all():
    return score(ALL)(NET)


def scores_of(masks_ML):
    """What a walk over all masks gives for some of them."""
    rows = [np.flatnonzero((mask == ALL).all(1))[0] for mask in masks_ML]
    return {name: values[rows] for name, values in scores_of_all().items()}


def ablated(net):
    return jax.jit(jax.vmap(stack.apply, (None, None, 0)))(
        lesions.mean_ablated(net, INPUTS), INPUTS, masks.single(L)
    )


def along(net):
    g = growth.gradient(net, INPUTS, loss)
    return [growth.along(net, INPUTS, loss, g), sum((w**2).sum() for w in g)]


ORDERS = [
    (1, 0, 2, 3, 4),
    (4, 3, 2, 1, 0),
    (0, 0, 3, 3, 2),
    (0, (1, 3), 2, 4),
    ((2, 0), 1, 4, 3),
    (),
]
KERNELS = {
    'exhaustive': score(ALL),
    'reorder': lambda net: reorder.score(net, INPUTS, LABELS, ORDERS, METRICS, width=4),
    'at_blocks': lambda net: path_gradients.by_length_at_blocks(net, INPUTS, loss, size),
    'forward': lambda net: path_gradients.forward_by_length(net, INPUTS),
    'depth_use': lambda net: depth_use.sums(net, INPUTS),
}
THE_REST = {
    'second_moments': lambda net: stack.second_moments(net, INPUTS),
    'by_length': lambda net: path_gradients.by_length(net, INPUTS, loss),
    'token': lambda net: influence.measure(net, INPUTS, loss, 'token', MASK_BT),
    'first_order': lambda net: lesions.first_order(net, INPUTS, LABELS),
    'energies': lambda net: path_gradients.energies(net, INPUTS, loss, key(), 3, per_example=True),
    'mean_ablated': ablated,
    'sampled': lambda net: path_gradients.sampled(net, INPUTS, loss, key(), 3, 4),
    'along': jax.jit(along),
    'scaled': score(np.linspace(-1, 2, 5 * L).reshape(5, L)),
    'narrow': score(masks.up_to(L, 2), width=1),
    'greedy': lambda net: lesions.greedy(net, INPUTS, LABELS, 3),
    'random_curve': lambda net: lesions.random_curve(net, INPUTS, LABELS, key(), [2, 3], 4),
    'shapley': lambda net: interactions.sampled_shapley(net, INPUTS, LABELS, key(), 3),
    'example': lambda net: influence.measure(net, INPUTS, loss, 'example', MASK_BT),
    'last': lambda net: influence.measure(net, INPUTS, loss, 'last', MASK_BT),
    'plain': lambda net: influence.measure(net, INPUTS, loss),
    'through_stem': lambda net: path_gradients.by_length(
        net, INPUTS, loss, order=2, through_stem=True, lengths_at_once=1
    )['x'],
    'spectrum': lambda net: path_gradients.spectrum(net, INPUTS, loss, key(), 2),
    'path_gradient': lambda net: path_gradients.path_gradient(
        net, INPUTS, loss, np.array([1, 0, 1, 1, 0.0])
    ),
    'forward, order 2': lambda net: path_gradients.forward_by_length(net, INPUTS, order=2),
}


def assert_same(found, expected):
    found, expected = map(jax.tree.leaves, (found, expected))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        scale = np.nanmax(np.abs(b), initial=1e-3)
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * scale)


@pytest.mark.parametrize('kernel', KERNELS)
def test_a_kernel_sees_no_difference_between_units_and_their_blocks(kernel):
    assert_same(KERNELS[kernel](NET), KERNELS[kernel](FLAT))


@pytest.mark.slow
@pytest.mark.parametrize('kernel', THE_REST)
def test_no_option_of_a_kernel_sees_a_difference(kernel):
    assert_same(THE_REST[kernel](NET), THE_REST[kernel](FLAT))


WAYS = {
    'one by one': {'examples_at_once': 1, 'width': 1},
    'on a mesh': {'mesh': {'mask': 2, 'data': 2}},
    'in parts on a mesh, one left over': {'mesh': {'mask': 1, 'data': 2}, 'examples_at_once': 3},
}


@pytest.mark.parametrize('way', WAYS)
def test_the_context_is_cut_and_sharded_with_the_examples(way):
    options = dict(WAYS[way])
    if 'mesh' in options:
        options['mesh'] = placement.kernel_mesh(sizes=options['mesh'])
    every = masks.up_to(L, 1)
    assert_same(score(every, **options)(NET), scores_of(every))


def networks(number):
    stages = [stack.Unit(kinds(REPEATS)), last(1)]
    return [network(*jax.tree.map(lambda a, s=s: a * (1 + s / 4), stages)) for s in range(number)]


def test_a_kernel_of_networks_together_is_that_of_each():
    nets = networks(2)
    found = [
        seed_axis.of_stacks(stack.second_moments, nets, how, INPUTS) for how in ('vmap', 'map')
    ]
    assert_same(*found)


@pytest.mark.parametrize('repeats', [1, REPEATS])
def test_a_unit_of_one_kind_is_a_stage_and_one_repeat_its_blocks(repeats):
    first, second = kinds(repeats)
    every = masks.all_masks(2 * repeats)[:: repeats**2]
    unit = network(stack.Unit((first,)), stack.Unit((second,)))
    stages = transforms.with_stages(unit, (first, second))
    assert_same(score(every)(unit), score(every)(stages))
    assert_same(path_gradients.by_length(unit, INPUTS, loss), by_length_of(stages))


def by_length_of(net):
    return path_gradients.by_length(net, INPUTS, loss)


def test_what_stands_at_tokens_that_do_not_count_changes_nothing():
    labels_BT = np.where(MASK_BT > 0, np.arange(B * T).reshape(B, T) % K, -1)

    def at_tokens(params, h, context):
        return h @ params

    net, every = dataclasses.replace(NET, head=at_tokens), masks.single(L)
    found = lesions.score(net, INPUTS, labels_BT, every)
    padded = {**INPUTS, 'x': np.where(MASK_BT[..., None] > 0, INPUTS['x'], 7)}
    assert_same(lesions.score(net, padded, labels_BT, every), found)
