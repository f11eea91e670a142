"""A plan of lesions and of path spectra: that it compiles what is run, and counts it."""

import collections

import jax
import numpy as np
import pytest
import tiny

from resnet_dyn import config, errors, fields
from resnet_dyn.analysis import effort, path_spectra, subjects
from resnet_dyn.kernels import devices, lesions, masks, prefix_programs
from resnet_dyn.models import placement, presets
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.plans import chips, kernels, notes, remedies, targets
from resnet_dyn.training import state

CONFIG = config.parse(tiny.VALUES | {'seeds': 1})
L = 3


def target(number):
    here = targets.at_hand()
    return here._replace(devices=here.devices[:number])


@pytest.fixture(scope='module')
def alone():
    return kernels.make('lesions', CONFIG, target(1), report=lambda line: None)


@pytest.fixture(scope='module')
def net():
    model = presets.from_config(CONFIG.model, 3)
    variables = state.initial_variables(model, state.keys(CONFIG), (4,))
    return stack_lib.from_model(model, jax.tree.map(lambda a: a[0], variables))


INPUTS, LABELS = np.zeros((30, 4), np.float32), np.zeros(30, np.int32)
SINGLE = np.concatenate([np.ones((1, L)), masks.single(L)])


def test_lesions_compile_the_very_programs_and_count_every_block(alone, net, monkeypatch):
    run, called, blocks = prefix_programs.evaluate, {}, []

    def seen(stage, index, hs, gates):
        blocks.append(len(hs))
        called[len(hs)] = run.lower(stage, index, hs, gates).compile().cost_analysis()['flops']
        return run(stage, index, hs, gates)

    monkeypatch.setattr(prefix_programs, 'evaluate', seen)
    with jax.default_matmul_precision('highest'):
        lesions.score(net, INPUTS, LABELS, SINGLE)
    stages = [one.name.startswith('stage') for one in alone.programs]
    planned = {
        int(one.name.split()[2]): (one, calls)
        for one, calls, is_stage in zip(alone.programs, alone.calls, stages, strict=True)
        if is_stage
    }
    assert {nodes: calls for nodes, (_, calls) in planned.items()} == collections.Counter(blocks)
    assert sum(blocks) == L * (L + 1) / 2
    for nodes, (one, _) in planned.items():
        assert one.cost.operations == pytest.approx(called[nodes], rel=0.02)
        assert one.cost.products == {'float32 highest': nodes * 2 * 30 * 8 * 8}


@pytest.mark.parametrize(
    'sizes', [None, pytest.param({'mask': 2, 'data': 2}, marks=pytest.mark.slow)]
)
def test_lesions_on_several_devices_are_those_of_a_run_what_is_left_over_too(
    net, sizes, monkeypatch
):
    plan = kernels.make('lesions', CONFIG, target(4), sizes, report=lambda line: None)
    run, called = prefix_programs.evaluate, collections.Counter()

    def seen(stage, index, hs, gates):
        part = hs[0].sharding.shard_shape(hs[0].shape)[0]
        called[min(device.id for device in hs[0].devices()), part, len(hs)] += 1
        return run(stage, index, hs, gates)

    monkeypatch.setattr(prefix_programs, 'evaluate', seen)
    mesh = placement.kernel_mesh(jax.devices()[:4], sizes)
    with jax.default_matmul_precision('highest'):
        lesions.score(net, INPUTS, LABELS, SINGLE, mesh=mesh)
    of_place = collections.defaultdict(dict)
    for (device, *key), calls in called.items():
        of_place[device][tuple(key)] = calls
    rows = zip(plan.programs, plan.shares, plan.calls, strict=True)
    planned = {
        (share, int(one.name.split()[2])): calls
        for one, share, calls in rows
        if one.name.startswith('stage')
    }
    assert planned in of_place.values()
    assert {part for _, part, _ in called} == {part for part, _ in planned}
    assert sum(planned.values()) >= max(sum(found.values()) for found in of_place.values())
    text = notes.of_kernels(plan)
    assert placement.words(mesh) in text and max(map(len, text.splitlines())) <= 80


@pytest.mark.slow
@pytest.mark.parametrize('networks', [1, 3])
def test_paths_on_several_devices_are_the_programs_of_a_run_and_as_many_calls(
    net, networks, monkeypatch
):
    cfg = fields.replace(CONFIG, {'seeds': networks})
    plan = kernels.make('paths', cfg, target(4), report=lambda line: None)
    made, called = effort.dealt, collections.Counter()

    def seen(function, mesh, how, static):
        run, name = made(function, mesh, how, static), function.__name__.removesuffix('_sums')

        def call(jobs, key, shared):
            called[name, jobs[2].shape[1]] += 1
            return run(jobs, key, shared)

        return call

    monkeypatch.setattr(effort, 'dealt', seen)
    subject = subjects.of_networks([net] * networks, INPUTS, LABELS)
    settings = effort.of_settings(effort.Settings(), mesh=placement.kernel_mesh(jax.devices()[:4]))
    with jax.default_matmul_precision('highest'):
        path_spectra.measure(subject, settings, path_spectra.Options())
    rows = zip(plan.programs, plan.shares, plan.calls, strict=True)
    assert {(one.name, share): calls for one, share, calls in rows} == called


@pytest.mark.parametrize('what', ['lesions', pytest.param('paths', marks=pytest.mark.slow)])
def test_a_language_model_is_looked_at_by_its_tokens(what):
    values = {
        'model.family': 'transformer',
        'model.depth': 2,
        'model.width': 8,
        'data.name': 'text',
        'data.length': 6,
        'data.train_size': 16,
        'data.test_size': 8,
        'train.batch_size': 4,
    }
    plan = kernels.make(what, config.parse(values), target(1), report=lambda line: None)
    assert plan.examples == 8 and all(one.memory for one in plan.programs)


def test_its_text_and_its_refusal(alone):
    text = notes.of_kernels(alone)
    assert 'single blocks deleted' in text and 'no least time is given' in text
    assert max(map(len, text.splitlines())) <= 80
    known = alone._replace(target=alone.target._replace(chip=chips.TPUS[1], memory=16e9))
    assert known.seconds > 0 and 'at best' in notes.of_kernels(known)
    assert max(map(len, notes.of_kernels(known).splitlines())) <= 80
    remedies.check_kernels(known)
    small = alone._replace(target=alone.target._replace(memory=10))
    with pytest.raises(errors.BudgetError, match='half of --examples_at_once=30'):
        remedies.check_kernels(small)


def test_work_is_cut_for_the_platform_that_is_compiled_for():
    here = devices.worth_together(2**18)
    with devices.compiling_for('tpu'):
        assert devices.worth_together(2**18) == 2**25 // 2**18 > here
    assert devices.worth_together(2**18) == here
