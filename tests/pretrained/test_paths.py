"""Opened networks under the kernels: paths, lesions and orders, each by another way.

The parts of a gradient sum to PyTorch's own (a golden), and each is the coefficient of a polynomial
of Jacobians, multiplied out block by block in float64. A deleted layer is one that the folder does
not have (of post-LN networks one of zeros, as the norms stay); two swapped ones stand in the folder
the other way round.
"""

import functools
import json

import golden_folders as folders
import jax
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from resnet_dyn import pretrained
from resnet_dyn.kernels import lesions, masks, path_gradients, reorder
from resnet_dyn.models import stack

SAME = 1e-5  # over the largest number expected
apply = jax.jit(stack.apply)
LAYOUTS = ('gpt2', 'llama', 'bert')


def mostly_slow(*names, now):
    """Names for a test, of which only `now` is in the default suite."""
    return [pytest.param(n, marks=[pytest.mark.slow] * (n != now)) for n in names]


LAYER = {'gpt2': 'transformer.h.{}.', 'llama': 'model.layers.{}.', 'bert': 'encoder.layer.{}.'}
COUNT = {'gpt2': 'n_layer'}


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """opened(name, order): the network of a golden, or one of its layers in another order."""
    found = {}

    def of(name, order=(0, 1, 2)):
        if (name, order) not in found:
            folder = folders.build(name, tmp_path_factory.mktemp(name))
            found[name, order] = pretrained.open(surgically(folder, name, order))
        return found[name, order]

    return of


def surgically(folder, name, order):
    """Writes the folder's layers anew, the i-th that of number order[i]."""
    arrays, layer = load_file(folder / 'model.safetensors'), LAYER[name]
    kept = {k: v for k, v in arrays.items() if not k.startswith(layer.partition('{')[0])}
    for new, old in enumerate(order):
        for key in arrays:
            if key.startswith(layer.format(old)):
                kept[key.replace(layer.format(old), layer.format(new))] = arrays[key]
    save_file(kept, folder / 'model.safetensors')
    config = json.loads((folder / 'config.json').read_text())
    config[COUNT.get(name, 'num_hidden_layers')] = len(order)
    (folder / 'config.json').write_text(json.dumps(config))
    return folder


def projected(output):
    """The number whose gradient the goldens have."""
    return (output * folders.probe(output.shape)).sum()


def difference(found, wanted) -> float:
    """The largest difference over the largest number wanted."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.fixture(scope='module')
def parts(opened):
    """parts(name): (G_k, u_k) of a golden."""

    @functools.cache
    def of(name):
        net = opened(name).net
        inputs = opened(name).inputs(folders.expected(name)['tokens'])
        backward = path_gradients.by_length(net, inputs, projected)
        return backward, path_gradients.forward_by_length(net, inputs)

    return of


@pytest.mark.slow_but('gpt2', 'bert')
@pytest.mark.parametrize('name', LAYOUTS)
def test_the_parts_sum_to_the_derivatives_that_pytorch_gives(parts, name):
    expected = folders.expected(name)
    for found, whole in zip(parts(name), ('gradient', 'forward'), strict=True):
        assert len(found) == len(expected['gates']) + 1
        assert difference(found.sum(0), expected[whole]) < SAME


@pytest.fixture(scope='module')
def without(opened):
    """without(name): inputs with a mask, every deletion of up to two blocks, logits of each."""

    @functools.cache
    def of(name):
        network, expected = opened(name), folders.expected(name)
        inputs = network.inputs(expected['tokens'], expected['mask'])
        masks_ML = masks.up_to(6, 2)
        found = lesions.score(network.net, inputs, None, masks_ML, ('logits',))['logits']
        return inputs, masks_ML, found

    return of


@functools.partial(jax.jit, static_argnames=('branch', 'merge'))
def block(branch, merge, params, h, context):
    """A block's output at h and its Jacobians: S_l of the skip, J_l of the branch."""

    def add(to, at):
        total = to + branch(params, at, context)
        return total if merge is None else merge(params, total, context)

    return add(h, h), jax.jacrev(add, (0, 1))(h, h)


@jax.jit
def begin(net, inputs):
    """The context, and h_0."""
    context = net.make_context(inputs)
    return context, net.stem(net.stem_params, inputs, context)


@jax.jit
def end(net, h, context):
    """The gradient at h_L."""
    return jax.grad(lambda h: projected(net.head(net.head_params, h, context)))(h)


def by_hand(net, inputs):
    """h_0, the gradient at h_L, and (S_l, J_l) of each block by its name, all in float64."""
    context, first = begin(net, inputs)
    h, found = first, []
    for name in net.names:
        layer, part = name.split('.')
        stage = net.stages[0].stages[('attention', 'mlp').index(part)]
        params = jax.tree.map(lambda a, layer=layer: np.asarray(a)[int(layer)], stage.params)
        h, pair = block(stage.branch, stage.merge, params, h, context)
        found.append([np.asarray(a, np.float64).reshape(h.size, h.size) for a in pair])
    ends = first, end(net, h, context)
    return *(np.asarray(a, np.float64).ravel() for a in ends), found


def product(vector, matrices):
    """The coefficients of prod (S_l + t J_l) vector, the first pair first."""
    found = np.zeros((len(matrices) + 1, vector.size))
    found[0] = vector
    for skip, branch in matrices:
        through = found @ branch.T
        found = found @ skip.T
        found[1:] += through[:-1]
    return found


@pytest.mark.parametrize('name', mostly_slow(*LAYOUTS, now='bert'))
def test_each_part_is_a_coefficient_of_the_product_of_jacobians(opened, parts, name):
    network, tokens = opened(name), folders.expected(name)['tokens']
    first, gradient, matrices = by_hand(network.net, network.inputs(tokens))
    back = product(gradient, [(skip.T, branch.T) for skip, branch in reversed(matrices)])
    for found, wanted in zip(parts(name), (back, product(first, matrices)), strict=True):
        assert difference(found.reshape(len(found), -1), wanted) < SAME


@pytest.mark.parametrize('name', mostly_slow('gpt2', 'llama', now='gpt2'))
def test_a_deleted_layer_is_one_that_the_folder_does_not_have(opened, without, name):
    (inputs, masks_ML, found), seen = without(name), folders.expected(name)['mask']
    for layer, order in enumerate([(1, 2), (0, 2), (0, 1)]):
        cut, mask_L = opened(name, order).net, np.ones(6)
        mask_L[2 * layer : 2 * layer + 2] = 0
        (row,) = np.flatnonzero((masks_ML == mask_L).all(1))
        wanted = np.asarray(apply(cut, inputs, np.ones(4, np.float32)))
        assert difference(found[row][seen], wanted[seen]) < SAME


def test_a_deleted_block_of_bert_adds_nothing_and_its_norm_stays(tmp_path):
    expected, folder = folders.expected('bert'), folders.build('bert', tmp_path)
    whole, arrays = pretrained.open(folder), load_file(folder / 'model.safetensors')
    for key in arrays:
        if key.startswith(
            ('encoder.layer.1.attention.output.dense', 'encoder.layer.2.output.dense')
        ):
            arrays[key] = np.zeros_like(arrays[key])
    save_file(arrays, folder / 'model.safetensors')
    cut, inputs = pretrained.open(folder), whole.inputs(expected['tokens'], expected['mask'])
    mask_L = masks.from_names(whole.names, [('1.attention', '2.mlp')])
    found = lesions.score(whole.net, inputs, None, mask_L, ('logits',))['logits'][0]
    seen = expected['mask']
    wanted = np.asarray(apply(cut.net, inputs, np.ones(6, np.float32)))
    assert difference(found[seen], wanted[seen]) < SAME


@pytest.mark.parametrize('name', mostly_slow(*LAYOUTS, now='gpt2'))
def test_swapped_layers_are_swapped_in_the_folder(opened, name):
    network, expected = opened(name), folders.expected(name)
    inputs, orders = network.inputs(expected['tokens']), [(0, 1, 4, 5, 2, 3), (2, 3, 0, 1, 4, 5)]
    found = reorder.score(network.net, inputs, None, orders, ('logits',))['logits']
    for logits, order in zip(found, [(0, 2, 1), (1, 0, 2)], strict=True):
        other = opened(name, order).net
        assert difference(logits, apply(other, inputs, np.ones(6, np.float32))) < SAME


@pytest.mark.parametrize('name', mostly_slow(*LAYOUTS, now='gpt2'))
def test_lesions_are_plain_gates(opened, without, name):
    inputs, masks_ML, found = without(name)
    plain = jax.jit(jax.vmap(stack.apply, (None, None, 0)))(opened(name).net, inputs, masks_ML)
    assert difference(found, plain) < SAME
