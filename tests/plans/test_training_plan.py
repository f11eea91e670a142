"""A plan of a training: that it compiles what is run, what it says, and what it refuses."""

import types

import jax
import numpy as np
import pytest
import tiny

from resnet_dyn import config, errors, fields
from resnet_dyn.data import datasets
from resnet_dyn.models import placement, presets, seed_axis
from resnet_dyn.plans import (
    chips,
    costs,
    examples,
    notes,
    programs,
    remedies,
    targets,
    training,
    units,
)
from resnet_dyn.training import program

V5E = chips.topology('v5e:2x4').chip
GIB = 2**30


@pytest.fixture(scope='module')
def made():
    """A plan of 4 networks on 2 devices."""
    lines = []
    here = targets.at_hand()
    here = here._replace(devices=here.devices[:2])
    plan = training.make(config.parse(tiny.VALUES | {'seeds': 4}), here, report=lines.append)
    assert [line.split()[1] for line in lines] == ['advance', 'evaluate', 'record', 'advance']
    return plan


def test_it_compiles_the_very_programs_of_the_run(made):
    dataset = datasets.load(made.cfg.data)
    model = presets.from_config(made.cfg.model, dataset.classes)
    run = program.Program(made.cfg, model, dataset, 6, made.mesh)
    networks, texts = run.begin(), {}
    for name in ('_advance', '_evaluate', '_record'):

        def seen(*arguments, name=name, function=getattr(run, name)):
            texts[name] = function.lower(*arguments).as_text()
            return function(*arguments)

        setattr(run, name, seen)
    networks = run.advance(networks, 0, 1)
    run.evaluate(networks)
    run.record(networks)
    with placement.shapes_alone():
        shapes = program.Program(made.cfg, model, dataset, 6, made.mesh)
    assert {f'_{name}': low.as_text() for name, low in shapes.lowered().items()} == texts


def test_with_shapes_alone_nothing_is_put_on_a_device():
    mesh = placement.mesh(2, 16, jax.devices()[:2])
    with placement.shapes_alone():
        shape = placement.place({'a': np.zeros((2, 3), np.uint8)}, mesh, placement.SPLIT)['a']
        rows = placement.place_rows(np.zeros((4, 16)), 16, mesh)
    assert isinstance(shape, jax.ShapeDtypeStruct) and isinstance(rows, jax.ShapeDtypeStruct)
    assert (shape.shape, shape.dtype) == ((2, 3), np.uint8)
    assert shape.sharding.spec == placement.SPLIT and rows.shape == (4, 16)
    assert isinstance(placement.place(np.zeros(2), mesh, placement.SPLIT), jax.Array)


def test_networks_together_and_in_turn_do_the_same_products_a_step(made):
    assert set(made.steps) == set(seed_axis.WAYS) and made.networks == 2
    vmap, in_turn = (made.steps[how].cost for how in ('vmap', 'map'))
    assert vmap.products == in_turn.products
    # 3 layers of 4 -> 8, 8 -> 8, 8 -> 8 and a classifier of 3, forward and both backward (not the
    # gradient of the inputs), of 16 examples and 2 networks
    layers = 4 * 8 + 2 * (8 * 8) + 8 * 8 + 8 * 3
    assert sum(vmap.products.values()) == 2 * 2 * 16 * (3 * layers - 4 * 8)


def fake(temporaries, memory=16e9, seeds=8, chips_=2, how='vmap', other=None, **values):
    """A plan of a ResNet-20 whose programs take what is said."""
    cfg = config.parse(
        {
            'seeds': seeds,
            'data.name': 'cifar10',
            'model.family': 'cifar_resnet',
            'train.seed_axis': how,
            **values,
        }
    )

    def one(name, size):
        taken = None if size is None else programs.Memory(GIB, 0, int(size), 2**20)
        said = '' if taken else 'RESOURCE_EXHAUSTED: Used 40.00G of 15.75G hbm.'
        cost = costs.Cost({'bfloat16': 1e9}, 1e6, 1e9, {}, 0, 3e6)
        return programs.Program(name, taken, cost, said)

    devices = jax.devices()[:chips_]
    target = targets.Target('v5e:1x2', devices, V5E, 1.0, memory)
    steps = {how: one('advance', temporaries)}
    if other is not None:
        (name,) = set(seed_axis.WAYS) - {how}
        steps[name] = one('advance', other)
    mesh = placement.mesh(cfg.seeds, cfg.train.batch_size, devices)
    return training.Plan(cfg, target, mesh, steps, (one('evaluate', 0),))


def test_what_fits_is_not_refused():
    plan = fake(GIB)
    assert remedies.check(plan) is None
    assert plan.needs('vmap') == 2 * (GIB + 2**20) + GIB


def test_what_does_not_fit_is_refused_with_what_would_and_how_that_is_known():
    plan = fake(20 * GIB, other=5 * GIB)
    with pytest.raises(errors.BudgetError) as refused:
        remedies.check(plan)
    text = str(refused.value)
    assert '4 networks a device, by vmap, need 22 GiB' in text and 'v5e:1x2 has 14.9 GiB' in text
    assert '--config.train.seed_axis=map (7 GiB a chip, compiled)' in text
    assert '--config.train.batch_size=64 (12 GiB a chip, an estimate)' in text
    assert '--config.model.dtype=bfloat16 (12 GiB a chip, an estimate)' in text
    assert '--config.seeds=4 (11 GiB a chip, an estimate)' in text
    assert '2 times as many chips' in text and '\n' not in text


def test_each_thing_that_would_fit_does_by_its_own_estimate_and_is_the_smallest_change():
    plan = fake(100 * GIB, other=80 * GIB)
    found = list(remedies.remedies(plan))
    assert all(one.bytes <= plan.target.memory for one in found)
    changes = [one.change for one in found]
    assert changes == ['--config.train.batch_size=16', '8 times as many chips']
    in_turn = fake(20 * GIB, how='map')
    changes = [one.change for one in remedies.remedies(in_turn)]
    assert '--config.train.batch_size=64' in changes and '--config.seeds=4' not in changes


def test_a_program_that_the_compiler_cannot_place_is_refused_in_its_words():
    plan = fake(None, other=GIB)
    assert plan.needs('vmap') is None and plan.bound('vmap') is None and plan.cheapest() == 'map'
    with pytest.raises(errors.BudgetError, match=r'need 40 GiB.*15\.75G hbm.*seed_axis=map') as got:
        remedies.check(plan)
    assert 'batch_size=32' in str(got.value)
    assert 'more memory than the compiler could place' in notes.of_training(plan)
    nothing = fake(None)
    nothing = nothing._replace(steps={'vmap': nothing.steps['vmap']._replace(said='too large')})
    with pytest.raises(errors.BudgetError, match='Nothing that is tried here'):
        remedies.check(nothing)


def test_full_memory_is_told_from_other_errors_of_a_compiler():
    def lowered(text):
        def compile():
            raise jax.errors.JaxRuntimeError(text)

        return types.SimpleNamespace(compile=compile)

    full = programs.compiled('advance', lowered('RESOURCE_EXHAUSTED: Used 18.30G of 15.75G hbm'))
    assert full.memory is None and programs.asked(full.said) == int(18.30 * GIB)
    with pytest.raises(jax.errors.JaxRuntimeError):
        programs.compiled('advance', lowered('INTERNAL: a bug'))
    assert programs.asked('no number') is None


def test_the_text_has_every_number_within_80_columns(made):
    text = notes.of_training(fake(GIB, other=2 * GIB))
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        'cifar_resnet of depth 20',
        'seed 2',
        'a device has 4 networks',
        'memory: temporaries',
        'compute',
        'at best 1.22 ms a step',  # 1 GB at 819 GB/s
        '839 k images/s',  # 8 networks, batches of 128
        "compiler's own guess",
        '2 ms',  # 3 M cycles at 1.5 GHz
        'docs.cloud.google.com',
        'cheapest of vmap and map by that bound: vmap',
    ):
        assert words in text, words
    here = notes.of_training(made)
    assert 'no least time is given' in here and 'images/s' not in here


def test_the_choice_of_the_bound_is_said_where_the_run_would_take_the_other():
    plan = fake(GIB, how='map', other=GIB)
    slow = plan.steps['map']
    slow = slow._replace(cost=slow.cost._replace(bytes=2e9))
    plan = plan._replace(steps=plan.steps | {'map': slow})
    assert plan.cheapest() == 'vmap'
    assert 'give it --config.train.seed_axis=vmap' in notes.of_training(plan)
    one = fake(GIB, seeds=2)
    assert 'the same program' in notes.of_training(one)


def test_a_config_is_settled_for_the_target_and_not_for_this_machine():
    cfg = config.parse({'model.family': 'cifar_resnet', 'data.name': 'cifar10'})
    target = targets.at_hand()
    assert training.settled(cfg, target).model.convolution == 'plain'
    tpu = types.SimpleNamespace(platform='tpu')
    assert training.settled(cfg, tpu).model.convolution == 'xla'
    chosen = fields.replace(cfg, {'model.convolution': 'plain', 'train.seed_axis': 'vmap'})
    assert training.settled(chosen, tpu) == chosen


def test_streams_and_sets_that_are_not_here_have_their_shapes():
    cifar = examples.of_config(config.parse({'data.name': 'cifar100'}).data)
    assert cifar.train.inputs.shape == (50_000, 32, 32, 3) and cifar.classes == 100
    values = {'data.name': 'imagenet2012', 'data.image_size': 32, 'train.steps': 3}
    small = {'model.depth': 3, 'model.width': 4, 'train.batch_size': 8}
    cfg = training.settled(config.parse(values | small), targets.at_hand())
    dataset = examples.of_config(cfg.data)
    assert dataset.train.size == 1_281_167 and dataset.train.inputs.shape[1:] == (32, 32, 3)
    mesh = placement.mesh(1, 8, jax.devices()[:2])
    texts = []
    for augment in (True, False):  # on the host, not in the program
        chosen = fields.replace(cfg, {'data.augment': augment})
        with placement.shapes_alone():
            model = presets.from_config(cfg.model, dataset.classes)
            lowered = program.Program(chosen, model, dataset, 3, mesh).lowered(['advance'])
        texts.append(lowered['advance'].as_text())
    assert texts[0] == texts[1] and '32x8x32x32x3xui8' in texts[0]  # 32 batches a call


def test_what_a_training_would_refuse_a_plan_does_too():
    here = targets.at_hand()
    for values, word in (
        ({'train.batch_size': 100}, 'batch_size'),
        ({'model.family': 'cifar_resnet', 'data.name': 'gaussians'}, 'cifar_resnet'),
    ):
        small = {} if 'model.family' in values else tiny.VALUES
        with pytest.raises(errors.UserError, match=word):
            training.make(config.parse({**small, **values}), here)


def test_numbers_have_three_digits():
    assert units.binary(1024) == '1 KiB' and units.binary(16e9) == '14.9 GiB'
    assert units.decimal(999.6) == '1 k' and units.decimal(28.27e9, 'B') == '28.3 GB'
    assert units.seconds(0.000235) == '0.235 ms' and units.seconds(2.5) == '2.5 s'
