"""Numbers in words: means over the networks that are finite, commands without this machine."""

import numpy as np
import pytest

from experiments import words


def test_plus_minus_is_the_sample_standard_deviation_and_absent_for_one_network():
    assert words.plus_minus([1.0, 3.0]) == '2 ± 1.4'
    assert words.plus_minus(np.array([61.24])) == '61.2'


def test_a_network_that_is_not_finite_is_left_out_and_the_others_are_counted():
    assert words.plus_minus([1.0, np.nan, 3.0]) == '2 ± 1.4 (n = 2)'
    assert words.plus_minus([np.inf, 3.0]) == '3 (n = 1)'
    assert words.plus_minus([np.nan, np.nan]) == 'not finite'
    mean, std, n = words.over_networks([1.0, np.nan, 3.0])
    assert (mean, std, n) == (2.0, pytest.approx(2**0.5), 2)


@pytest.mark.parametrize(
    ('value', 'text'), [(0.03234, '0.0323'), (423.4, '423'), (1234.6, '1,235'), (0.0, '0')]
)
def test_numbers_have_three_digits_or_all_before_the_point(value, text):
    assert words.number(value) == text


@pytest.mark.parametrize('dir', ['--config.data.dir=/data/here', "'--config.data.dir=/my data'"])
def test_a_command_is_shown_without_paths_of_this_machine(dir):
    command = f'/some/where/python -m launch.train --workdir=W {dir} --config.seeds=3'
    assert words.python_command(command) == (
        'python -m launch.train --workdir=W --config.data.dir=DATA --config.seeds=3'
    )


def test_a_folder_after_a_space_is_hidden_too():
    command = 'python -m launch.analyze --config.data.cache /home/me --steps=last'
    assert words.python_command(command) == (
        'python -m launch.analyze --config.data.cache DATA --steps=last'
    )


@pytest.mark.parametrize('before', ['/some/bin/python3.11 /some/bin/', '/some/bin/', ''])
def test_a_command_of_the_console_script_is_shown_as_it_is_typed(before):
    command = f'{before}resnet-dyn analyze --config.data.dir=/data/here --what=resnet-dyn'
    assert words.python_command(command) == (
        'resnet-dyn analyze --config.data.dir=DATA --what=resnet-dyn'
    )


def test_the_folder_of_a_published_network_is_not_shown():
    command = 'python -m launch.similarity --pretrained=/here/model --workdir=W'
    assert words.python_command(command) == (
        'python -m launch.similarity --pretrained=FOLDER --workdir=W'
    )
