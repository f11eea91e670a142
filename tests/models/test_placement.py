"""Meshes: which devices work, what is said of them, and arrays there and back."""

import math

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding

from resnet_dyn import errors
from resnet_dyn.models import placement

FOUR = jax.devices()[:4]


@pytest.mark.parametrize(
    ('networks', 'batch_size', 'devices', 'expected'),
    [
        (8, 128, 4, (4, 1)),
        (2, 128, 4, (2, 2)),
        (6, 128, 4, (2, 2)),
        (1, 128, 4, (1, 4)),
        (3, 128, 4, (1, 4)),
        (3, 7, 4, (3, 1)),
        (1, 6, 4, (1, 3)),
        (1, 7, 4, (1, 1)),
        (5, 3, 1, (1, 1)),
    ],
)
def test_as_many_devices_as_divide_work_along_seed_first(networks, batch_size, devices, expected):
    found = placement.mesh(networks, batch_size, FOUR[:devices])
    assert tuple(found.shape.items()) == (('seed', expected[0]), ('data', expected[1]))


@pytest.mark.parametrize('devices', range(1, 25))
def test_where_all_devices_can_work_those_along_seed_are_the_common_divisor(devices):
    for networks in range(1, 13):
        found = placement._most(networks, 5040, devices)
        if devices <= 10:
            seed = math.gcd(networks, devices)
            assert found == {'seed': seed, 'data': devices // seed}
        assert networks % found['seed'] == 5040 % found['data'] == 0
        assert max(found.values()) <= math.prod(found.values()) <= devices


def test_a_mesh_is_said_in_words():
    assert placement.words(placement.mesh(2, 8, FOUR), FOUR) == '4 cpu devices: seed 2 x data 2'
    assert placement.words(placement.mesh(1, 8, FOUR[:1]), FOUR[:1]) == '1 cpu device'
    ragged = placement.words(placement.mesh(1, 6, FOUR), FOUR, '6 do not divide')
    assert ragged == '3 cpu devices: data 3 (1 of 4 idle: 6 do not divide)'
    kernels = placement.kernel_mesh(FOUR, {'mask': 2, 'data': 2})
    assert placement.words(kernels, FOUR) == '4 cpu devices: mask 2 x data 2'
    assert dict(placement.kernel_mesh(FOUR).shape) == {'mask': 1, 'data': 4}


def test_sizes_that_are_given_take_the_place_of_the_rule():
    sizes = placement.parse(' seed:1, data:2', placement.TRAINING)
    assert sizes == {'seed': 1, 'data': 2}
    assert dict(placement.mesh(2, 8, FOUR, sizes).shape) == sizes
    assert dict(placement.mesh(2, 8, FOUR, {'data': 4}).shape) == {'seed': 1, 'data': 4}


@pytest.mark.parametrize(
    ('text', 'said'),
    [
        ('sed:2', r"axis 'sed'.* made of seed and data, .*seed:2,data:2; did you mean 'seed'\?$"),
        ('mask:2', "axis 'mask'.* made of seed and data"),
        ('', "axis ''"),
        ('seed', 'does not give seed one size'),
        ('seed:0', 'does not give seed one size'),
        ('seed:-1', 'does not give seed one size'),
        ('seed:two', 'does not give seed one size'),
        ('seed:2,seed:2', 'does not give seed one size'),
    ],
)
def test_a_text_that_names_no_mesh_is_refused_with_one_that_does(text, said):
    with pytest.raises(errors.ConfigError, match=said):
        placement.parse(text, placement.TRAINING)


@pytest.mark.parametrize(
    ('sizes', 'said'),
    [
        ({'seed': 2, 'data': 4}, 'seed:2,data:4 needs 8 devices, and there are 4'),
        ({'seed': 3}, '2 networks do not divide over 3 devices along seed. They do over 1 or 2'),
        ({'data': 4}, '6 examples of a batch .* over 4 devices along data. They do over 1, 2 or 3'),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused_with_what_would(sizes, said):
    with pytest.raises(errors.ConfigError, match=said):
        placement.mesh(2, 6, FOUR, sizes)


def test_arrays_go_to_a_mesh_and_come_back_whole():
    mesh = placement.mesh(2, 8, FOUR)
    tree = {'a': np.arange(6.0).reshape(2, 3), 'keys': jax.random.split(jax.random.key(0), 2)}
    there = placement.place(tree, mesh, placement.SPLIT)
    assert {shard.data.shape for shard in there['a'].addressable_shards} == {(1, 3)}
    assert there['keys'].dtype == tree['keys'].dtype
    found = placement.gather({'a': there['a'], 'host': 3})
    assert type(found['a']) is np.ndarray and found['host'] == 3
    np.testing.assert_array_equal(found['a'], tree['a'])


def test_arrays_of_several_processes_take_another_way_with_the_same_result():
    """The way of arrays that no process has whole, on devices of this one."""
    mesh = placement.mesh(2, 8, FOUR)
    sharding = NamedSharding(mesh, placement.SPLIT)
    tree = [np.arange(6.0).reshape(2, 3), jax.random.split(jax.random.key(0), 2)]
    for leaf in tree:
        found, expected = placement._put(leaf, sharding), jax.device_put(leaf, sharding)
        assert found.sharding == sharding and found.dtype == expected.dtype
        if leaf.dtype == expected.dtype != float:
            found, expected = jax.random.key_data(found), jax.random.key_data(expected)
        np.testing.assert_array_equal(found, expected)
    whole = placement._everywhere(mesh)([placement._put(tree[0], sharding)])
    assert whole[0].is_fully_replicated
    np.testing.assert_array_equal(whole[0], tree[0])


def test_the_rows_of_this_process_are_put_in_their_places():
    mesh = placement.mesh(1, 8, FOUR)
    assert placement.own_rows(8, mesh) == slice(0, 8)
    rows = np.arange(48.0).reshape(3, 8, 2)
    found = placement.place_rows({'a': rows}, 8, mesh)['a']
    assert {shard.data.shape for shard in found.addressable_shards} == {(3, 2, 2)}
    np.testing.assert_array_equal(found, rows)
