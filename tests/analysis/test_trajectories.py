"""A run followed over its checkpoints: what is there is kept, what is damaged is said."""

import shutil
from typing import NamedTuple

import numpy as np
import pytest

from resnet_dyn import errors, records
from resnet_dyn.analysis import trajectories
from resnet_dyn.training import checkpoints


class Norm(NamedTuple):
    step: np.ndarray
    squares_S: np.ndarray


def measure(seen, only='gammas', **settings):
    """A measure of the stem's gammas that notes the steps at which it is asked."""

    def function(step, variables):
        seen.append((step, sorted(variables)))
        return Norm(np.array(step), (variables['gammas']['stem']['norm']['gamma'] ** 2).sum(-1))

    return trajectories.Measure(Norm, function, settings, only)


def follow(workdir, one, seed=None):
    return list(trajectories.follow(workdir, {'norm': one}, seed))


def test_every_checkpoint_is_visited_and_step_0_is_made_again_from_the_seeds(copied_run):
    visits = follow(copied_run, measure([]))
    assert [(visit.step, visit.made) for visit in visits] == [
        (step, ('norm',)) for step in (0, 2, 4, 6)
    ]
    found = trajectories.read(copied_run, 'norm', Norm)
    np.testing.assert_allclose(found[0].squares_S, [8, 8])  # 8 channels of gamma 1
    _, variables, _ = checkpoints.restore(copied_run, 6)
    gammas_SC = variables['gammas']['stem']['norm']['gamma']
    np.testing.assert_allclose(found[-1].squares_S, (gammas_SC**2).sum(-1))


def test_a_second_analysis_keeps_what_is_there(copied_run):
    first, second = [], []
    follow(copied_run, measure(first, examples=10))
    visits = follow(copied_run, measure(second, examples=10))
    assert len(first) == 4 and not second
    assert {visit.kept for visit in visits} == {('norm',)}


def test_other_settings_and_damaged_records_are_measured_again(copied_run):
    seen = []
    follow(copied_run, measure(seen, examples=10))
    seen.clear()
    follow(copied_run, measure(seen, examples=11))
    assert [step for step, _ in seen] == [0, 2, 4, 6]
    trajectories.path(copied_run, 'norm', 4).write_bytes(b'torn')
    seen.clear()
    follow(copied_run, measure(seen, examples=11))
    assert [step for step, _ in seen] == [4]


def test_the_steps_that_are_asked_for_are_visited_and_others_keep_their_records(copied_run):
    one = measure([])
    assert trajectories.choose(copied_run, 'last') == [6]
    assert trajectories.choose(copied_run, '4,0') == [0, 4]
    visits = list(trajectories.follow(copied_run, {'norm': one}, at=[4]))
    assert [visit.step for visit in visits] == [4]
    list(trajectories.follow(copied_run, {'norm': measure([], again=True)}, at=[6]))
    steps = [int(found.step) for found in trajectories.current(copied_run, 'norm', one)]
    assert steps == [4]  # the record at 6 has other settings
    assert len(trajectories.read(copied_run, 'norm', Norm)) == 2


@pytest.mark.parametrize('which', ['3', '2,5', 'first', ''])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(copied_run, which):
    with pytest.raises(errors.AnalysisError, match=r'no step .*0,2,4,6'):
        trajectories.choose(copied_run, which)


def test_a_record_of_a_checkpoint_that_has_changed_is_measured_again(copied_run):
    seen = []
    follow(copied_run, measure(seen))
    folder = copied_run / 'checkpoints'
    shutil.rmtree(folder / '4')
    _, trees, meta = checkpoints.restore(copied_run, 6)
    writer = checkpoints.Writer(copied_run)
    writer.save(4, trees, meta)
    writer.close()
    seen.clear()
    follow(copied_run, measure(seen))
    assert [step for step, _ in seen] == [4]


def test_only_what_is_asked_for_is_read(copied_run):
    seen = []
    follow(copied_run, measure(seen, only='gammas'))
    assert seen[-1] == (6, ['gammas'])
    seen.clear()
    follow(copied_run, measure(seen, only=None, again=True))
    assert seen[-1] == (6, ['batch_stats', 'gammas', 'params'])


@pytest.mark.parametrize('how', ['truncated', 'flipped'])
def test_a_damaged_checkpoint_is_said_and_passed_over(copied_run, how):
    files = (copied_run / 'checkpoints' / '4' / 'gammas').rglob('*')
    largest = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    if how == 'truncated':
        data = data[:-1]
    else:
        data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    visits = follow(copied_run, measure([]))
    assert [visit.step for visit in visits if visit.damage] == [4]
    assert 'step 4' in visits[2].damage
    assert [int(record.step) for record in trajectories.read(copied_run, 'norm', Norm)] == [0, 2, 6]


def test_one_network_has_records_of_its_own(copied_run):
    follow(copied_run, measure([]))
    follow(copied_run, measure([]), seed=1)
    both = trajectories.read(copied_run, 'norm', Norm)[-1]
    one = trajectories.read(copied_run, 'norm', Norm, seed=1)[-1]
    np.testing.assert_array_equal(one.squares_S, both.squares_S[1:])


def test_records_stand_beside_the_runs_config_and_their_settings(copied_run):
    follow(copied_run, measure([], examples=10))
    _, origin = records.load(trajectories.path(copied_run, 'norm', 2), Norm)
    assert origin['config']['model']['width'] == 8
    assert origin['settings']['examples'] == 10
    assert origin['wall_time'] >= 0


def test_a_folder_without_checkpoints_is_an_error_with_the_mend(copied_run):
    shutil.rmtree(copied_run / 'checkpoints')
    (copied_run / 'checkpoints').mkdir()
    with pytest.raises(errors.AnalysisError, match=r'train first.*launch\.train'):
        follow(copied_run, measure([]))


def test_dynamics_are_led_by_seeds_then_steps(tiny_run):
    steps_T, found = trajectories.dynamics(tiny_run)
    assert steps_T.tolist() == [0, 2, 4, 6]
    assert found['weight_norm'].shape == (2, 4)
    assert found['gamma_mean'].shape == found['branch_moment'].shape == (2, 4, 3)
    _, variables, _ = checkpoints.restore(tiny_run, 6, only='gammas')
    stem_SC = np.abs(variables['gammas']['stem']['norm']['gamma'])
    np.testing.assert_allclose(found['stem_gamma_mean'][:, -1], stem_SC.mean(-1), rtol=1e-6)


def test_dynamics_that_are_not_there_are_an_error(tmp_path):
    with pytest.raises(errors.AnalysisError, match='no record'):
        trajectories.dynamics(tmp_path)


def test_stages_are_the_first_the_nearest_to_a_quarter_and_the_last():
    values_ST = np.array([[1.0, 2.0, 3.0, 4.0], [5.0, 6.0, 7.0, 8.0]])
    stages = trajectories.stages([0, 20, 30, 100], values_ST)
    np.testing.assert_array_equal(stages.start_S, [1, 5])
    np.testing.assert_array_equal(stages.early_S, [2, 6])
    np.testing.assert_array_equal(stages.end_S, [4, 8])
