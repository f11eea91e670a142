"""Training on several devices, networks along `seed` and batches along `data`: as on one device."""

import re

import jax
import numpy as np
import pytest

from resnet_dyn import config
from resnet_dyn.data import datasets, splits
from resnet_dyn.models import network, placement, presets, seed_axis
from resnet_dyn.training import checkpoints, loop, program, state, step

pytestmark = pytest.mark.usefixtures('shared_programs')

MANY = jax.device_count()  # 4 in the suite, 8 in one test of it
STEPS = 10
NETWORKS = {'seeds': 2, 'train.steps': STEPS}


def made(cfg, devices, sizes=None, model=None, dataset=None):
    """The programs of a config on the first `devices`."""
    cfg = seed_axis.settle(cfg)
    dataset = dataset or datasets.load(cfg.data)
    model = model or presets.from_config(cfg.model, dataset.classes, cfg.train.survival)
    mesh = placement.mesh(cfg.seeds, cfg.train.batch_size, jax.devices()[:devices], sizes)
    return program.Program(cfg, model, dataset, STEPS, mesh), mesh


def everything(programs, steps=STEPS):
    """The state, the totals, the evaluation and the record after so many steps, on the host."""
    networks = programs.advance(programs.begin(), 0, steps)
    found = programs.evaluate(networks), programs.record(networks)
    return placement.gather((networks.state, networks.totals, *found))


def assert_close(found, expected, rtol=1e-4, atol=1e-5):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol, atol), found, expected)


@pytest.fixture(scope='module')
def on_one_device(tiny):
    """on_one_device(changes): `everything` of a config there; each once."""
    found = {}

    def once(changes):
        key = str(changes)
        if key not in found:
            found[key] = everything(made(tiny(changes), 1)[0])
        return found[key]

    return once


@pytest.mark.slow_but('all')
@pytest.mark.parametrize(
    ('changes', 'sizes'),
    [
        (NETWORKS, {'seed': 2, 'data': MANY // 2}),
        (NETWORKS | {'seeds': 3}, {'seed': 1, 'data': MANY}),
        (NETWORKS | {'seeds': 1, 'train.batch_size': 6}, {'seed': 1, 'data': min(6, MANY - 1)}),
    ],
    ids=['all', '3 networks', 'batches of 6'],
)
def test_networks_and_batches_on_many_devices_are_those_of_one(tiny, on_one_device, changes, sizes):
    programs, mesh = made(tiny(changes), MANY)  # 70 test examples, which no size divides
    assert dict(mesh.shape) == sizes
    assert_close(everything(programs), on_one_device(changes))


def images():
    """An ImageNet net in small (7x7 stem, pool, bottlenecks, projection) and data for it."""
    layer, spec = presets.Layer, presets.StageSpec
    bottleneck = (layer(4, 1), layer(4, 3, 2), layer(8, 1))
    model = network.ResidualNetwork(
        stem_layer=layer(4, 7, 2),
        stages=(spec(1, bottleneck, 'projection'),),
        classes=3,
        style=presets.imagenet_resnet(18).style,
        pool=True,
    )
    random = np.random.default_rng(0)

    def split(size):
        inputs = random.integers(0, 256, (size, 16, 16, 3), dtype=np.uint8)
        return splits.Split(inputs, random.integers(0, 3, size, dtype=np.int32))

    source = datasets.Source('random', '', '')
    norm = np.full(3, 127.5, np.float32), np.full(3, 64, np.float32)
    return model, datasets.Dataset(split(24), split(10), *norm, 3, source)


@pytest.mark.slow
def test_convolutions_and_their_gradients_are_dealt_out_along_data(tiny):
    changes = {'seeds': 2, 'train.batch_size': 8, 'train.seed_axis': 'map'}
    cfg = config.parse({'data.name': 'digits', **changes, 'data.augment': True, 'train.steps': 9})
    model, dataset = images()
    found = []
    for devices, sizes in ((1, None), (2, {'data': 2})):
        programs, _ = made(cfg, devices, sizes, model, dataset)
        found.append(placement.gather(programs.advance(programs.begin(), 0, 3).state))
    assert_close(found[1], found[0], rtol=2e-3, atol=2e-4)
    begun = programs.begin()
    ((first, last, examples),) = programs._feed.chunks(0, 3)
    shared = (step.Data(examples, *programs._norm), first, last)
    text = programs._advance.lower(begun, programs._keys_S, shared).compile().as_text()
    assert 'all-reduce' in text
    assert not re.search(r'all-gather|all-to-all|collective-permute', text)
    assert re.search(r'f32\[4,8,8,4\]\S* convolution', text)  # the stem, of half a batch
    assert not re.search(r'f32\[8,8,8,4\]\S* convolution', text)


def test_the_state_is_counted_once(tiny):
    programs, _ = made(tiny(NETWORKS), MANY)
    begun = programs.begin()
    after = programs.advance(begun, 0, 1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(begun))
    for leaf in jax.tree.leaves(after):
        assert leaf.sharding.is_equivalent_to(programs._split, leaf.ndim)


def test_what_came_from_the_host_and_what_went_there_outlives_a_donated_state(tiny):
    programs, _ = made(tiny(NETWORKS), 1)
    trees = jax.tree.map(np.array, placement.gather(state.to_trees(programs.begin().state)))
    kept = jax.tree.map(np.copy, trees)
    restored = programs.restore(0, trees)
    there = placement.gather(restored)
    before = jax.tree.map(np.copy, there)
    jax.block_until_ready(programs.advance(restored, 0, STEPS))
    jax.tree.map(np.testing.assert_array_equal, trees, kept)
    jax.tree.map(np.testing.assert_array_equal, there, before)


@pytest.mark.slow_but('4-1')
@pytest.mark.parametrize(('first', 'then'), [(1, MANY), (MANY, 1)])
def test_a_run_goes_on_with_another_number_of_devices(tiny, tmp_path, first, then):
    cfg = tiny(NETWORKS | {'checkpoint.every': 5})
    straight, said = tmp_path / 'straight', []
    loop.train(cfg, straight, said.append, devices=jax.devices()[:1])
    half = iter([False, False, True, True])
    stopped = loop.train(
        cfg, tmp_path / 'run', said.append, lambda: next(half), devices=jax.devices()[:first]
    )
    assert not stopped.finished
    loop.train(cfg, tmp_path / 'run', said.append, devices=jax.devices()[:then])
    assert any(f'{MANY} cpu devices: seed 2 x data {MANY // 2}' in line for line in said)
    found, expected = (checkpoints.restore(run)[1] for run in (tmp_path / 'run', straight))
    assert_close(found, expected)


def test_a_mesh_that_is_given_is_taken_and_one_that_does_not_fit_changes_nothing(tiny, tmp_path):
    said, cfg = [], tiny({'train.steps': 2})
    with pytest.raises(ValueError, match='do not divide over 2 devices along seed'):
        loop.train(cfg, tmp_path / 'run', said.append, mesh={'seed': 2})
    assert not (tmp_path / 'run').exists()
    loop.train(cfg, tmp_path / 'run', said.append, lambda: True, mesh={'data': 2})
    assert '; 2 cpu devices: data 2 ' in said[0] and f'({MANY - 2} of {MANY} idle)' in said[0]
