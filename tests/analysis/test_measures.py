"""The measures of a run by name: what they see, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn import config, errors, fields, records
from resnet_dyn.analysis import (
    depth_measures,
    kinds,
    lesion_curves,
    measures,
    needs,
    trajectories,
)
from resnet_dyn.data import batches, datasets
from resnet_dyn.kernels import lesions
from resnet_dyn.models import presets, stack
from resnet_dyn.training import checkpoints, runs

DEAR = [name for name in kinds.KINDS if name not in kinds.DEFAULT]


@pytest.fixture(scope='module')
def analysed(tiny_run):
    """The plan of everything, followed over the tiny run, all test examples seen."""
    plan = measures.plan(tiny_run, examples=30)
    visits = list(trajectories.follow(tiny_run, plan.measures))
    return plan, visits


def untrained_run(workdir, cfg):
    """A run with one checkpoint, of its initial networks: no training to compile."""
    dataset = datasets.load(cfg.data)
    with runs.prepare(workdir, cfg, dataset) as run:
        writer = checkpoints.Writer(workdir)
        writer.save(1, runs.initial(workdir), runs.meta(run, dataset))
        writer.close()
    return workdir


def by_hand(workdir, seed):
    """A network of the run and all its normalised test examples, by the one line of a notebook."""
    model, variables, meta = runs.open_run(workdir, step=6, seed=seed)
    test = datasets.load(runs.read_config(workdir).data).test
    mean, std = (jnp.asarray(meta[name], jnp.float32) for name in ('mean', 'std'))
    inputs = batches.normalise(jnp.asarray(test.inputs), mean, std)
    return stack.from_model(model, variables), inputs, test.labels


def test_the_plan_states_its_cost(analysed):
    plan, visits = analysed
    assert (plan.networks, plan.blocks, plan.examples) == (2, 3, 30)
    assert {name: tuple(cost) for name, cost in plan.costs.items()} == {
        'gammas': (0, 0),
        'depth': (1, 0),
        'singles': (3, 1),
    }
    assert not plan.impossible
    assert [visit.made for visit in visits] == [('gammas', 'depth', 'singles')] * 4


def test_lesions_are_those_of_each_network_on_the_test_examples(tiny_run, analysed):
    found = trajectories.read(tiny_run, 'singles', lesion_curves.SingleLesions)[-1]
    for seed in (0, 1):
        network, inputs, labels = by_hand(tiny_run, seed)
        masks_ML = [[1, 1, 1], [0, 1, 1], [1, 0, 1], [1, 1, 0]]
        scores = lesions.score(network, inputs, labels, masks_ML)
        np.testing.assert_allclose(found.full_error_S[seed], scores['error'][0], atol=1e-6)
        np.testing.assert_allclose(found.loss_SL[seed], scores['loss'][1:], rtol=1e-4)


def test_depth_is_that_of_the_gains_of_each_network_on_the_test_examples(tiny_run, analysed):
    found = trajectories.read(tiny_run, 'depth', depth_measures.DepthLaw)[-1]
    network, inputs, _ = by_hand(tiny_run, 1)
    moments = stack.second_moments(network, inputs)
    gains_L = np.sqrt(np.asarray(moments.branch / moments.skip))
    np.testing.assert_allclose(found.gains_SL[1], gains_L, rtol=1e-4)
    q_L = gains_L**2 / (1 + gains_L**2)
    np.testing.assert_allclose(found.incoherent_mean_S[1], 1 + q_L.sum(), rtol=1e-4)


def test_step_0_takes_the_statistics_of_the_examples(tiny_run, analysed):
    found = trajectories.read(tiny_run, 'depth', depth_measures.DepthLaw)[0]
    model, _, _ = runs.open_run(tiny_run)
    network = jax.tree.map(lambda leaf: jnp.asarray(leaf[1]), runs.initial(tiny_run))
    _, inputs, _ = by_hand(tiny_run, 1)
    moments = stack.second_moments(stack.from_model(model, network, 'batch'), inputs)
    gains_L = np.sqrt(np.asarray(moments.branch / moments.skip))
    np.testing.assert_allclose(found.gains_SL[1], gains_L, rtol=1e-4)


@pytest.fixture(scope='module')
def dear(tiny_run):
    """All other measures of the last checkpoint, of both networks and of the second alone."""
    found = {}
    for seed in (None, 1):
        plan = measures.plan(tiny_run, DEAR, 30, seed=seed, random=2, probes=2)
        (visit,) = trajectories.follow(tiny_run, plan.measures, seed, [6])
        assert list(visit.made) == DEAR
        found[seed] = {
            name: trajectories.current(tiny_run, name, plan.measures[name], seed)[0]
            for name in DEAR
        }
    return found


@pytest.mark.parametrize('name', DEAR)
def test_a_network_among_others_has_the_numbers_that_it_has_alone(dear, name):
    both, alone = dear[None][name], dear[1][name]
    led = [field for field in both._fields if '_S' in field]
    assert led
    for field in led:
        np.testing.assert_allclose(
            getattr(both, field)[1:], getattr(alone, field), rtol=2e-3, atol=1e-5, err_msg=field
        )


def test_what_is_drawn_at_random_has_its_seed_and_number_in_the_settings(tiny_run, dear):
    _, origin = records.load(trajectories.path(tiny_run, 'random', 6))
    settings = origin['settings']
    assert (settings['seed'], settings['random'], settings['examples']) == (0, 2, 30)
    again = measures.plan(tiny_run, ['random', 'pairs'], 30, random=3)
    (visit,) = trajectories.follow(tiny_run, again.measures, None, [6])
    assert (visit.made, visit.kept) == (('random',), ('pairs',))


def test_long_work_says_how_far_it_is(copied_run):
    heard = []
    plan = measures.plan(copied_run, ['singles'], 30, watch=lambda *a: heard.append(a))
    list(trajectories.follow(copied_run, plan.measures, None, [6]))
    assert heard[0] == ('step 6, singles', 0, 1)
    assert {what for what, _, _ in heard} == {'step 6, singles'}
    assert heard[-1][1] == heard[-1][2] > 0


def test_too_many_sub_networks_are_refused_with_their_cost_and_the_flag(tiny_run):
    with pytest.raises(errors.AnalysisError, match=r'2\^3 sub-.*2\.33 forward.*--exh'):
        measures.plan(tiny_run, ['interactions'], exhaustive=2)
    plan = measures.plan(tiny_run, ['interactions', 'gammas'], exhaustive=2)
    assert set(plan.measures) == {'gammas'} and '--exhaustive=3' in plan.impossible['interactions']


def test_logits_over_the_memory_budget_are_refused_with_both_flags(tiny_run):
    with pytest.raises(errors.AnalysisError, match=r'GiB.*--examples_at_once.*--memory'):
        measures.plan(tiny_run, ['interactions'], budget=1000)


def test_activations_over_the_memory_budget_are_an_error_that_says_so(copied_run):
    plan = measures.plan(copied_run, ['singles'], budget=1000)
    with pytest.raises(errors.AnalysisError, match=r'singles at step 0: .*--memory'):
        list(trajectories.follow(copied_run, plan.measures))


def test_a_part_of_the_examples_is_measured_anew_and_is_the_same_part_again(copied_run):
    found = []
    for _ in range(2):
        plan = measures.plan(copied_run, ['singles'], examples=12)
        assert plan.examples == 12
        list(trajectories.follow(copied_run, plan.measures))
        found.append(trajectories.read(copied_run, 'singles', lesion_curves.SingleLesions)[-1])
        trajectories.path(copied_run, 'singles', 6).unlink()
    np.testing.assert_array_equal(found[0].loss_SL, found[1].loss_SL)


def test_an_unknown_measure_names_the_nearest(tiny_run):
    with pytest.raises(errors.AnalysisError, match="did you mean 'singles'"):
        measures.plan(tiny_run, ['single'])


def test_a_network_that_is_not_there_is_refused(tiny_run):
    with pytest.raises(errors.AnalysisError, match=r'one of 0\.\.1'):
        measures.plan(tiny_run, seed=2)


def test_data_that_are_not_those_of_the_run_are_refused(tiny_run):
    other = fields.replace(runs.read_config(tiny_run), {'data.seed': 5}).data
    with pytest.raises(errors.AnalysisError, match=r'not those of the run.*config\.data\.dir'):
        measures.plan(tiny_run, ['depth'], data=other)
    assert measures.plan(tiny_run, ['gammas'], data=other).examples == 0


@pytest.mark.parametrize('depth, why', [(8, 'none can change places'), (14, '')])
def test_reordering_needs_two_blocks_of_equal_shape(depth, why):
    facts = needs.Facts(config.Model(), presets.cifar_resnet(depth), 10, None)
    assert why in needs.equal_blocks(facts) and bool(why) == bool(needs.equal_blocks(facts))


@pytest.mark.parametrize(
    'changes, lost, why',
    [
        ({'model.norm': 'none'}, {'gammas'}, 'has no gammas'),
        ({'model.block': 'plain'}, set(kinds.KINDS) - {'gammas'}, 'have no skip'),
    ],
)
def test_what_a_network_lacks_is_left_out_and_said(tiny_run, tmp_path, changes, lost, why):
    tiny = runs.read_config(tiny_run)
    one = fields.replace(tiny, {'train.steps': 1, 'seeds': 1} | changes)
    workdir = untrained_run(tmp_path / 'run', one)
    plan = measures.plan(workdir, list(kinds.KINDS))
    assert set(plan.impossible) == lost
    assert set(plan.measures) == set(kinds.KINDS) - lost
    assert all(why in reason for reason in plan.impossible.values())
    cheap = {name: plan.measures[name] for name in kinds.DEFAULT if name in plan.measures}
    assert [visit.damage for visit in trajectories.follow(workdir, cheap)] == ['', '']
    with pytest.raises(errors.AnalysisError, match=why):
        measures.plan(workdir, sorted(lost))
