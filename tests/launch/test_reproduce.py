"""launch.reproduce: a line that says pass or fail, and the exit status that goes with it."""

import re

import pytest

from experiments import reproductions

pytestmark = pytest.mark.usefixtures('sketched')


@pytest.fixture(scope='module')
def gpt2(published):
    return published('gpt2')


@pytest.fixture(scope='module')
def run(called, gpt2, tmp_path_factory):
    workdir = tmp_path_factory.mktemp('reproduce')

    def run(*given):
        few = ('--sequences=3', '--length=8')
        return called('reproduce', f'--pretrained={gpt2}', f'--workdir={workdir}', *few, *given)

    return run


def test_random_weights_fail_and_what_is_there_is_judged_again(run, monkeypatch):
    status, out, err = run('--name=lad_gpt2')
    assert (status, err) == (1, '') and '\nFAIL: both means' in out
    assert 'published  72 to 95 %' in out and 'ours       deletion' in out
    lenient = reproductions.REPRODUCTIONS['lad_gpt2']._replace(judge=anything)
    monkeypatch.setitem(reproductions.REPRODUCTIONS, 'lad_gpt2', lenient)
    status, out, _ = run('--name=lad_gpt2')
    assert status == 0 and '\nPASS: ' in out and 'there already: layer_swaps' in out


def anything(record):
    return reproductions.Verdict('all of it', True)


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        (['--name=shortgpt_llama2_7b'], 'has 3 layers, and Llama-2-7b .* has 32'),
        (['--name=lad_pythia'], 'is a gpt2, and Pythia .* is a gpt_neox'),
        (['--name=lad_gpt'], "did you mean 'lad_gpt2'"),
        (['--name=lad_gpt2', '--blocks=layers'], 'leave the flag out'),
    ],
)
def test_what_is_not_the_network_of_the_paper_is_refused(run, given, message):
    status, _, err = run(*given)
    assert status == 1 and re.search(message, err) and err.count('\n') == 1


def test_a_network_that_is_not_named_is_refused(called, tmp_path):
    status, _, err = called('reproduce', '--name=lad_gpt2', f'--workdir={tmp_path}')
    assert status == 1 and 'name the folder of GPT-2' in err
    status, _, err = called('reproduce', f'--workdir={tmp_path}')
    assert status == 1 and '--name is not given: take one of ' in err
