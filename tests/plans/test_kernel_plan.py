"""A plan of lesions and of path spectra: that it compiles what is run, and counts it."""

import collections

import jax
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.kernels import devices, lesions, masks, prefix_programs
from resnet_dyn.models import presets
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.plans import chips, kernels, notes, remedies, targets
from resnet_dyn.training import state

CONFIG = config.parse(
    {
        'data.classes': 3,
        'data.dimension': 4,
        'data.train_size': 64,
        'data.test_size': 30,
        'model.depth': 4,
        'model.width': 8,
        'train.batch_size': 16,
    }
)
L = 3


def target(number):
    here = targets.at_hand()
    return here._replace(devices=here.devices[:number])


@pytest.fixture(scope='module')
def alone():
    return kernels.make('lesions', CONFIG, target(1), report=lambda line: None)


def test_lesions_compile_the_very_programs_and_count_every_block(alone, monkeypatch):
    model = presets.from_config(CONFIG.model, 3)
    variables = state.initial_variables(model, state.keys(CONFIG), (4,))
    net = stack_lib.from_model(model, jax.tree.map(lambda a: a[0], variables))
    inputs, labels = np.zeros((30, 4), np.float32), np.zeros(30, np.int32)
    run, called, blocks = prefix_programs.evaluate, {}, []

    def seen(stage, index, hs, gates):
        blocks.append(len(hs))
        called[len(hs)] = run.lower(stage, index, hs, gates).compile().cost_analysis()['flops']
        return run(stage, index, hs, gates)

    monkeypatch.setattr(prefix_programs, 'evaluate', seen)
    with jax.default_matmul_precision('highest'):
        lesions.score(net, inputs, labels, np.concatenate([np.ones((1, L)), masks.single(L)]))
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


def test_several_devices_share_the_sub_networks(alone):
    plan = kernels.make('lesions', CONFIG, target(2), report=lambda line: None)
    assert plan.mesh.shape['mask'] == 2
    assert plan.calls[-1] < alone.calls[-1] == L * (L + 1) / 2  # evaluations of a block


@pytest.mark.slow
def test_the_path_spectrum_is_dealt_out_by_networks_and_parts_of_examples():
    cfg = fields.replace(CONFIG, {'seeds': 3})
    one, two = (kernels.make('paths', cfg, target(n), report=lambda line: None) for n in (1, 2))
    assert [plan.calls for plan in (one, two)] == [(3, 3), (2, 2)]
    assert one.programs[0].cost.products == two.programs[0].cost.products


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
