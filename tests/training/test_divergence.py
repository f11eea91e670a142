"""Which networks are taken out, when, and what is said of them; with a program that only notes."""

import types

import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.training import divergence, runs, totals

NEVER = totals.NEVER
LINE = {'step': 4, 'loss': [0.5, 1e9, 0.6], 'train_accuracy': [0.9, 0.1, 0.8]}


@pytest.fixture
def watch(tiny):
    """A watch of networks of seeds 7, 8, 9; what it said; the first bad steps that it took out."""
    said, taken = [], []

    def take_out(networks, first_bad_S):
        taken.append(first_bad_S.tolist())
        return 'the networks that are left'

    run = runs.Run('W', tiny({'seed': 7, 'seeds': 3}), 20, None, False, None)
    programs = types.SimpleNamespace(take_out=take_out)
    return divergence.Watch(run, programs, said.append), said, taken


def networks(*first_bad, last_finite=(0.5, 2.5, 0.6)):
    sums = totals.zero(3)._replace(
        first_bad=np.array(first_bad, np.int32), last_finite=np.array(last_finite, np.float32)
    )
    return types.SimpleNamespace(totals=sums)


def test_a_bad_training_loss_is_said_once_with_its_step_and_taken_out(watch):
    look, said, taken = watch
    healthy, ill = networks(NEVER, NEVER, NEVER), networks(NEVER, 5, NEVER)
    assert look.after_steps(healthy, LINE) is healthy and not said
    assert look.after_steps(ill, LINE) == 'the networks that are left'
    assert look.after_steps(ill, LINE) is ill
    assert taken == [[NEVER, 5, NEVER]]
    (line,) = said
    assert line.startswith('WARNING: network 1 (seed 8) diverged: its loss became NaN or Inf at')
    assert 'at step 6; the last finite one is 2.5, and the last line, at step 4, has' in line
    assert 'the loss 1e+09 and the accuracy 0.1000' in line


def test_a_network_that_was_never_finite_is_said_so(watch):
    look, said, _ = watch
    look.after_steps(networks(NEVER, NEVER, 0, last_finite=(1, 1, np.nan)), None)
    assert 'network 2 (seed 9)' in said[0] and 'at step 1; none was finite.' in said[0]
    assert 'config.model.gamma (it is 1.0)' in said[0] and 'learning_rate' not in said[0]


def test_a_bad_test_loss_is_divergence_at_its_step_but_not_a_second_one(watch):
    look, said, taken = watch
    loss_S = np.array([0.5, np.nan, np.inf])
    ill = networks(NEVER, 5, NEVER)
    look.after_steps(ill, LINE)
    assert look.after_evaluation(ill, 10, loss_S) == 'the networks that are left'
    assert look.after_evaluation(ill, 20, loss_S) is ill
    assert taken == [[NEVER, 5, NEVER], [NEVER, 5, 9]]
    assert 'network 2 (seed 9) diverged: its test loss at step 10 is not finite' in said[1]


def test_what_a_checkpoint_knows_is_said_and_not_found_again(watch):
    look, said, taken = watch
    known = networks(NEVER, 5, NEVER)
    look.begin(known)
    assert said == ['WARNING: network 1 (seed 8) diverged at step 6']
    assert look.after_steps(known, None) is known and not taken


def test_where_none_is_left_it_is_an_error_with_the_mend(watch):
    look, _, taken = watch
    with pytest.raises(errors.NotFiniteError, match='all 3 networks of the run have diverged'):
        look.after_steps(networks(3, 5, 0), LINE)
    assert not taken
    with pytest.raises(errors.NotFiniteError, match=r'learning_rate \(it is 0.05\)'):
        look.begin(networks(3, 5, 0))
    never = networks(0, 0, 0, last_finite=(np.nan,) * 3)
    with pytest.raises(errors.NotFiniteError, match=r'initial values.*huge values, in another'):
        look.after_steps(never, None)
