"""The launcher of depth over training: what it hands on, and its exit status."""

import pathlib

import pytest

from experiments import depth_over_training
from resnet_dyn import backend

Result = depth_over_training.Result


@pytest.fixture
def dynamics(called, monkeypatch, tmp_path):
    """dynamics(result, *flags): (status, stdout, stderr), and what the experiment was given."""
    given, kept = {}, []
    monkeypatch.setattr(backend, 'keep_programs', kept.append)

    def dynamics(result, *flags):
        def run(workdir, data, fast, changes, stop, report, threads):
            given.update(locals())
            return result

        monkeypatch.setattr(depth_over_training, 'run', run)
        found = called('dynamics', f'--workdir={tmp_path}', *flags)
        assert kept == [tmp_path / 'programs']
        return found, given

    return dynamics


def test_flags_are_handed_on(dynamics, tmp_path):
    flags = ('--data=digits,cifar10', '--fast', '--threads=3', '--config.train.steps=7')
    (status, out, err), given = dynamics(Result(True, files=(pathlib.Path('a.csv'),)), *flags)
    assert (status, err) == (0, '') and out.splitlines()[-1] == 'a.csv'
    assert (given['data'], given['fast'], given['threads']) == (['digits', 'cifar10'], True, 3)
    assert (given['workdir'], given['changes']) == (tmp_path, {'train.steps': 7})


def test_unset_it_is_gaussians_and_digits(dynamics):
    _, given = dynamics(Result(True))
    assert tuple(given['data']) == ('gaussians', 'digits') and not given['fast']


@pytest.mark.parametrize(
    'result, status',
    [(Result(False), 42), (Result(True, diverged=('gaussians-none: network 3',)), 3)],
)
def test_the_status_says_whether_to_start_again_or_what_diverged(dynamics, result, status):
    (found, out, _), _ = dynamics(result)
    assert found == status and (status != 3 or 'gaussians-none: network 3' in out)
