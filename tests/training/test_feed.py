"""Feeds: a stream gives what the resident set gives where their orders agree; where it goes on."""

import itertools

import jax
import numpy as np
import pytest

from resnet_dyn.data import datasets, splits
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.training import feed, program, state

STEPS, EPOCH = 20, 8


class InMemory:
    """A stream of a Split, in the order that network 0 of a config draws for itself."""

    def __init__(self, split, cfg):
        self.split, self.size, self.keys_S = split, len(split.labels), state.keys(cfg)
        self.inputs, self.labels = split
        self.began = []  # at which steps it was asked to

    def batches(self, start, batch_size, rows):
        self.began.append(start)
        for t in itertools.count(start):
            epoch, index = divmod(t, self.size // batch_size)
            order_N = np.asarray(feed.epoch_orders(self.keys_S[:1], epoch, self.size)[0])
            yield self._at(order_N[index * batch_size : (index + 1) * batch_size][rows])

    def padded(self, batch_size, rows):
        for first in range(0, self.size, batch_size):
            yield self._at((np.arange(batch_size)[rows] + first) % self.size)

    def _at(self, rows):
        return splits.Split(self.split.inputs[rows], self.split.labels[rows])


@pytest.fixture(scope='module')
def both(tiny):
    """The programs of one network with a resident set, and with streams that are in memory."""
    cfg = seed_axis.settle(tiny())
    dataset = datasets.load(cfg.data)
    model = presets.from_config(cfg.model, dataset.classes)
    streamed = dataset._replace(
        train=InMemory(dataset.train, cfg), test=InMemory(dataset.test, cfg)
    )
    mesh = placement.mesh(1, cfg.train.batch_size)

    def make(dataset):
        return program.Program(cfg, model, dataset, STEPS, mesh)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, 'STEPS', 3)  # 20 steps are not a multiple
        patch.setattr(program, 'EVALUATION_BATCH', 16)  # nor are 70 examples
        return make(dataset), make(streamed), streamed.train


@pytest.mark.slow
def test_a_streamed_run_is_a_resident_one_where_the_orders_agree(both):
    found = []
    for programs in both[:2]:
        networks = programs.advance(programs.begin(), 0, STEPS)
        found.append((networks.state, networks.totals, programs.evaluate(networks)))
        found[-1] += (programs.record(networks),)
    resident, streamed = placement.gather(found)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5, 1e-6), resident, streamed)


def test_the_position_of_a_stream_is_the_step_and_chunks_change_no_bit(both, monkeypatch):
    _, programs, stream = both
    whole = placement.gather(programs.advance(programs.begin(), 0, STEPS))
    stream.began.clear()
    networks = programs.begin()
    for start, stop in ((0, 0), (0, 1), (1, EPOCH + 1), (EPOCH + 1, 11)):
        networks = programs.advance(networks, start, stop)
    assert stream.began == [0]  # goes on from call to call
    trees = placement.gather(state.to_trees(networks.state))
    networks = programs.restore(11, trees, placement.gather(networks.totals))
    programs.advance(programs.begin(), 3, 4)
    networks = programs.advance(networks, 11, STEPS)
    assert stream.began == [0, 3, 11]  # is asked anew where a run goes on elsewhere
    jax.tree.map(np.testing.assert_array_equal, placement.gather(networks), whole)
    assert programs._advance._cache_size() == 1


def test_all_networks_of_a_stream_see_the_same_batches(tiny):
    cfg = tiny({'seeds': 2})
    stream = InMemory(datasets.load(cfg.data).train, cfg)
    found = feed.of(stream, 32, placement.mesh(2, 32))
    ((first, last, chunk),) = found.chunks(5, 7)
    assert (first, last) == (5, 7) and found.begin(None, 5) == ()
    expected = next(stream.batches(6, 32, slice(0, 32)))
    jax.tree.map(np.testing.assert_array_equal, found.batch((), chunk, 6), expected)
    found.close()


def test_what_lies_on_the_devices_at_a_time_is_bounded(tiny):
    stream = InMemory(datasets.load(tiny().data).train, tiny())
    stream.inputs = np.empty((1, 224, 224, 3), np.uint8)
    assert feed.at_once(stream, 128) == 13
    assert feed.at_once(stream, 8192) == 1
    stream.inputs = np.empty((1, 2), np.float32)
    assert feed.at_once(stream, 1) == feed.STEPS


@pytest.mark.parametrize(
    ('at_once', 'pieces', 'each'), [(1, 5, 1), (3, 2, 3), (4, 2, 3), (32, 1, 5)]
)
def test_a_streamed_test_set_is_padded_by_less_than_a_batch_a_piece(
    tiny, monkeypatch, at_once, pieces, each
):
    monkeypatch.setattr(feed, 'STEPS', at_once)
    cfg = tiny()
    test = datasets.load(cfg.data).test
    padded = feed.Padded(InMemory(test, cfg), 16, placement.mesh(1, 1, jax.devices()[:1]))
    found = list(padded.pieces())
    assert [piece.labels.shape for piece in found] == [(each, 16)] * pieces
    assert sum(float(piece.weights.sum()) for piece in found) == 70
