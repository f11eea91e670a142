"""The checkpoints of a run as subjects: networks, examples, statistics, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.analysis import effort, run_subjects
from resnet_dyn.data import batches, datasets, splits
from resnet_dyn.models import presets, stack, statistics
from resnet_dyn.training import checkpoints, runs

SETTINGS = effort.Settings(examples=30)


@pytest.fixture(scope='module')
def run(tiny_run):
    return run_subjects.Run(tiny_run, SETTINGS)


def moments(net, inputs):
    found = stack.second_moments(net, inputs)
    return np.asarray(found.branch / found.skip)


def test_every_checkpoint_is_a_step_and_step_0_is_the_start(run):
    assert run.steps == [0, 2, 4, 6]
    gammas = run.subject(0, looks=False).stacks[1].stages[0].params['gammas']
    np.testing.assert_array_equal(jax.tree.leaves(gammas)[0], np.ones((3, 8)))


def test_a_subject_names_its_networks_and_blocks_and_says_what_it_was_seen_with(run):
    subject = run.subject(6)
    assert subject.names.networks == ('network 0 (seed 0)', 'network 1 (seed 1)')
    assert subject.names.blocks == ('stage_0.0', 'stage_0.1', 'stage_0.2')
    assert (subject.blocks, subject.outputs, subject.examples.number) == (3, 3, 30)
    assert subject.origin.step == 6 and subject.origin.facts == run.facts(6)


def test_what_is_said_beside_numbers_is_of_the_records_that_are_shown(run):
    estimated = {'examples': 30, 'statistics': 'estimated'}
    assert run.note([estimated, {}]) == (
        'Data: gaussians; 30 test examples; statistics of the norms estimated at each step on 64 '
        'training examples'
    )
    running = {'examples': 12, 'statistics': 'running'}
    assert '12 to 30 test examples' in run.note([estimated, running])
    assert run.note([{}]) == 'Data: gaussians'


def test_networks_look_at_test_examples_as_the_lines_of_a_notebook_do(tiny_run, run):
    model, variables, meta = runs.open_run(tiny_run, step=6, seed=1)
    test = datasets.load(run.config.data).test
    inputs = batches.normalise(test.inputs, meta['mean'], meta['std'])
    subject = run_subjects.Run(tiny_run, effort.Settings(30, statistics='running')).subject(6)
    np.testing.assert_array_equal(subject.examples.inputs, inputs)
    np.testing.assert_array_equal(subject.examples.labels, test.labels)
    expected = stack.apply(stack.from_model(model, variables), inputs, jnp.ones(3))
    found = stack.apply(subject.stacks[1], subject.examples.inputs, jnp.ones(3))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_networks_of_stochastic_depth_are_looked_at_with_their_branches_scaled(tiny_run, run):
    cfg = fields.replace(run.config, {'train.survival': 0.4})
    known = runs.Known(cfg, runs.read(tiny_run).identity)
    running = effort.Settings(30, statistics='running')
    subject = run_subjects.Run(tiny_run, running, known=known).subject(6)
    _, variables, _ = runs.open_run(tiny_run, step=6, seed=1)
    model, inputs = presets.from_config(cfg.model, 3, survival=0.4), subject.examples.inputs
    found = stack.apply(subject.stacks[1], inputs, jnp.ones(3))
    np.testing.assert_allclose(found, model.apply(variables, inputs), rtol=1e-5, atol=1e-6)


def test_estimated_statistics_are_the_means_over_batches_of_what_each_batch_has(tiny_run, run):
    _, variables, meta = runs.open_run(tiny_run, step=0, seed=0)
    model = presets.from_config(run.config.model, 3)
    train = datasets.load(run.config.data).train
    inputs_IB = run_subjects.training_batches(train, 16, 0)
    inputs_IB = batches.normalise(inputs_IB, meta['mean'], meta['std'])
    assert inputs_IB.shape == (4, 16, 4)
    layer = variables['params']['stem']['linear']['kernel']
    stem_IBC = jnp.maximum(inputs_IB @ layer, 0)  # block kind paper: norm after the ReLU
    found = statistics.estimated(model, variables, inputs_IB)['batch_stats']['stem']['norm']
    np.testing.assert_allclose(found['mean'], stem_IBC.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(found['variance'], stem_IBC.var(1).mean(0), rtol=1e-5)


def test_one_batch_gives_the_gains_of_norms_that_take_the_statistics_of_the_batch(run):
    model = presets.from_config(run.config.model, 3)
    _, variables, _ = checkpoints.restore(run.workdir, 0)
    network = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), variables)
    inputs = run.subject(0).examples.inputs
    by_batch = moments(stack.from_model(model, network, 'batch'), inputs)
    estimated = stack.from_model(model, statistics.estimated(model, network, inputs[None]))
    np.testing.assert_allclose(moments(estimated, inputs), by_batch, rtol=1e-4)


def test_the_start_values_of_running_averages_are_not_in_what_is_measured(run):
    """After 2 steps 0.81 of the averages are the 0 and 1 that they started from."""
    _, variables, _ = checkpoints.restore(run.workdir, 2)
    running = variables['batch_stats']['stem']['norm']['mean'][0]
    estimated = run.subject(2).stacks[0].stem_params['batch_stats']['norm']['mean']
    assert np.linalg.norm(running) < 0.4 * np.linalg.norm(estimated)
    later = run.subject(6).stacks[0].stem_params['batch_stats']['norm']['mean']
    np.testing.assert_allclose(estimated, later, atol=0.3 * np.abs(later).max())


def test_training_batches_mix_the_classes_of_data_that_are_sorted_by_class():
    split = splits.Split(np.repeat(np.arange(8.0), 64)[:, None], np.repeat(np.arange(8), 64))
    inputs_IB = run_subjects.training_batches(split, 128, 0)
    assert inputs_IB.shape == (4, 128, 1)
    assert all(len(np.unique(batch)) == 8 for batch in inputs_IB)
    assert run_subjects.training_batches(split, 512, 0).shape == (1, 512, 1)


def test_a_network_alone_is_the_one_at_its_index(tiny_run, run):
    alone = run_subjects.Run(tiny_run, SETTINGS, network=1).subject(6)
    assert alone.names.networks == ('network 1 (seed 1)',)
    pair = run.subject(6).stacks[1], alone.stacks[0]
    for both, one in zip(*map(jax.tree.leaves, pair), strict=True):
        np.testing.assert_array_equal(both, one)
    with pytest.raises(errors.AnalysisError, match=r'one of 0\.\.1'):
        run_subjects.Run(tiny_run, SETTINGS, network=2)


def test_facts_change_with_the_checkpoint_the_examples_and_the_statistics(tiny_run, run):
    facts = run.facts(6)
    assert (facts['examples'], facts['seed'], facts['statistics']) == (30, 0, 'estimated')
    others = [
        run.facts(4),
        run_subjects.Run(tiny_run, effort.Settings(12)).facts(6),
        run_subjects.Run(tiny_run, effort.Settings(30, statistics='running')).facts(6),
    ]
    assert all(other != facts for other in others)
    assert set(run.facts(6, looks=False)) == {'checkpoint', 'source'}


def test_a_part_of_the_examples_is_the_same_part_again(tiny_run):
    first, again = (
        run_subjects.Run(tiny_run, effort.Settings(12)).subject(6).examples for _ in range(2)
    )
    assert first.number == 12
    np.testing.assert_array_equal(first.inputs, again.inputs)


def test_data_that_are_not_those_of_the_run_are_refused_where_they_are_looked_at(tiny_run, run):
    other = fields.replace(run.config, {'data.seed': 5}).data
    wrong = run_subjects.Run(tiny_run, SETTINGS, data=other)
    with pytest.raises(errors.AnalysisError, match=r'not those of the run.*config\.data\.dir'):
        wrong.subject(6)
    assert wrong.subject(6, looks=False).examples is None


def test_norms_none_have_no_statistics(tmp_path):
    cfg = config.parse({'data.train_size': 128, 'model.norm': 'none', 'model.depth': 3})
    model = presets.from_config(cfg.model, 50)
    variables = {'params': {}}
    assert statistics.estimated(model, variables, np.zeros((1, 2, 3), np.float32)) == variables
