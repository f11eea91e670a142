"""The compiled loop: seeds apart, chunks invisible, one compile, one network like many."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resnet_dyn.data import datasets, splits
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.training import feed, losses, program, state, step, totals

EPOCH = 8  # steps, of the 260 examples of the tiny config in batches of 32
NETWORKS = {'seeds': 3, 'train.seed_axis': 'vmap'}


class Made(NamedTuple):
    programs: program.Program
    traces: list  # one entry for each time that the loss of training is traced
    begun: program.Networks  # at step 0
    model: Any
    dataset: datasets.Dataset

    def advance(self, start, stop):
        return self.programs.advance(copied(self.begun), start, stop)


def copied(networks):
    """Those that are advanced are gone."""
    return jax.tree.map(jnp.copy, networks)


@pytest.fixture(scope='module')
def make(tiny):
    """make({'seeds': 3}) -> Made, on one device unless said; the same one again unless `fresh`."""
    made = {}

    def build(changes, devices=1, fresh=False):
        if fresh:
            return begin(changes, devices)
        key = (*changes.items(), devices)
        if key not in made:
            made[key] = begin(changes, devices)
        return made[key]

    def begin(changes, devices):
        cfg = seed_axis.settle(tiny(changes))
        dataset = datasets.load(cfg.data)
        model = presets.from_config(cfg.model, dataset.classes)
        mesh = placement.mesh(cfg.seeds, cfg.train.batch_size, jax.devices()[:devices])
        traces, from_config = [], losses.from_config

        def counted(train):
            loss = from_config(train)
            return lambda logits_BK, labels_B: traces.append(1) or loss(logits_BK, labels_B)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(losses, 'from_config', counted)
            programs = program.Program(cfg, model, dataset, 20, mesh)
        return Made(programs, traces, programs.begin(), model, dataset)

    return build


def _assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))


def _assert_close(a, b, rtol=1e-5, atol=1e-6):
    def close(x, y):
        np.testing.assert_allclose(x, y, rtol=rtol, atol=atol)

    jax.tree.map(close, jax.device_get(a), jax.device_get(b))


def _one(tree, s):
    return jax.tree.map(lambda leaf: leaf[s : s + 1], jax.device_get(tree))


@pytest.mark.slow_but('map')
@pytest.mark.parametrize('how', ['vmap', 'map'])
def test_network_s_of_many_is_the_run_of_that_seed_alone(make, how):
    together = make({'seeds': 3, 'train.seed_axis': how}).advance(0, 20).state
    alone = make({'seed': 2, 'train.seed_axis': how}).advance(0, 20).state
    _assert_close(_one(together, 2), alone)


@pytest.mark.slow
def test_augmented_convolutional_networks_are_runs_alone_and_resume_bit_for_bit(make):
    images = {
        'data.name': 'digits',
        'data.augment': True,
        'model.family': 'cifar_resnet',
        'model.depth': 8,
        'model.width': None,
    }
    made = make({**images, 'seeds': 2})
    together = made.advance(0, 5).state
    half = made.advance(0, 2).state
    restored = made.programs.restore(2, jax.device_get(state.to_trees(half)))
    _assert_equal(made.programs.advance(restored, 2, 5).state, together)
    alone = make({**images, 'seed': 1}).advance(0, 5).state
    _assert_close(_one(together, 1), alone, rtol=1e-4, atol=1e-5)


def test_vmap_and_map_give_the_same_networks(make):
    vmap, in_turn = (make({'seeds': 3, 'train.seed_axis': how}) for how in ('vmap', 'map'))
    _assert_close(vmap.advance(0, 20).state, in_turn.advance(0, 20).state)


@pytest.mark.slow
def test_networks_dealt_out_over_devices_are_those_of_one_device(make):
    found = []
    for devices in (1, 4):
        made = make({'seeds': 6, 'train.seed_axis': 'vmap'}, devices)  # 3 on each of 2 devices
        networks = made.advance(0, 20)
        found.append((networks.state, networks.totals, made.programs.evaluate(networks)))
    _assert_close(*found)


@pytest.mark.slow_but('1')
@pytest.mark.parametrize('devices', [1, 4])
def test_the_length_of_a_chunk_changes_no_bit_and_compiles_nothing(make, devices):
    programs, traces, begun, *_ = make(NETWORKS, devices)
    whole = programs.advance(copied(begun), 0, 20)
    once = len(traces)
    assert once > 0
    networks = begun
    for start, stop in ((0, 0), (0, 1), (1, EPOCH), (EPOCH, EPOCH + 1), (EPOCH + 1, 20)):
        networks = programs.advance(copied(networks), start, stop)
    _assert_equal(networks, whole)
    networks = programs.clear(networks)
    zeros = totals.zero(3)._replace(last_finite=whole.totals.last_finite)
    _assert_equal(networks.totals, zeros)
    programs.advance(networks, 20, 21)
    restored = programs.restore(20, jax.device_get(state.to_trees(whole.state)))
    programs.advance(restored, 20, 21)
    assert len(traces) == once and programs._advance._cache_size() == 1


def test_a_restored_network_goes_on_bit_for_bit_within_an_epoch(make):
    programs, _, begun, *_ = make(NETWORKS)
    whole = programs.advance(copied(begun), 0, 20).state
    half = programs.advance(copied(begun), 0, EPOCH + 3).state
    restored = programs.restore(EPOCH + 3, jax.device_get(state.to_trees(half)))
    _assert_equal(programs.advance(restored, EPOCH + 3, 20).state, whole)


@pytest.fixture(scope='module')
def counting():
    """counting(start, stop): a loop whose 'networks' count how often they see each example."""
    networks, size, batch_size = 3, 10, 3
    labels = splits.Split(np.zeros((size, 1), np.float32), np.arange(size, dtype=np.int32))
    mesh = placement.mesh(1, 1, jax.devices()[:1])
    resident = feed.Resident(labels, batch_size, mesh)

    def count(network, data, t):
        variables, momenta, _, drawn = network
        rows = resident.batch(drawn, data.split, t).labels
        bad = (variables['s'] == 1) & (t >= 4)
        loss = jnp.where(bad, jnp.nan, t.astype(jnp.float32))
        seen_N = variables['seen'].at[rows].add(1)
        return {**variables, 'seen': seen_N}, momenta, step.Metrics(loss, jnp.float32(1))

    keys_S = jax.vmap(jax.random.key)(np.arange(networks, dtype=np.uint32))
    variables = {
        's': jnp.arange(networks),
        'seen': jnp.zeros((networks, size), jnp.int32),
    }
    begun = program.Networks(
        state.State(variables, ()),
        jnp.zeros((networks, size), jnp.int32),
        totals.zero(networks),
    )
    data = step.Data(labels, np.zeros(1), np.ones(1))
    run = jax.jit(program.many_steps(count, 'vmap', resident.renew))
    return lambda start, stop: run(begun, keys_S, (data, np.int32(start), np.int32(stop)))


def test_each_epoch_is_a_new_order_of_the_training_set_for_each_network(counting):
    seen_SN = np.asarray(counting(0, 3).state.variables['seen'])
    assert (seen_SN.sum(1) == 9).all() and seen_SN.max() == 1
    orders = [np.asarray(counting(0, stop).drawn) for stop in (1, 3, 4)]
    np.testing.assert_array_equal(orders[0], orders[1])
    assert (np.sort(orders[2]) == np.arange(10)).all()
    assert (orders[2] != orders[1]).any(1).all() and (orders[1][0] != orders[1][1]).any()


def test_the_first_step_with_a_bad_loss_and_the_last_finite_loss_are_kept_a_network(counting):
    sums = counting(0, 8).totals
    np.testing.assert_array_equal(sums.first_bad, [totals.NEVER, 4, totals.NEVER])
    np.testing.assert_array_equal(sums.last_finite, [7, 3, 7])
    np.testing.assert_array_equal(sums.accuracy, [8, np.nan, 8])


def test_a_network_that_is_taken_out_stays_nan_and_the_others_do_not_notice(make):
    programs, _, begun, *_ = make(NETWORKS)
    whole = programs.advance(copied(begun), 0, 20)
    first_bad_S = np.array([totals.NEVER, totals.NEVER, 3])
    half = programs.take_out(programs.advance(copied(begun), 0, 5), first_bad_S)
    gone_on = programs.advance(copied(half), 5, 20)
    for s in (0, 1):
        _assert_equal(_one(gone_on.state, s), _one(whole.state, s))
    for found, expected in zip(gone_on.totals[:2], whole.totals[:2], strict=True):
        np.testing.assert_array_equal(found, np.where([0, 0, 1], np.nan, expected))
    np.testing.assert_array_equal(gone_on.totals.first_bad, first_bad_S)
    for leaf in jax.tree.leaves(jax.device_get(gone_on.state)):
        assert np.isnan(leaf[2]).all() or not np.issubdtype(leaf.dtype, np.inexact)
    for value_S in programs.evaluate(gone_on):
        np.testing.assert_array_equal(np.isnan(value_S), [False, False, True])


def test_evaluation_in_padded_batches_is_that_of_the_whole_test_set(make, monkeypatch):
    monkeypatch.setattr(program, 'EVALUATION_BATCH', 32)  # 70 test examples: 2 batches and 6 more
    made = make(NETWORKS | {'train.label_smoothing': 0.2}, fresh=True)
    networks, apply = made.begun, jax.jit(made.model.apply)
    found = made.programs.evaluate(networks)
    test, mean, std = made.dataset.test, made.dataset.mean, made.dataset.std
    host = jax.device_get(networks.state.variables)
    for s in range(3):
        variables = jax.tree.map(lambda leaf, s=s: leaf[s], host)
        logits_BK = np.asarray(apply(variables, (test.inputs - mean[None]) / std[None]))
        assert found.accuracy[s] == np.mean(logits_BK.argmax(-1) == test.labels)
        losses_N = -scipy.special.log_softmax(logits_BK, -1)[np.arange(70), test.labels]
        np.testing.assert_allclose(found.loss[s], losses_N.mean(), rtol=1e-5)
        middle = np.sort(losses_N)[34:36].mean()  # of 70, without the padding
        np.testing.assert_allclose(found.median_loss[s], middle, rtol=1e-5)


def test_a_test_set_smaller_than_a_batch_is_one_batch():
    split = splits.Split(np.ones((5, 2), np.float32), np.arange(5, dtype=np.int32))
    padded = step.padded_batches(split, 32)
    assert padded.inputs.shape == (1, 5, 2) and padded.weights.sum() == 5


@pytest.mark.parametrize('norm', ['batch', 'none'])
def test_a_record_has_the_gammas_and_norms_of_each_network(make, norm):
    made = make(NETWORKS | ({} if norm == 'batch' else {'model.norm': norm}))
    networks = made.begun if norm == 'none' else made.advance(0, 20)
    found = made.programs.record(networks)
    variables = jax.device_get(networks.state.variables)
    stage, stem = variables['params']['stage_0'], variables['params']['stem']
    for s in range(3):
        kernels = [
            stem['linear']['kernel'][s],
            stage['linear_0']['kernel'][s],
            variables['params']['head']['linear']['kernel'][s],
        ]
        expected = np.sqrt(sum((kernel.astype(float) ** 2).sum() for kernel in kernels))
        np.testing.assert_allclose(found['weight_norm'][s], expected, rtol=1e-5)
    assert found['branch_moment'].shape == found['skip_moment'].shape == (3, 2)
    assert (found['branch_moment'] > 0).all() and (found['skip_moment'] > 0).all()
    if norm == 'none':
        assert not [name for name in found if 'gamma' in name]
        return
    gammas_SLC = np.abs(variables['gammas']['stage_0']['norm_0']['gamma'])
    np.testing.assert_allclose(found['gamma_mean'], gammas_SLC.mean(-1), rtol=1e-6)
    np.testing.assert_allclose(found['gamma_std'], gammas_SLC.std(-1), rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(found['norm_gamma_mean']['norm_0'], found['gamma_mean'])
    stem_SC = np.abs(variables['gammas']['stem']['norm']['gamma'])
    np.testing.assert_allclose(found['stem_gamma_mean'], stem_SC.mean(-1), rtol=1e-6)
