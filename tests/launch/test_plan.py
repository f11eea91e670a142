"""launch.plan as its user meets it: what is refused before anything is compiled, and its text."""

import importlib.util
import sys

import pytest

from resnet_dyn import backend, errors
from resnet_dyn.plans import notes, remedies, training


@pytest.fixture(autouse=True)
def _no_tpu(monkeypatch):
    monkeypatch.setattr(backend, 'compile_for_tpus', lambda: None)
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, 'find_spec', lambda name, *_: None if name == 'libtpu' else find(name)
    )


def test_without_the_extra_it_says_how_to_install_it_and_other_faults_are_a_paragraph(called):
    for flags, word in (
        (['--topology=v5e:2x4'], "pip install -c constraints.txt -e '.[tpu]'"),
        (['--topology=v5:2x4'], 'did you mean'),
        (['--topology=v5e:2x4', '--config.model.dept=4'], 'config.model.depth'),
        (['--what=lesion'], 'lesions'),
        (['--mesh=seeds:2'], 'seed and data'),
        (['--what=lesions', '--mesh=seed:2'], 'mask and data'),
        (['--what=paths', '--mesh=mask:2,data:4', '--config.data.name=digits'], 'needs 8 devices'),
    ):
        status, out, err = called('plan', *flags)
        assert (status, out) == (1, '') and word in err and err.count('\n') == 1, err


def test_the_text_is_written_with_its_command_and_a_refusal_comes_after_it(
    called, tmp_path, monkeypatch
):
    def refused(made):
        raise errors.BudgetError('does not fit')

    monkeypatch.setattr(training, 'make', lambda *_: None)
    monkeypatch.setattr(notes, 'of_training', lambda made: 'the plan')
    monkeypatch.setattr(remedies, 'check', refused)
    flags = [f'--workdir={tmp_path}', '--config.seeds=3']
    monkeypatch.setattr(sys, 'argv', ['launch/plan.py', *flags])
    status, out, err = called('plan', *flags)
    assert status == 1 and 'does not fit' in err and 'the plan\n' in out
    text = (tmp_path / 'plan.txt').read_text()
    assert text == '$ python -m launch.plan \\\n    --config.seeds=3\n\nthe plan\n'
