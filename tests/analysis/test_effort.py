"""Sums over examples and networks: part by part or at once, in turn or vmapped, all the same."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.analysis import effort, subjects
from resnet_dyn.models import stack


def stem(params, x):
    return x


def branch(factor, h):
    return factor * h


def scaled(factor):
    stage = stack.Stage(jnp.array([factor]), branch, 1)
    return stack.ResidualStack((), (stage,), (), stem, stem)


def sums(net, inputs, labels):
    outputs = stack.apply(net, inputs, jnp.ones(1))
    return {'outputs': outputs.sum(0), 'weighted': (outputs * labels[:, None]).sum(0)}


NETS = [scaled(1.0), scaled(2.0), scaled(-1.0)]
INPUTS = np.arange(14, dtype=np.float32).reshape(7, 2)


def weighted(networks):
    """The networks on the inputs, whose labels are 0..6: numbers to weigh examples by."""
    subject = subjects.of_networks(networks, INPUTS, np.zeros(7, int))
    return subject._replace(examples=subject.examples._replace(labels=jnp.arange(7)))


SUBJECT = weighted(NETS)
EFFORT = effort.Effort()


def test_fewer_examples_go_at_once_where_outputs_are_large():
    found = [effort.examples_for(outputs) for outputs in (10, 128 * 50257, 10**9)]
    assert found == [250, 5, 1]


@pytest.mark.parametrize('how', ['map', 'vmap'])
@pytest.mark.parametrize('at_once', [7, 3, 100])
def test_totals_are_sums_over_all_examples_led_by_networks(how, at_once):
    found = effort.totals(sums, SUBJECT, EFFORT._replace(how=how, at_once=at_once))
    weighted = (INPUTS * np.arange(7)[:, None]).sum(0)
    np.testing.assert_allclose(found['outputs'], np.outer([2, 3, 0], INPUTS.sum(0)))
    np.testing.assert_allclose(found['weighted'], np.outer([2, 3, 0], weighted))


def test_examples_that_meet_are_never_parted():
    def head(params, h):
        return h - h.mean(0, keepdims=True)

    meeting = [dataclasses.replace(net, head=head, couples_examples=True) for net in NETS]
    subject = weighted(meeting)
    found = effort.totals(sums, subject, EFFORT._replace(at_once=3))
    np.testing.assert_allclose(found['outputs'], np.zeros((3, 2)), atol=1e-4)
    assert EFFORT._replace(at_once=3).kernel(subject)['examples_at_once'] == 7


def test_parts_have_keys_of_their_own_that_all_networks_share():
    def draws(net, inputs, labels, key):
        return jax.random.normal(key)

    key = effort.key(SUBJECT, 'paths')
    one = effort.totals(draws, SUBJECT, EFFORT, key)
    assert np.ptp(one) == 0
    two = effort.totals(draws, SUBJECT, EFFORT._replace(at_once=4), key)
    first, second = (jax.random.normal(jax.random.fold_in(key, part)) for part in (0, 1))
    np.testing.assert_allclose(one, 3 * [first])
    np.testing.assert_allclose(two, 3 * [first + second], rtol=1e-6)


def test_measures_and_seeds_of_the_data_draw_from_different_keys():
    other = SUBJECT._replace(examples=SUBJECT.examples._replace(seed=1))
    keys = [effort.key(SUBJECT, name) for name in ('random', 'reorder', 'mine', 'yours')]
    keys.append(effort.key(other, 'random'))
    assert len({np.asarray(jax.random.key_data(key)).tobytes() for key in keys}) == 5


@pytest.mark.parametrize('how', ['map', 'vmap'])
def test_progress_grows_over_networks_and_parts_to_its_total(how):
    heard = []
    told = EFFORT._replace(
        how=how, at_once=3, progress=lambda done, total: heard.append(done / total)
    )
    effort.totals(sums, SUBJECT, told.turn(1, 2))
    assert heard == sorted(heard) and heard[0] > 0.5 and heard[-1] == 1
