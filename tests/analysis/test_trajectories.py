"""Networks followed over their steps: what serves is kept, what is damaged or lost is said."""

import gc
import shutil
import weakref
from typing import NamedTuple

import numpy as np
import pytest

from resnet_dyn import errors, fields, records
from resnet_dyn.analysis import archive, effort, measure, run_subjects, subjects, trajectories
from resnet_dyn.training import checkpoints

EFFORT = effort.Effort()


class Norm(NamedTuple):
    step: np.ndarray
    squares_S: np.ndarray
    number: np.ndarray


@pytest.fixture
def source(copied_run):
    return run_subjects.Run(copied_run, effort.Settings(12))


def request(seen, options=measure.NoOptions, given=(), **made):
    """A measure of the stem's gammas that notes the steps at which it is asked."""

    def function(subject, effort, options):
        seen.append(subject.origin.step)
        gammas = [net.stem_params['gammas']['norm']['gamma'] for net in subject.stacks]
        squares_S = np.array([float((gamma**2).sum()) for gamma in gammas])
        return Norm(np.array(subject.origin.step), squares_S, np.array(len(gammas)))

    row = measure.Measure(Norm, function, None, (), options, None, (), examples=False)
    return trajectories.Request(row, options(**made), frozenset({*made, *given}))


def follow(source, one, **more):
    return list(trajectories.follow(source, {'norm': one}, EFFORT, workdir=source.workdir, **more))


def read(source, network=None):
    return [found.record for found in archive.read(source.workdir, 'norm', Norm, network)]


def test_every_checkpoint_is_visited_and_measured(source):
    visits = follow(source, request([]))
    assert [(visit.step, visit.made) for visit in visits] == [
        (step, ('norm',)) for step in (0, 2, 4, 6)
    ]
    found = read(source)
    np.testing.assert_allclose(found[0].squares_S, [8, 8])  # 8 channels of gamma 1
    _, variables, _ = checkpoints.restore(source.workdir, 6)
    gammas_SC = variables['gammas']['stem']['norm']['gamma']
    np.testing.assert_allclose(found[-1].squares_S, (gammas_SC**2).sum(-1), rtol=1e-6)


def test_a_second_analysis_keeps_what_is_there(source):
    first, second = [], []
    made = follow(source, request(first))
    kept = follow(source, request(second))
    assert len(first) == 4 and not second
    assert {visit.kept for visit in kept} == {('norm',)}
    for before, after in zip(made, kept, strict=True):
        np.testing.assert_array_equal(
            before.found['norm'].record.squares_S, after.found['norm'].record.squares_S
        )


def test_damaged_records_are_measured_again(source):
    seen = []
    follow(source, request(seen))
    (file,) = archive.folder(source.workdir).glob('norm-00000004-*.npz')
    file.write_bytes(b'torn')
    seen.clear()
    follow(source, request(seen))
    assert seen == [4]


def drawing(draws=None):
    """A request of a measure that draws, so many where they are given by hand."""
    import dataclasses

    @dataclasses.dataclass(frozen=True)
    class Options:
        draws: int = fields.field(20, 'draws', serves='more')
        block: int = fields.field(0, 'which block')
        most: int = fields.field(14, 'how far to go', serves='any')

    seen = []
    return seen, request(seen, Options, **({} if draws is None else {'draws': draws}))


def test_a_cheaper_analysis_stands_beside_a_dearer_one_and_by_default_the_dearer_serves(source):
    for draws, made in ((50, True), (None, False), (5, True), (5, False), (20, True)):
        seen, one = drawing(draws)
        (visit,) = follow(source, one, at=[6])
        assert bool(seen) is made
        settings = visit.found['norm'].origin['settings']
        assert settings['draws'] == (50 if draws is None else draws)
    (dearest,) = archive.read(source.workdir, 'norm', Norm)
    assert dearest.origin['settings']['draws'] == 50
    assert len(list(archive.folder(source.workdir).iterdir())) == 3


def test_fewer_draws_than_the_default_do_not_serve_where_none_are_given(source):
    follow(source, drawing(5)[1], at=[6])
    seen, one = drawing()
    (visit,) = follow(source, one, at=[6])
    assert seen == [6] and visit.found['norm'].origin['settings']['draws'] == 20


def test_other_options_serve_where_they_are_equal_or_make_no_difference(source):
    _, one = drawing()
    row = one.measure
    for options, measured in (
        (row.options(block=7), True),
        (row.options(block=0), True),  # 7 is not more of 0
        (row.options(block=7, most=3), False),
    ):
        asked = trajectories.Request(row, options)
        (visit,) = follow(source, asked, at=[6])
        assert bool(visit.made) is measured


def test_steps_of_nine_digits_are_found_again(source):
    settings = {'checkpoint': 1}
    file = archive.path(source.workdir, 'norm', 123_456_789, settings)
    records.save(file, Norm(np.array(123_456_789), np.zeros(2), np.array(2)), {})
    assert [int(record.step) for record in read(source)] == [123_456_789]


def test_what_cannot_be_missing_for_one_network_is_refused():
    class Words(NamedTuple):
        step: np.ndarray
        name_S: np.ndarray

    def function(subject, effort, options):
        return Words(np.array(7), np.array(['a'] * len(subject.stacks)))

    row = measure.Measure(Words, function, None, (), measure.NoOptions, None, (), examples=False)
    one = trajectories.Request(row, measure.NoOptions())
    with pytest.raises(TypeError, match=r'Words\.name_S has dtype'):
        next(trajectories.follow(Given([1.0, 2.0]), {'norm': one}, EFFORT))


def test_the_steps_that_are_asked_for_are_visited_alone(source):
    assert trajectories.choose(source.steps, 'last') == [6]
    assert trajectories.choose(source.steps, '4,0') == [0, 4]
    assert trajectories.choose(source.steps, '0, last') == [0, 6]
    assert [visit.step for visit in follow(source, request([]), at=[4])] == [4]
    assert [int(record.step) for record in read(source)] == [4]


@pytest.mark.parametrize('which', ['3', '2,5', 'first', ''])
def test_a_step_that_is_not_there_is_refused_with_those_that_are(which):
    with pytest.raises(errors.AnalysisError, match=r'no step .*0,2,4,6'):
        trajectories.choose([0, 2, 4, 6], which)


def test_a_record_of_a_checkpoint_that_has_changed_is_measured_again(source):
    seen = []
    follow(source, request(seen))
    shutil.rmtree(source.workdir / 'checkpoints' / '4')
    _, trees, meta = checkpoints.restore(source.workdir, 6)
    writer = checkpoints.Writer(source.workdir)
    writer.save(4, trees, meta)
    writer.close()
    seen.clear()
    follow(run_subjects.Run(source.workdir, effort.Settings(12)), request(seen))
    assert seen == [4]


@pytest.mark.parametrize('how', ['truncated', 'flipped'])
def test_a_damaged_checkpoint_is_said_and_passed_over(source, how):
    files = (source.workdir / 'checkpoints' / '4' / 'gammas').rglob('*')
    largest = max((path for path in files if path.is_file()), key=lambda path: path.stat().st_size)
    data = bytearray(largest.read_bytes())
    if how == 'truncated':
        data = data[:-1]
    else:
        data[len(data) // 2] ^= 1
    largest.write_bytes(data)
    visits = follow(source, request([]))
    assert [visit.step for visit in visits if visit.damage] == [4]
    assert 'step 4' in visits[2].damage
    assert [int(record.step) for record in read(source)] == [0, 2, 6]


def test_one_network_has_records_of_its_own(source):
    follow(source, request([]))
    alone = run_subjects.Run(source.workdir, effort.Settings(12), network=1)
    follow(alone, request([]), network=1)
    both, one = read(source)[-1], read(source, network=1)[-1]
    np.testing.assert_array_equal(one.squares_S, both.squares_S[1:])


def test_records_stand_beside_their_provenance_and_settings(source):
    follow(source, request([]), at=[2])
    (found,) = archive.read(source.workdir, 'norm', Norm)
    assert found.origin['settings'] == source.facts(2, looks=False)
    assert found.origin['wall_time'] >= 0 and found.origin['network'] is None


def test_what_is_long_is_heard(source):
    heard = []
    follow(source, request([]), at=[6], watch=lambda *a: heard.append(a))
    assert heard == [('step 6, norm', 0, 1)]


class Given:
    """Networks made by hand at one step."""

    steps = (7,)

    def __init__(self, gammas):
        nets = tuple(net(gamma) for gamma in gammas)
        names = subjects.numbered(len(nets), 0)
        self._subject = subjects.Subject(nets, names, None, subjects.Origin(7))

    def facts(self, step, looks=True):
        return {'checkpoint': 1}

    def subject(self, step, looks=True):
        return self._subject


def net(gamma):
    from resnet_dyn.models import stack

    stem = {'gammas': {'norm': {'gamma': np.array([gamma])}}}
    return stack.ResidualStack(stem, (), (), None, None)


class Anew(Given):
    """Another network at each step, which asks whether the one before is still there."""

    steps = (0, 1, 2)

    def __init__(self):
        self._before = None

    def subject(self, step, looks=True):
        gc.collect()
        assert self._before is None or self._before() is None
        nets = (net([1.0, step]),)
        self._before = weakref.ref(nets[0])
        return subjects.Subject(nets, subjects.numbered(1, 0), None, subjects.Origin(step))


def test_the_networks_of_a_step_are_let_go_before_the_next_ones_are_taken():
    gc.freeze()  # what was there before takes long to go through
    try:
        visits = trajectories.follow(Anew(), {'norm': request(seen := [])}, EFFORT)
        assert [visit.step for visit in visits] == seen == [0, 1, 2]
    finally:
        gc.unfreeze()


def test_a_network_that_is_not_finite_is_a_row_of_nan_with_its_reason(tmp_path):
    seen = []
    (visit,) = trajectories.follow(
        Given([1.0, np.nan, 3.0]), {'norm': request(seen)}, EFFORT, workdir=tmp_path
    )
    found = visit.found['norm']
    np.testing.assert_array_equal(found.record.squares_S, [1, np.nan, 9])
    assert found.record.number == 2 and list(visit.left_out) == ['network 1']
    assert 'stem_params/gammas/norm/gamma are NaN' in visit.left_out['network 1']
    (again,) = trajectories.follow(
        Given([1.0, np.nan, 3.0]), {'norm': request(seen)}, EFFORT, workdir=tmp_path
    )
    assert seen == [7] and again.left_out == visit.left_out  # kept, and said again


def test_a_measure_that_one_network_does_not_bear_is_made_of_the_others():
    def function(subject, effort, options):
        gammas = [net.stem_params['gammas']['norm']['gamma'][0] for net in subject.stacks]
        if 2.0 in gammas:
            raise errors.NotFiniteError('logits of mask 3 are NaN')
        return Norm(np.array(7), np.array(gammas), np.array(0))

    row = measure.Measure(Norm, function, None, (), measure.NoOptions, None, (), examples=False)
    one = trajectories.Request(row, measure.NoOptions())
    (visit,) = trajectories.follow(Given([1.0, 2.0, 3.0]), {'norm': one}, EFFORT)
    np.testing.assert_array_equal(visit.found['norm'].record.squares_S, [1, np.nan, 3])
    assert visit.left_out == {'network 1': 'norm: logits of mask 3 are NaN'}
    (none,) = trajectories.follow(Given([2.0]), {'norm': one}, EFFORT)
    assert not none.found and none.left_out == {'network 0': 'norm: logits of mask 3 are NaN'}


def test_an_error_of_a_measure_names_it_and_the_step_and_a_bug_keeps_its_traceback():
    def asked(error):
        def function(subject, effort, options):
            raise error

        row = measure.Measure(Norm, function, None, (), measure.NoOptions, None, (), examples=False)
        return trajectories.follow(
            Given([1.0]), {'norm': trajectories.Request(row, measure.NoOptions())}, EFFORT
        )

    with pytest.raises(errors.BudgetError, match='norm at step 7: too much'):
        next(asked(errors.BudgetError('too much')))
    with pytest.raises(ValueError, match=r'^a bug$') as caught:
        next(asked(ValueError('a bug')))
    assert not isinstance(caught.value, errors.UserError)


def test_a_run_without_checkpoints_is_an_error_with_the_mend(source):
    shutil.rmtree(source.workdir / 'checkpoints')
    (source.workdir / 'checkpoints').mkdir()
    with pytest.raises(errors.AnalysisError, match=r'train first.*launch\.train'):
        follow(source, request([]))


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


def test_records_of_an_earlier_version_do_not_serve(source):
    file = archive.folder(source.workdir) / 'norm-00000006.npz'
    old = Norm(np.array(6), np.zeros(2), np.array(2))
    records.save(file, old, {'settings': {'checkpoint': 1}})
    seen = []
    follow(source, request(seen), at=[6])
    assert seen == [6] and file.exists()
