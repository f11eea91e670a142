"""Networks that are not ours become stacks in a few lines: functions, a transformer, deep nets."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from resnet_dyn.kernels import lesions, masks, metrics, path_gradients
from resnet_dyn.models import stack

LAYERS, WIDTH, CLASSES = 2, 8, 3
TOKENS = jnp.arange(20).reshape(4, 5) % 7
LABELS = jnp.arange(4) % CLASSES


class Layer(nn.Module):
    """A layer with its norms in front: attention and MLP, each added to what came in."""

    def setup(self):
        self.norms = [nn.LayerNorm(), nn.LayerNorm()]
        self.attention = nn.MultiHeadDotProductAttention(num_heads=2)
        self.wide, self.narrow = nn.Dense(2 * WIDTH), nn.Dense(WIDTH)

    def attend(self, h):
        return self.attention(self.norms[0](h))

    def transform(self, h):
        return self.narrow(nn.gelu(self.wide(self.norms[1](h))))


class Transformer(nn.Module):
    """Tokens (B, T) -> logits (B, K). It knows nothing of stacks."""

    def setup(self):
        self.embed = nn.Embed(7, WIDTH)
        self.place = self.param('place', nn.initializers.normal(1.0), (1, 5, WIDTH))
        self.layers = [Layer() for _ in range(LAYERS)]
        self.norm, self.readout = nn.LayerNorm(), nn.Dense(CLASSES)

    def begin(self, tokens):
        return self.embed(tokens) + self.place

    def end(self, h):
        return self.readout(self.norm(h).mean(1))

    def go_on(self, h, without=None):
        for i, layer in enumerate(self.layers):
            h = h if without == (i, 'attention') else h + layer.attend(h)
            h = h if without == (i, 'mlp') else h + layer.transform(h)
        return self.end(h)

    def __call__(self, tokens):
        return self.go_on(self.begin(tokens))


def begin(params, tokens):
    return Transformer().apply({'params': params}, tokens, method='begin')


def end(params, h):
    return Transformer().apply({'params': params}, h, method='end')


def attention(params, h):
    return Layer().apply({'params': params}, h, method='attend')


def mlp(params, h):
    return Layer().apply({'params': params}, h, method='transform')


def attention_or_mlp(params, h):
    layer, is_mlp = params
    return lax.cond(is_mlp, mlp, attention, layer, h)


def layer_by_layer(params):
    """Every sub-layer a stage of its own: 2 blocks a layer, attention before MLP."""
    layers = [params[f'layers_{i}'] for i in range(LAYERS)]
    stages = [
        stack.Stage(jax.tree.map(lambda a: a[None], layer), branch, length=1)
        for layer in layers
        for branch in (attention, mlp)
    ]
    return stack.ResidualStack(params, tuple(stages), params, begin, end)


def all_in_one(params):
    """One stage: the same blocks, told apart by a parameter, so that depth costs no compilation."""
    layers = [params[f'layers_{i}'] for i in range(LAYERS)]
    twice = jax.tree.map(lambda *a: jnp.repeat(jnp.stack(a), 2, 0), *layers)
    is_mlp = jnp.tile(jnp.array([False, True]), LAYERS)
    stage = stack.Stage((twice, is_mlp), attention_or_mlp, length=2 * LAYERS)
    return stack.ResidualStack(params, (stage,), params, begin, end)


def loss(logits):
    return metrics.mean_loss(logits, LABELS)


@pytest.fixture(scope='module')
def flax_model():
    """Parameters; logits of the whole and without two sub-layers; the loss's gradient at h_0."""

    shapes = jax.eval_shape(Transformer().init, jax.random.key(0), TOKENS)['params']
    random = np.random.default_rng(0)
    params = jax.tree.map(lambda a: random.normal(0, 0.5, a.shape).astype(np.float32), shapes)

    @jax.jit
    def run(params):
        h = begin(params, TOKENS)

        def go_on(h, without=None):
            return Transformer().apply({'params': params}, h, without, method='go_on')

        logits = [go_on(h, without) for without in (None, (0, 'mlp'), (1, 'attention'))]
        return jnp.stack(logits), jax.grad(lambda h: loss(go_on(h)))(h)

    return params, *run(params)


@pytest.mark.slow_but('layer_by_layer')
@pytest.mark.parametrize('build', [layer_by_layer, all_in_one])
def test_gates_of_a_transformer_leave_out_its_attention_or_its_mlp(flax_model, build):
    params, logits_MBK, _ = flax_model
    net = build(params)
    assert net.num_blocks == 2 * LAYERS
    gates_ML = np.array([[1.0, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 1]])
    found = jax.jit(jax.vmap(stack.apply, (None, None, 0)))(net, TOKENS, gates_ML)
    np.testing.assert_allclose(found, logits_MBK, rtol=1e-5, atol=1e-6)
    assert (np.abs(found[1:] - found[:1]).max((1, 2)) > 0.01).all()


@pytest.mark.slow
def test_the_kernels_measure_a_transformer(flax_model):
    params, logits_MBK, gradient = flax_model
    net = all_in_one(params)
    found = lesions.score(net, TOKENS, LABELS, masks.single(4), ('logits',))['logits']
    np.testing.assert_allclose(found[1:3], logits_MBK[1:], rtol=1e-5, atol=1e-6)
    by_length = path_gradients.by_length(net, TOKENS, loss)
    assert by_length.shape == (5, 4, 5, WIDTH)
    np.testing.assert_allclose(by_length.sum(0), gradient, rtol=1e-4, atol=1e-6)


def test_a_hand_written_network_is_scored_by_its_functions():
    weights = np.random.default_rng(0).normal(size=(3, 4, 4))
    branches = [lambda h, w=w: jnp.sin(h @ w) for w in weights.astype(np.float32)]
    net = stack.from_functions(lambda x: x / 2, branches, lambda h: h[:, :3])
    x = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    found = lesions.score(net, x, np.zeros(5, int), masks.all_masks(3), ('logits',))['logits']
    for mask, logits in zip(masks.all_masks(3), found, strict=True):
        h = x / 2
        for kept, w in zip(mask, weights, strict=True):
            h = h + kept * np.sin(h @ w)
        np.testing.assert_allclose(logits, h[:, :3], rtol=1e-4, atol=1e-5)


def test_a_deep_network_of_one_function_is_traced_as_one_block():
    def equations(build, length):
        def branch(w, h):
            return jnp.tanh(h @ w)

        def run(weights, x):
            return stack.apply(build(weights, branch), x, jnp.ones(length))

        return len(jax.make_jaxpr(run)(jnp.ones((length, 4, 4)), jnp.ones((2, 4))).eqns)

    def stacked(weights, branch):
        stage = stack.Stage(weights, branch, length=len(weights))
        return stack.ResidualStack((), (stage,), (), lambda _, x: x, lambda _, h: h)

    def one_by_one(weights, branch):
        branches = [lambda h, w=w: branch(w, h) for w in weights]
        return stack.from_functions(lambda x: x, branches, lambda h: h)

    assert equations(stacked, 4) == equations(stacked, 200)
    assert equations(one_by_one, 4) < equations(one_by_one, 8)  # what the count would show
