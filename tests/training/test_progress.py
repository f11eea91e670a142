"""Lines for people."""

import numpy as np
import pytest

from resnet_dyn.training import progress


@pytest.mark.parametrize(
    ('seconds', 'expected'),
    [(0.4, '0s'), (59.4, '59s'), (59.6, '1m00s'), (3599.7, '1h00m'), (7265, '2h01m')],
)
def test_a_duration_is_short(seconds, expected):
    assert progress.duration(seconds) == expected


def test_one_network_has_no_spread_and_many_have_the_sample_one():
    assert progress.over_seeds([0.25]) == '0.2500'
    assert progress.over_seeds([0.2, 0.4]) == '0.3000 ± 0.1414 (mean ± std of 2 seeds)'


def test_networks_that_have_diverged_are_left_out_and_counted():
    two_of_three = '0.3000 ± 0.1414 (mean ± std of 2 of 3 seeds)'
    assert progress.over_seeds([0.2, None, 0.4]) == two_of_three
    assert progress.over_seeds(np.array([0.2, 0.4, np.nan])) == two_of_three
    assert progress.over_seeds([None, 0.25]) == '0.2500 (1 of 2 seeds)'
    said = []
    with progress.Progress(said.append, start=0, total=30, bar=False) as progress_:
        progress_.begin()
        values = {'loss': np.array([1.0, np.nan]), 'train_accuracy': np.array([0.5, np.nan])}
        progress_.trained(20, epoch=1, learning_rate=0.05, images_per_second=1.0, **values)
        progress_.evaluated(20, test_loss=[1.0, np.nan], test_accuracy=[0.5, np.nan])
        progress_.evaluated(21, test_loss=[1.5e30], test_accuracy=[0.5])
    assert 'loss 1.0000  accuracy 0.5000 (1 of 2 networks)  rate' in said[0]
    assert 'test loss 1.5e+30  test accuracy 0.5000' in said[2]
    assert 'test loss 1.0000  test accuracy 0.5000 (1 of 2 seeds)' in said[1]


@pytest.mark.parametrize('bar', [True, False])
def test_a_line_says_what_was_done_and_a_bar_does_not_change_it(bar, capsys):
    said = []
    with progress.Progress(said.append, start=10, total=30, bar=bar) as progress_:
        progress_.begin()
        progress_.at(20)
        progress_.trained(
            20,
            epoch=1.25,
            loss=np.array([1.0, 2.0]),
            train_accuracy=np.array([0.5, 0.7]),
            learning_rate=0.05,
            images_per_second=1234.5,
        )
        progress_.evaluated(20, test_loss=[1.0, 3.0], test_accuracy=[0.5, 0.5])
    start = 'step 20/30  epoch 1.25  loss 1.5000  accuracy 0.6000  rate 0.05  1234 images/s  '
    assert said[0].startswith(start) and said[0].endswith(' left')
    assert said[1].startswith('step 20/30  test loss 2.0000  test accuracy 0.5000 ± 0.0000')
    with progress.Progress(said.append, start=10, total=30, bar=False, examples='sequences') as of:
        of.begin()
        values = {'loss': np.ones(1), 'train_accuracy': np.ones(1), 'learning_rate': 0.1}
        of.trained(20, epoch=1, images_per_second=5.0, **values)
    assert '  5 sequences/s  ' in said[-1]
    assert ('20/30' in capsys.readouterr().err) == bar
