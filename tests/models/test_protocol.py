"""Units that repeat, merges with parameters, the context of the inputs, and inputs that are trees.

The network is a small post-LN transformer whose blocks are written twice: as a unit of attention
and MLP, and as a loop over layers in NumPy.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
from jax import lax

from resnet_dyn.analysis import subjects
from resnet_dyn.kernels import influence, interactions, lesions, masks, path_gradients, reorder
from resnet_dyn.models import seed_axis, stack

LAYERS, WIDTH, WORDS = 3, 4, 7
L = 2 * LAYERS
LABELS = np.array([[1, 2, 3, 4, 5], [0, 6, 2, -1, -1], [3, 3, -1, -1, -1], [5, 1, 0, 2, -1]])
INPUTS = {
    'tokens': np.array([[1, 2, 3, 4, 5], [6, 0, 6, 0, 0], [3, 3, 0, 0, 0], [2, 5, 1, 0, 0]]),
    'mask': LABELS >= 0,
}


def norm(gamma, x):
    x = x - x.mean(-1, keepdims=True)
    return gamma[None, None] * x * lax.rsqrt((x**2).mean(-1, keepdims=True) + 1e-5)


def context_of(inputs):
    return {'mask': inputs['mask'], 'place': jnp.cos(jnp.arange(5.0)[None] * inputs['mask'])}


def embed(table, inputs, context):
    return table[inputs['tokens']] + context['place'][..., None]


def attend(params, h, context):
    scores = (h @ params['key']) @ jnp.swapaxes(h, 1, 2)
    scores = jnp.where(context['mask'][:, None], scores, -1e9)
    return jax.nn.softmax(scores, -1) @ h @ params['value']


def transform(params, h, context):
    return jnp.tanh(h @ params['up']) @ params['down'] * context['mask'][..., None]


def normed(params, total, context):
    return norm(params['gamma'], total) + 0.1 * context['place'][..., None]


def read(table, h, context):
    return h @ table.T


@functools.cache
def parts(seed=0):
    """Of the words, of attention and of MLPs, in float32."""
    draw = np.random.default_rng(seed).normal

    def arrays(**shapes):
        return {name: draw(size=(LAYERS, *shape), scale=0.7) for name, shape in shapes.items()}

    square = (WIDTH, WIDTH)
    attention = arrays(key=square, value=square, gamma=(WIDTH,))
    mlp = arrays(up=(WIDTH, 6), down=(6, WIDTH), gamma=(WIDTH,))
    return jax.tree.map(np.float32, (draw(size=(WORDS, WIDTH)), attention, mlp))


def unit_net(seed=0):
    table, attention, mlp = parts(seed)
    kinds = (
        stack.Stage(attention, attend, LAYERS, merge=normed),
        stack.Stage(mlp, transform, LAYERS, merge=normed),
    )
    return stack.ResidualStack(
        table, (stack.Unit(kinds),), table, embed, read, make_context=context_of
    )


def by_hand(gates_L, inputs=INPUTS, seed=0, order=None):
    """The logits in float64, block by block."""
    table, attention, mlp = jax.tree.map(np.float64, parts(seed))
    mask = inputs['mask']
    place = np.cos(np.arange(5) * mask)[..., None]
    h = table[inputs['tokens']] + place
    for block in range(L) if order is None else order:
        own = {name: leaf[block // 2] for name, leaf in (attention, mlp)[block % 2].items()}
        if block % 2 == 0:
            scores = np.where(mask[:, None], h @ own['key'] @ h.swapaxes(1, 2), -1e9)
            branch = scipy.special.softmax(scores, -1) @ h @ own['value']
        else:
            branch = np.tanh(h @ own['up']) @ own['down'] * mask[..., None]
        total = h + gates_L[block] * branch
        total = total - total.mean(-1, keepdims=True)
        size = np.sqrt((total**2).mean(-1, keepdims=True) + 1e-5)
        h = own['gamma'] * total / size + 0.1 * place
    return h @ table.T


def loss(logits):
    return (jnp.sin(logits) * INPUTS['mask'][: len(logits), :, None]).sum()


@pytest.mark.parametrize('gates_L', [np.ones(L), np.zeros(L), np.linspace(-1, 2, L)])
def test_a_unit_is_its_blocks_in_turn(gates_L):
    net = unit_net()
    assert net.num_blocks == L
    found = jax.jit(stack.apply)(net, INPUTS, gates_L)
    np.testing.assert_allclose(found, by_hand(gates_L), rtol=1e-5, atol=1e-5)


def test_masks_see_the_context_of_their_part_of_the_examples():
    every, labels = masks.up_to(L, 2), LABELS
    found = lesions.score(unit_net(), INPUTS, labels, every, ('loss', 'logits'), examples_at_once=2)
    expected = np.stack([by_hand(mask) for mask in every])
    np.testing.assert_allclose(found['logits'], expected, rtol=1e-5, atol=1e-5)
    log_p = scipy.special.log_softmax(expected, -1)
    nats = -np.take_along_axis(log_p, np.maximum(labels, 0)[None, ..., None], -1)[..., 0]
    of_each = np.where(labels >= 0, nats, 0).sum(-1) / (labels >= 0).sum(-1)
    np.testing.assert_allclose(found['loss'], of_each.mean(-1), rtol=1e-5)


def test_whole_layers_go_as_groups():
    net, groups = unit_net(), [(0, 1), (2, 3), (4, 5)]
    expected = [[1, 1, 0, 0, 0, 0], [0, 0, 1, 1, 1, 1]]
    np.testing.assert_array_equal(masks.of_groups([[1, 0, 0], [0, 1, 1]], groups, L), expected)
    found = lesions.greedy(net, INPUTS, LABELS, groups=groups)
    first = lesions.score(net, INPUTS, LABELS, masks.of_groups(masks.single(3), groups, L))['loss']
    assert sorted(found.deleted_J) == [0, 1, 2]
    assert (found.deleted_J[0], found.value_J[0]) == (first.argmin(), first.min())
    with pytest.raises(ValueError, match='at most once'):
        masks.of_groups(np.ones((1, 2)), [(0, 1), (1, 2)], L)


def test_orders_of_a_unit_are_its_blocks_one_by_one():
    orders = [reorder.swap(L, 0, 3), reorder.reverse(L, 1, 6), reorder.repeat(L, 2, 2)]
    found = reorder.score(unit_net(), INPUTS, None, orders, ('logits',))['logits']
    expected = [by_hand(np.ones(L), order=order) for order in orders]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_path_lengths_of_a_unit_sum_to_the_gradient_and_to_the_linearised_signal():
    net = unit_net()

    @jax.jit
    def derivatives(net):
        known, h_0 = stack.enter(net, INPUTS)

        def from_h0(h):
            def body(*given):
                return stack.block(*given), None

            for stage in known.stages:
                h, _ = stack.scan_stage(stage, body, h, jnp.ones(L))
            return h

        gradient = jax.grad(lambda h: loss(read(net.head_params, from_h0(h), known.context)))(h_0)
        return gradient, jax.jvp(from_h0, (h_0,), (h_0,))[1]

    gradient, signal = derivatives(net)
    lengths_R = np.asarray(path_gradients.by_length(net, INPUTS, loss))
    np.testing.assert_allclose(lengths_R.sum(0), gradient, rtol=1e-5, atol=1e-5)
    forward_R = np.asarray(path_gradients.forward_by_length(net, INPUTS))
    np.testing.assert_allclose(forward_R.sum(0), signal, rtol=1e-5, atol=1e-5)
    paths = masks.exactly(L, L - 2)  # 1 where the branch is taken
    alone = [np.asarray(path_gradients.path_gradient(net, INPUTS, loss, path)) for path in paths]
    np.testing.assert_allclose(lengths_R[2], sum(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('how', ['map', 'vmap'])
def test_networks_of_units_share_the_context(how):
    nets, every = [unit_net(0), unit_net(1)], masks.single(L)
    found = lesions.score_seeds(nets, INPUTS, LABELS, every, ('logits',), how=how)['logits']
    expected = [[by_hand(mask, seed=s) for mask in every] for s in (0, 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_mean_ablated_unit_keeps_its_open_gates_and_its_means():
    net = unit_net()
    ablated = lesions.mean_ablated(net, INPUTS)
    found = jax.jit(stack.apply)(ablated, INPUTS, np.ones(L))
    np.testing.assert_allclose(found, by_hand(np.ones(L)), rtol=1e-4, atol=1e-4)
    branch, _, _ = states_by_hand()[1][0]
    _, amounts = ablated.stages[0].kinds[0].params
    np.testing.assert_allclose(np.asarray(amounts)[0, 0], branch.mean(0), rtol=1e-5, atol=1e-6)


def test_moments_and_shapley_values_follow_the_blocks_of_a_unit():
    net = unit_net()
    moments = stack.second_moments(net, INPUTS)
    _, seen = states_by_hand()
    for found, added in zip(moments, list(zip(*seen, strict=True))[:2], strict=True):
        np.testing.assert_allclose(found, [(a**2).mean() for a in added], rtol=1e-5)
    values = lesions.score(net, INPUTS, LABELS, masks.all_masks(L))['loss']
    shares = interactions.shapley(values)
    np.testing.assert_allclose(shares.sum(), values[-1] - values[0], rtol=1e-4, atol=1e-6)


@functools.cache
def states_by_hand():
    """h_0, ..., h_L in float64, and (branch, skip, output) of each block."""

    @jax.jit
    def run(net):
        known, h = stack.enter(net, INPUTS)
        states, seen = [h], []
        for kind, index in stack.blocks(known):
            params = stack.block_params(kind, index)
            branch, skip = stack.addends(kind, params, h, 1.0)
            h = stack.join(kind, params, branch, skip)
            states.append(h)
            seen.append((branch, skip, h))
        return states, seen

    return jax.tree.map(lambda a: np.asarray(a, np.float64), run(unit_net()))


def vectors(x, over, mask):
    """The vectors that count, one a row."""
    if over == 'token':
        return x[mask]
    if over == 'last':
        return np.stack([row[np.flatnonzero(here)[-1]] for row, here in zip(x, mask, strict=True)])
    return (x * mask[..., None]).reshape(len(x), -1)


@pytest.mark.slow_but('True-example', 'True-token', 'True-last')
@pytest.mark.parametrize('over', influence.OVER)
@pytest.mark.parametrize('masked', [True, False])
def test_influence_is_of_the_vectors_that_count(over, masked):
    mask = INPUTS['mask'] if masked else np.ones_like(INPUTS['mask'])
    given = mask if masked else None
    found = influence.measure(unit_net(), INPUTS, loss, over=over, mask=given)
    states, seen = states_by_hand()

    def cosine(u, v):
        u, v = vectors(u, over, mask), vectors(v, over, mask)
        return (u * v).sum(-1) / np.linalg.norm(u, axis=-1) / np.linalg.norm(v, axis=-1)

    expected = [(1 - cosine(skip, output)).mean() for _, skip, output in seen]
    np.testing.assert_allclose(found.block_influence_L, expected, rtol=1e-4, atol=1e-6)
    angles = [[np.arccos(np.clip(cosine(u, v), -1, 1)).mean() for v in states] for u in states]
    np.testing.assert_allclose(
        found.angular_distance_NN, np.array(angles) / np.pi, rtol=1e-4, atol=1e-4
    )


def test_the_gradient_cosine_counts_tokens_alike():
    net, mask = unit_net(), INPUTS['mask']
    found = influence.measure(net, INPUTS, loss, over='token', mask=mask)
    _, seen = states_by_hand()

    @jax.jit
    @jax.grad
    def gradient_of(total):
        known, _ = stack.enter(net, INPUTS)
        (kind, index), *others = stack.blocks(known)
        h = stack.merge_of(kind, stack.block_params(kind, index))(total)
        for other, i in others:
            h = stack.block(other, stack.block_params(other, i), h, None)
        return loss(stack.head(known, h))

    branch, skip, _ = seen[0]
    gradient = np.asarray(gradient_of(np.float32(branch + skip)), np.float64)
    u, v = branch[mask], gradient[mask]
    sizes = np.linalg.norm(u, axis=-1) * np.linalg.norm(v, axis=-1)
    np.testing.assert_allclose(
        found.gradient_cosine_L[0], ((u * v).sum(-1) / sizes).mean(), rtol=1e-3, atol=1e-5
    )


def test_a_merge_says_by_its_arguments_what_it_takes():
    def of_both(params, total):
        return params * total

    branches, params = [lambda p, h: jnp.sin(h)] * 2, [jnp.float32(2), jnp.float32(3)]
    x, gates = jnp.ones((2, 3)), np.ones(2)

    def logits(merge, params):
        net = stack.from_functions(lambda x: x, branches, lambda h: h, merge=merge, params=params)
        return stack.apply(net, x, gates)

    h = x
    for factor in (2, 3):
        h = factor * (h + jnp.sin(h))
    np.testing.assert_allclose(logits(of_both, params), h, rtol=1e-6)
    twice = x
    for _ in range(2):
        twice = jax.nn.relu(twice + jnp.sin(twice))
    for merge in (jax.nn.relu, functools.partial(jnp.maximum, 0.0), lambda total: abs(total)):
        np.testing.assert_allclose(logits(merge, params), twice, rtol=1e-6)


def test_functions_of_h_take_the_context_behind_it():
    inputs = {'x': jnp.arange(6.0).reshape(2, 3), 'shift': jnp.float32([1, 2])}
    net = stack.from_functions(
        lambda inputs, c: inputs['x'],
        [lambda h, c: jnp.sin(h) * c[:, None]] * 2,
        lambda h, c: h - c[:, None],
        merge=lambda total, c: total + c[:, None],
        make_context=lambda inputs: inputs['shift'],
        names=['first', 'second'],
        groups=[[0, 1]],
    )
    c, h = inputs['shift'][:, None], inputs['x']
    for _ in range(2):
        h = h + jnp.sin(h) * c + c
    np.testing.assert_allclose(stack.apply(net, inputs, np.ones(2)), h - c, rtol=1e-6)
    assert (net.names, net.groups) == (('first', 'second'), ((0, 1),))
    on_host = jax.tree.map(np.asarray, unit_net())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(on_host.to_device()))


def test_what_does_not_fit_is_refused():
    net = unit_net()
    with pytest.raises(ValueError, match='led by one number of examples'):
        stack.apply(net, {**INPUTS, 'mask': INPUTS['mask'][:2]}, np.ones(L))
    with pytest.raises(ValueError, match='takes the context of its inputs'):
        stack.head(net, stack.stem(net, INPUTS))
    first, second = net.stages[0].kinds
    short = stack.Stage(jax.tree.map(lambda a: a[:2], second.params), transform, 2, merge=normed)
    with pytest.raises(ValueError, match=r'lengths \[3, 2\]'):
        stack.num_blocks(stack.ResidualStack((), (stack.Unit((first, short)),), (), embed, read))
    with pytest.raises(ValueError, match="over='word'"):
        influence.measure(net, INPUTS, loss, over='word')
    with pytest.raises(ValueError, match='a mask of shape'):
        influence.measure(net, INPUTS, loss, over='token', mask=np.ones((4, 2), bool))
    with pytest.raises(ValueError, match='label -2 of example 0'):
        lesions.score(net, INPUTS, LABELS - 2 * (LABELS == 1) - (LABELS == 1), np.ones(L))
    assert seed_axis.over_seeds([net, unit_net(1)]).stages[0].length == L


def plain(params, length, context=None):
    def branch(p, h, *context):
        return h

    stages = (stack.Stage(params, branch, length),) if length is not None else ()
    return stack.ResidualStack((), stages, (), branch, branch, make_context=context)


@pytest.mark.parametrize('kernel', ['apply', 'score'])
@pytest.mark.parametrize(
    ('net', 'message'),
    [
        (plain({'w': np.ones((3, 2))}, 4), r"params\['w'\] of a stage of length=4 .* \(3, 2\)"),
        (plain({'w': np.ones((5, 2))}, 4), r'led by its blocks'),
        (plain(np.ones(()), 1), r'has shape \(\)'),
        (plain((), 2, lambda x: {'mean': x.mean(0)}), r'of shape \(2,\) for 4 examples'),
    ],
)
def test_parameters_are_led_by_blocks_and_contexts_by_examples(net, message, kernel):
    masks_ML, x = np.ones((1, net.num_blocks), np.float32), np.ones((4, 2), np.float32)
    with pytest.raises(ValueError, match=message):
        if kernel == 'apply':
            stack.apply(net, x, masks_ML[0])
        else:
            lesions.score(net, x, np.zeros(4, int), masks_ML)


@pytest.mark.parametrize('net', [plain((), None), plain((), 0)])
def test_a_network_without_blocks_has_outputs_and_no_measures(net):
    x, labels = np.ones((4, 2), np.float32), np.zeros(4, int)
    np.testing.assert_array_equal(stack.apply(net, x, np.ones(0)), x)
    for measure in (
        lambda: stack.second_moments(net, x),
        lambda: lesions.score(net, x, labels, np.ones((1, 0))),
        lambda: reorder.score(net, x, labels, [()]),
        lambda: subjects.of_networks(net, x, labels),
    ):
        with pytest.raises(ValueError, match='0 blocks has nothing to measure'):
            measure()


def test_blocks_of_a_loop_that_change_the_dtype_of_h_are_refused_by_it():
    wide = stack.Stage(np.ones((2, 1, 1), np.float32), lambda w, h: w * h, 2)
    net = stack.ResidualStack((), (wide,), (), lambda p, x: x.astype(jnp.float16), lambda p, h: h)
    with pytest.raises(ValueError, match=r'h is float16\[4, 2\] before and float32\[4, 2\] behind'):
        stack.apply(net, np.ones((4, 2), np.float32), np.ones(2))


@pytest.mark.parametrize('inputs', [np.array(['to be', 'or not']), ['to be', 'or not']])
def test_inputs_that_are_no_numbers_are_refused(inputs):
    with pytest.raises(ValueError, match='token ids'):
        lesions.score(plain((), 2), inputs, np.zeros(2, int), np.ones(2))
