"""Each layout against the library that it comes from, by what that library was seen to answer.

`make parity` makes the answers. All are compared by the largest difference over the largest number
expected, in float32.
"""

import dataclasses
import functools
import pathlib
import tempfile

import golden_folders as folders
import jax
import numpy as np
import pytest

from resnet_dyn import pretrained
from resnet_dyn.models import stack

SAME = 1e-5
SLOW = ('resnet50_torchvision',)  # 25 million weights
OPTIONS = {'gpt_neox_two': {'parallel': 'two'}}  # blocks a parallel layer
OPENED = folders.names()
AS_LLAMA = ('llama3', 'qwen2', 'qwen3')  # the same sublayers, of which layers are made
PADDED = [
    pytest.param(n, b, marks=[pytest.mark.slow] * (n in AS_LLAMA and b == 'layers'))
    for n in OPENED
    if 'masked' in folders.expected(n)
    for b in ('sublayers', 'layers')
]
NAMES = [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in OPENED]


@pytest.fixture(scope='module')
def opened():
    """opened(name, blocks, kind): the network of a golden, opened once."""

    @functools.cache
    def of(name, blocks='sublayers', kind='saved'):
        with tempfile.TemporaryDirectory() as folder:
            folder, options = folders.build(name, folder, kind), OPTIONS.get(name, {})
            return pretrained.open(folder, blocks=blocks, **options)

    return of


@dataclasses.dataclass(frozen=True)
class WithState:
    """A head that gives h_L beside what it makes of it."""

    head: object

    def __call__(self, params, h, *context):
        return self.head(params, h, *context), h


@jax.jit
def run(net, inputs, gates):
    """(output, h_L)."""
    return stack.apply(dataclasses.replace(net, head=WithState(net.head)), inputs, gates)


def difference(found, wanted) -> float:
    """The largest difference over the largest number wanted."""
    found, wanted = np.asarray(found), np.asarray(wanted)
    assert found.shape == wanted.shape
    return np.abs(found - wanted).max() / np.abs(wanted).max()


def given(expected):
    return expected['images' if 'images' in expected else 'tokens']


@pytest.mark.parametrize('name', NAMES)
def test_a_layout_answers_as_its_own_library_does(opened, name):
    network, expected = opened(name), folders.expected(name)
    inputs, L = network.inputs(given(expected)), network.net.num_blocks
    output, last = run(network.net, inputs, np.ones(L, np.float32))
    assert difference(output, expected['plain']) < SAME
    if 'last' in expected:
        last = np.asarray(last)
        pooled = last.mean((1, 2)) if last.ndim == 4 else last[..., : expected['last'].shape[-1]]
        assert difference(pooled, expected['last']) < SAME


@pytest.mark.parametrize('name', NAMES)
def test_blocks_are_weighed_as_hooks_in_that_library_weigh_them(opened, name):
    network, expected = opened(name), folders.expected(name)
    assert len(expected['gates']) == network.net.num_blocks == len(network.names)
    output, _ = run(network.net, network.inputs(given(expected)), expected['gates'])
    assert difference(output, expected['gated']) < SAME


@pytest.mark.parametrize(('name', 'blocks'), PADDED)
def test_padding_on_either_side_is_seen_by_no_token(opened, name, blocks):
    network, expected = opened(name, blocks), folders.expected(name)
    mask = expected['mask']
    inputs, L = network.inputs(expected['tokens'], mask), network.net.num_blocks
    output, _ = run(network.net, inputs, np.ones(L, np.float32))
    assert difference(np.asarray(output)[mask], expected['masked'][mask]) < SAME


@pytest.mark.parametrize('name', [n for n in OPENED if folders.has_published(n)])
def test_a_folder_as_it_was_published_opens_to_the_same_network(opened, name):
    today, before = opened(name), opened(name, kind='published')
    assert before.names == today.names
    same = jax.tree.map(np.array_equal, before.net, today.net)
    assert jax.tree.all(same)


def test_goldens_are_small():
    files = [path for path in folders.GOLDENS.rglob('*') if path.is_file()]
    assert sum(pathlib.Path(path).stat().st_size for path in files) < 1_000_000
