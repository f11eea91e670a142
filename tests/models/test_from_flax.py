"""Somebody else's Flax modules as stacks: not one line of theirs is changed."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resnet_dyn import errors, reports
from resnet_dyn.kernels import lesions, masks, path_gradients
from resnet_dyn.models import foreign_check, likeness, stack
from resnet_dyn.reports import measures

WIDTH, CLASSES = 8, 3
TOKENS = np.arange(20, dtype=np.int32).reshape(4, 5) % 7
IMAGES = np.random.default_rng(0).normal(size=(4, 8, 8, 3)).astype(np.float32)


def left_out(without, i, before, after):
    """h behind block i, where block `without`, a traced number, is left out."""
    return after if without is None else jnp.where(without == i, before, after)


class Layer(nn.Module):
    """Attention and MLP, each added to what came in, its norm in front."""

    heads: int
    activation: Any

    @nn.compact
    def __call__(self, h, deterministic):
        h = h + nn.MultiHeadDotProductAttention(self.heads)(nn.LayerNorm()(h))
        h = nn.Dropout(0.5)(h, deterministic=deterministic)
        return h + nn.Dense(WIDTH)(self.activation(nn.Dense(2 * WIDTH)(nn.LayerNorm()(h))))


class Transformer(nn.Module):
    """Tokens (B, T) -> logits (B, K); `without` is of the oracle alone."""

    depth: int = 3
    without: Any = None

    def setup(self):
        activation = functools.partial(nn.gelu, approximate=False)  # made anew for every module
        self.embed = nn.Embed(7, WIDTH)
        self.layers = [Layer(2, activation) for _ in range(self.depth)]
        self.norm, self.readout = nn.LayerNorm(), nn.Dense(CLASSES)

    def __call__(self, tokens, train=False):
        h = self.embed(tokens)
        for i, layer in enumerate(self.layers):
            h = left_out(self.without, i, h, layer(h, not train))
        return self.readout(self.norm(h).mean(1))


class ResNetBlock(nn.Module):
    """As flax's ImageNet example has it."""

    filters: int
    conv: Any
    norm: Any
    act: Any
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        residual = x
        y = self.conv(self.filters, (3, 3), self.strides)(x)
        y = self.norm()(y)
        y = self.act(y)
        y = self.conv(self.filters, (3, 3))(y)
        y = self.norm(scale_init=nn.initializers.zeros_init())(y)
        if residual.shape != y.shape:
            residual = self.conv(self.filters, (1, 1), self.strides, name='conv_proj')(residual)
            residual = self.norm(name='norm_proj')(residual)
        return self.act(residual + y)


class ResNet(nn.Module):
    """As flax's ImageNet example has it."""

    sizes: tuple[int, ...] = (2, 2)
    without: Any = None

    @nn.compact
    def __call__(self, x, train: bool = True):
        conv = functools.partial(nn.Conv, use_bias=False)
        norm = functools.partial(nn.BatchNorm, use_running_average=not train, momentum=0.9)
        x = nn.relu(norm(name='bn_init')(conv(4, (3, 3), name='conv_init')(x)))
        for i, size in enumerate(self.sizes):
            for j in range(size):
                strides = (2, 2) if i > 0 and j == 0 else (1, 1)
                y = ResNetBlock(4 * 2**i, conv, norm, nn.relu, strides)(x)
                x = y if y.shape != x.shape else left_out(self.without, 2 * i + j, nn.relu(x), y)
        return nn.Dense(CLASSES)(x.mean((1, 2)))


def random_kernel(key, shape, dtype, random=np.random.default_rng(2), **options):
    """Another one at every call, of no program."""
    return jax.device_put(random.normal(0, 0.4, shape).astype(dtype))


class Residual(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.RMSNorm(WIDTH, rngs=rngs)
        self.wide = nnx.Linear(WIDTH, 2 * WIDTH, rngs=rngs, kernel_init=random_kernel)
        self.narrow = nnx.Linear(2 * WIDTH, WIDTH, rngs=rngs, kernel_init=random_kernel)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, h):
        return h + self.dropout(self.narrow(nnx.gelu(self.wide(self.norm(h)))))


class Decoder(nnx.Module):
    """Tokens (B, T) -> logits (B, T, K)."""

    def __init__(self, rngs, depth=3):
        self.embed = nnx.Embed(7, WIDTH, rngs=rngs, embedding_init=random_kernel)
        self.blocks = nnx.List([Residual(rngs) for _ in range(depth)])
        self.readout = nnx.Linear(WIDTH, CLASSES, rngs=rngs, kernel_init=random_kernel)

    def __call__(self, tokens):
        h = self.embed(tokens)
        for block in self.blocks:
            h = block(h)
        return self.readout(h)


KEYS = {'params': jax.random.key(0), 'dropout': jax.random.key(1)}


def drawn(module, seed, *args, constant=False):
    """Variables of a Linen module; none of them is constant, or scales 1 and biases 0 are."""
    shapes = jax.eval_shape(module.init, KEYS, *args)
    random = np.random.default_rng(seed)

    def draw(path, shape):
        if constant and path[-1].key in ('scale', 'bias'):
            return np.full(shape.shape, path[-1].key == 'scale', np.float32)
        values = random.normal(0, 0.4, shape.shape).astype(np.float32)
        return abs(values) if path[-1].key == 'var' else values

    return jax.tree_util.tree_map_with_path(draw, shapes)


NAMES = [f'layers_{i}' for i in range(3)]
BLOCKS = [f'ResNetBlock_{i}' for i in range(4)]
RESIDUALS = [f'blocks.{i}' for i in range(3)]
IN_BLOCKS = {'branch': 'BatchNorm_1', 'skip': 'norm_proj', 'act': nn.relu, 'call': {'train': False}}


def transformer(seed=0):
    variables = drawn(Transformer(), seed, TOKENS)
    return variables, stack.from_flax(Transformer(), variables, NAMES, TOKENS)


def decoder(seed):
    module = Decoder(nnx.Rngs(seed))
    module.eval()
    return module, stack.from_flax(module, None, RESIDUALS, TOKENS)


@pytest.fixture(scope='module')
def linen():
    return transformer()


@jax.jit
def without_one(net, inputs):
    """The outputs without each block in turn."""
    gates_ML = 1 - np.eye(net.num_blocks, dtype=np.float32)
    return jax.vmap(stack.apply, (None, None, 0))(net, inputs, gates_ML)


@functools.partial(jax.jit, static_argnames=('kind', 'options'))
def cut(kind, without, variables, inputs, options=()):
    """The outputs of a module without one block."""
    return kind(without=without).apply(variables, *inputs, **dict(options))


def test_blocks_of_a_transformer_are_left_out_as_if_its_code_had_not_called_them(linen):
    variables, net = linen
    found = without_one(net, TOKENS)
    for i, logits in enumerate(np.asarray(found)):
        expected = cut(Transformer, i, variables, (TOKENS,))
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_equal_blocks_are_one_stage_and_no_variable_is_held_for_nothing(linen):
    variables, net = linen
    assert [stage.length for stage in net.stages] == [3]
    assert set(net.stem_params) == {'params/embed/embedding'}
    held = sum(a.size for a in jax.tree.leaves(net))
    assert held == sum(a.size for a in jax.tree.leaves(variables))
    assert not net.couples_examples and net.make_context is None


def test_the_next_checkpoint_of_a_module_made_anew_compiles_nothing(linen):
    before = foreign_check._run._cache_size(), foreign_check._apply._cache_size()
    _, net = transformer(seed=1)
    assert (foreign_check._run._cache_size(), foreign_check._apply._cache_size()) == before
    assert jax.tree.structure(net) == jax.tree.structure(linen[1])


@pytest.mark.slow
def test_networks_of_several_seeds_are_one_stack(linen):
    both = [linen, transformer(1)]
    nets = [net for _, net in both]
    together = jax.jit(stack.apply)(stack.over_seeds(nets), TOKENS, jnp.ones(3))
    for logits, (variables, _) in zip(together, both, strict=True):
        expected = Transformer().apply(variables, TOKENS)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


def test_blocks_of_a_resnet_are_read_off_by_the_names_of_branch_and_projection():
    module = ResNet()
    variables = drawn(module, 0, IMAGES)
    net = stack.from_flax(module, variables, BLOCKS, IMAGES, **IN_BLOCKS)
    assert [stage.length for stage in net.stages] == [2, 1, 1]
    assert [stage.skip is not None for stage in net.stages] == [False, True, False]
    found = np.asarray(without_one(net, IMAGES))
    for i in (0, 1, 3):  # without block 2 the shapes do not fit
        expected = cut(ResNet, i, variables, (IMAGES,), (('train', False),))
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-5)


def test_statistics_of_the_batch_couple_examples_and_are_found_out():
    module = nn.Sequential([Normed(), Normed()])
    variables = drawn(module, 0, INPUTS)
    call = {'mutable': ['batch_stats']}
    net = stack.from_flax(module, variables, ['layers_0', 'layers_1'], INPUTS, call=call)
    assert net.couples_examples
    expected = jax.jit(lambda variables: module.apply(variables, INPUTS, **call)[0])(variables)
    found = jax.jit(stack.apply)(net, INPUTS, [1.0, 1])
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def same(a, b):
    """Whether arrays, of random keys too, are equal."""
    if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
    return np.array_equal(a, b)


def test_an_nnx_decoder_is_left_as_it_was():
    module, net = decoder(0)
    before = nnx.split(module)
    assert [stage.length for stage in net.stages] == [3]
    assert not any('dropout' in name for name in net.stages[0].params)  # its keys are not needed

    @jax.jit
    def cut(without):
        h = module.embed(TOKENS)
        for i, block in enumerate(module.blocks):
            h = left_out(without, i, h, block(h))
        return module.readout(h)

    for i, logits in enumerate(np.asarray(without_one(net, TOKENS))):
        np.testing.assert_allclose(logits, cut(i), rtol=1e-4, atol=1e-5)
    graphdef, state = nnx.split(module)
    assert graphdef == before[0] and jax.tree.all(jax.tree.map(same, state, before[1]))
    assert jax.tree.structure(decoder(1)[1]) == jax.tree.structure(net)


INPUTS = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


class Add(nn.Module):
    """h + a dense layer of it, and what a case asks for."""

    kind: str = ''

    @nn.compact
    def __call__(self, h, mask=None):
        f = nn.Dense(5 if self.kind == 'wider' else h.shape[-1])(h)
        f = jnp.tanh(f)
        if self.kind == 'wider':
            return f
        if self.kind == 'inner':
            f = Add(name='inner')(f)
        if self.kind == 'dropout':
            f = nn.Dropout(0.5, deterministic=False)(f)
        if mask is not None:
            f = f * mask
        return (h + f, f) if self.kind == 'pair' else h + f


class Normed(nn.Module):
    @nn.compact
    def __call__(self, h):
        return h + nn.BatchNorm(use_running_average=False)(nn.Dense(4)(h))


class Chain(nn.Module):
    """Two blocks, `first` and `second`, and what a case does to them."""

    kind: str = ''

    @nn.compact
    def __call__(self, x):
        kind = nn.remat(Add) if self.kind == 'remat' else Add
        first, second = kind(self.kind, name='first'), Add(name='second')
        mask = {
            'variables': lambda: (nn.Dense(4)(x),),
            'not led': lambda: ((x.sum() > 0) * jnp.ones((1, 4)),),
        }.get(self.kind, lambda: ())()
        h = early = first(x, *mask)
        if self.kind == 'pair':
            h = h[0]
        if self.kind == 'between':
            h = 2 * h
        if self.kind == 'scale':
            h = h * self.param('scale', nn.initializers.ones, (4,))[None]
        h = second(h)
        if self.kind == 'twice':
            h = second(h)
        if self.kind == 'early':
            h = h + early
        return nn.Dense(2, name='out')(h)


class Widened(nn.Module):
    """h in bfloat16 before the first of two blocks, and in float32 behind it."""

    @nn.compact
    def __call__(self, x):
        h = x.astype(jnp.bfloat16)
        for name in ('first', 'second'):
            h = nn.Dense(4, name=name)(h)
        return h


def test_a_block_may_give_another_dtype_than_it_takes():
    module = Widened()
    variables = drawn(module, 0, INPUTS)
    net = stack.from_flax(module, variables, ('first', 'second'), INPUTS)
    assert [stage.length for stage in net.stages] == [1, 1]
    found = jax.jit(stack.apply)(net, INPUTS, np.ones(2))
    expected = jax.jit(module.apply)(variables, INPUTS)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_path_parts_of_a_foreign_module_sum_to_its_gradient():
    module = Chain()
    variables = drawn(module, 0, INPUTS)
    net = stack.from_flax(module, variables, FIRST_SECOND, INPUTS)
    assert net.stages[0].length == 2
    parts = path_gradients.by_length(net, INPUTS, lambda y: (y**2).mean())
    expected = jax.grad(lambda x: (module.apply(variables, x) ** 2).mean())(INPUTS)
    np.testing.assert_allclose(parts.sum(0), expected, rtol=1e-4, atol=1e-6)
    assert parts.shape[0] == 3 and np.abs(parts[2]).max() > 1e-3


FIRST_SECOND = ('first', 'second')
WRONG = {
    '': (('first', 'secnd'), {}, "no module 'secnd' is called. Did you mean second?"),
    'order': (('second', 'first'), {}, r"another order: give them as \['first', 'second'\]"),
    'twice': (FIRST_SECOND, {}, 'block second is called 2 times'),
    'named twice': (('first', 'first'), {}, 'named 2'),
    'inner': (('first', 'first.inner'), {}, 'block first/inner is called within block first'),
    'variables': (FIRST_SECOND, {}, r'float32\[3, 4\] beside h, which is made of variables'),
    'not led': (FIRST_SECOND, {}, 'not led by its 3 examples'),
    'pair': (FIRST_SECOND, {}, 'block first gives tuple of 2'),
    'dropout': (
        FIRST_SECOND,
        {'call': {'rngs': {'dropout': jax.random.key(0)}}},
        'block first cannot be run by itself .*turn dropout off',
    ),
    'remat': (FIRST_SECOND, {}, 'nn.remat'),
    'between': (FIRST_SECOND, {}, 'h changes between blocks first and second'),
    'scale': (FIRST_SECOND, {}, 'h changes between blocks first and second'),
    'early': (FIRST_SECOND, {}, 'what comes after block second takes more than its output'),
    'wider': (
        FIRST_SECOND,
        {},
        r'block first takes h of float32\[3, 4\] and gives float32\[3, 5\]',
    ),
    'branch': (FIRST_SECOND, {'branch': 'Dense_1'}, 'Did you mean Dense_0'),
    'act': (FIRST_SECOND, {'branch': 'Dense_0', 'act': nn.relu}, 'block first is not act'),
    'skip': (FIRST_SECOND, {'branch': 'Dense_0', 'skip': 'proj'}, "skip='proj': no block calls"),
    'skip alone': (FIRST_SECOND, {'skip': 'proj'}, 'name that module by branch='),
    'branches': (FIRST_SECOND, {'branch': ['Dense_0']}, '1 names for 2 blocks'),
}


CHECKED = ('act', 'between', 'wider')  # seen by computing, as `scale` and `early` are


@pytest.mark.parametrize(
    'kind', [pytest.param(k, marks=[pytest.mark.slow] * (k in CHECKED)) for k in WRONG]
)
def test_a_module_of_another_form_is_refused_by_the_block_that_breaks_it(kind):
    blocks, options, message = WRONG[kind]
    module = Chain(kind)
    variables = drawn(module, 0, INPUTS, constant=True)
    with pytest.raises(errors.UserError, match=message):
        stack.from_flax(module, variables, blocks, INPUTS, **options)


def test_what_is_no_module_or_has_the_wrong_variables_or_inputs_is_refused():
    module = Chain()
    variables = drawn(module, 0, INPUTS)
    linen = functools.partial(stack.from_flax, module, variables, FIRST_SECOND)
    with pytest.raises(errors.UserError, match='give two or more'):
        linen(INPUTS[:1])
    with pytest.raises(errors.UserError, match='not finite'):
        linen(INPUTS * jnp.nan)
    with pytest.raises(errors.UserError, match='list of the names'):
        stack.from_flax(module, variables, [0, 1], INPUTS)
    with pytest.raises(errors.UserError, match='a Linen module has none of its own'):
        stack.from_flax(module, None, FIRST_SECOND, INPUTS)
    with pytest.raises(errors.UserError, match='give variables=None'):
        stack.from_flax(Decoder(nnx.Rngs(0)), variables, RESIDUALS, TOKENS)
    with pytest.raises(errors.UserError, match='block blocks/0 draws random numbers'):
        stack.from_flax(Decoder(nnx.Rngs(0)), None, RESIDUALS, TOKENS)
    with pytest.raises(errors.UserError, match='Did you mean blocks/0'):
        stack.from_flax(Decoder(nnx.Rngs(0)), None, ['block.0'], TOKENS)
    with pytest.raises(errors.UserError, match="blocks='first': give a list"):
        stack.from_flax(module, variables, 'first', INPUTS)
    with pytest.raises(errors.UserError, match='module is a function'):
        stack.from_flax(drawn, variables, FIRST_SECOND, INPUTS)


def test_likeness_tells_how_values_were_made_not_where_they_are():
    def made(scale, dims=(1, 2)):
        return functools.partial(nn.Conv, features=4, dims=list(dims)), lambda x: scale * x

    assert likeness.of(made(2)) is likeness.of(made(2))
    assert likeness.of(made(2)) is not likeness.of(made(3))
    assert likeness.of(made(2)) is not likeness.of(made(2.0))
    assert likeness.of(made(2)) is not likeness.of(made(2, (1, 3)))
    assert likeness.of(nn.Dense(3, name='a')) is likeness.of(nn.Dense(3, name='b'))
    assert likeness.of(nn.Dense(3)) is not likeness.of(nn.Dense(3, use_bias=False))
    normal = nn.initializers.normal
    assert likeness.of(normal(0.1)) is likeness.of(normal(0.1))
    assert likeness.of(normal(0.1)) is not likeness.of(normal(0.2))
    assert likeness.of(np.ones(2)) is not likeness.of(np.zeros(2))


def test_a_function_of_a_notebook_is_another_where_what_it_calls_is_written_anew():
    notebook = {'__name__': '__main__'}
    cell = 'def act(x):\n    return helper(x)'
    exec('def helper(x):\n    return x', notebook)
    exec(cell, notebook)
    first = likeness.of(notebook['act'])
    exec(cell, notebook)
    assert likeness.of(notebook['act']) is first
    exec('def helper(x):\n    return 2 * x', notebook)
    assert likeness.of(notebook['act']) is not first


class Masked(nn.Module):
    """Blocks that are given a padding mask, a causal mask and a switch; the head a mean by mask."""

    without: Any = None

    @nn.compact
    def __call__(self, tokens, mask, train=False):
        h = nn.Embed(7, WIDTH)(tokens)
        seen_B1TT = nn.make_attention_mask(mask, mask)
        causal_11TT = nn.make_causal_mask(tokens[:1])
        for i in range(2):
            layer = MaskedLayer(name=f'layer_{i}')
            after = layer(h, seen_B1TT, causal=causal_11TT, train=train)
            h = left_out(self.without, i, h, after)
        weights_BT1 = mask[..., None] / mask.sum(1)[:, None, None]
        return nn.Dense(CLASSES)((h * weights_BT1).sum(1))


class MaskedLayer(nn.Module):
    @nn.compact
    def __call__(self, h, seen, *, causal, train):
        mask = nn.combine_masks(seen, jnp.broadcast_to(causal, seen.shape))
        return h + nn.MultiHeadDotProductAttention(2, deterministic=not train)(h, mask=mask)


@pytest.fixture(scope='module')
def masked():
    """(variables, net, inputs) of a module whose blocks know the inputs, with names and a group."""
    inputs = {'tokens': TOKENS, 'mask': np.tri(4, 5, 1, dtype=np.float32)}
    variables = drawn(Masked(), 0, *inputs.values())
    named = {'names': ['first', 'second'], 'groups': [[0, 1]], 'call': {'train': False}}
    net = stack.from_flax(Masked(), variables, ['layer_0', 'layer_1'], inputs, **named)
    return variables, net, inputs


def test_masks_and_what_the_head_takes_of_the_inputs_are_the_context(masked):
    variables, net, inputs = masked
    assert [stage.length for stage in net.stages] == [2] and not net.couples_examples
    cuts = [cut(Masked, i, variables, (inputs['tokens'], inputs['mask'])) for i in range(2)]
    found = without_one(net, inputs)
    np.testing.assert_allclose(found, cuts, rtol=1e-4, atol=1e-5)
    shorter = jax.tree.map(lambda a: a[:3, :4], inputs)  # other examples, of another length
    expected = cut(Masked, 1, variables, (shorter['tokens'], shorter['mask']))
    np.testing.assert_allclose(without_one(net, shorter)[1], expected, rtol=1e-4, atol=1e-5)
    scores = [
        lesions.score(net, inputs, np.arange(4) % 3, masks.single(2), examples_at_once=at_once)
        for at_once in (None, 3)
    ]
    np.testing.assert_allclose(scores[0]['loss'], scores[1]['loss'], rtol=1e-5)


def test_names_and_groups_are_those_given_and_are_checked(masked):
    _, net, _ = masked
    assert (net.names, net.groups) == (('first', 'second'), ((0, 1),))
    for wrong in ({'names': ['one']}, {'groups': [[0, 2]]}):
        with pytest.raises(errors.UserError, match='L=2 blocks'):
            dataclasses.replace(net, **wrong)


@pytest.mark.slow
def test_every_measure_takes_a_module_with_names_groups_and_a_context(masked, sketched, tmp_path):
    (_, net, inputs), labels = masked, np.arange(4) % 3
    options = {'random': {'draws': 2}, 'reorder': {'draws': 2}, 'greedy': {'of': 'layers'}}
    said = []
    found = reports.analyze(
        net, inputs, labels, tuple(measures.MEASURES), tmp_path, options=options, report=said.append
    )
    assert set(found) == set(measures.MEASURES) - {'gammas', 'gamma_depth'}
    scores = lesions.score(net, inputs, labels, [[0, 1], [1, 0], [0, 0]])['loss']
    np.testing.assert_allclose(found['singles'].loss_SL[0], scores[:2], rtol=1e-5)
    np.testing.assert_allclose(found['layer_swaps'].deleted_loss_SU[0], scores[2:], rtol=1e-5)
    assert found['greedy'].deleted_SL.shape == found['effective_depth'].cosine_SU.shape == (1, 1)
    assert 'second' in '\n'.join(said)
