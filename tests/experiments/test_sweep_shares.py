"""What jobs at a time have of a machine: cores, GPUs, TPU chips."""

import importlib.util
import os
import subprocess
import sys

import pytest

from experiments.sweeps import processes, shares
from resnet_dyn import errors


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """machine(cores, plugin, device files): its /dev."""

    def machine(cores=4, plugin=None, files=()):
        there = importlib.util.find_spec
        plugins = {name for names in shares._PLUGINS.values() for name in names}
        monkeypatch.setattr(
            importlib.util,
            'find_spec',
            lambda name: name == plugin if name in plugins else there(name),
        )
        monkeypatch.setattr(os, 'sched_getaffinity', lambda pid: set(range(cores)))
        (tmp_path / 'vfio').mkdir()
        for name in files:
            (tmp_path / name).touch()
        return str(tmp_path)

    return machine


@pytest.mark.parametrize(
    'cores, jobs, expected',
    [
        (4, 2, [{0, 1}, {2, 3}]),
        (5, 2, [{0, 1}, {2, 3, 4}]),
        (2, 3, [{0}, {1}, {0}]),
        (1, 2, [{0}, {0}]),
    ],
)
def test_cores_are_divided(machine, cores, jobs, expected):
    found = shares.divide(jobs, {}, machine(cores))
    assert [set(share.cores) for share in found] == expected
    assert [share.variables for share in found] == [{'NPROC': str(len(some))} for some in expected]


def test_one_job_has_all(machine):
    assert shares.divide(1, {}, machine(files=('nvidia0',))) == [shares.Share(None, {}, '')]


def test_gpus_are_divided_and_shared_where_there_are_too_few(machine):
    files = ('nvidia0', 'nvidia1', 'nvidia2', 'nvidiactl', 'nvidia-uvm')
    dev = machine(8, 'jax_cuda13_plugin', files)
    variables = [share.variables for share in shares.divide(2, {}, dev)]
    assert [one['CUDA_VISIBLE_DEVICES'] for one in variables] == ['0', '1,2']
    assert not any('XLA_PYTHON_CLIENT_MEM_FRACTION' in one for one in variables)
    variables = [one.variables for one in shares.divide(3, {'CUDA_VISIBLE_DEVICES': '4,7'}, dev)]
    assert [one['CUDA_VISIBLE_DEVICES'] for one in variables] == ['4', '7', '4']
    assert [one.get('XLA_PYTHON_CLIENT_MEM_FRACTION') for one in variables] == [
        '0.45',
        None,
        '0.45',
    ]
    mine = {'CUDA_VISIBLE_DEVICES': '4', 'XLA_PYTHON_CLIENT_MEM_FRACTION': '.3'}
    assert not any(shares._FRACTION in one.variables for one in shares.divide(2, mine, dev))
    assert shares.visible({'JAX_PLATFORMS': 'cpu'}, dev) == ('', [])
    assert shares.visible({'CUDA_VISIBLE_DEVICES': ''}, dev)[1] == []


def test_a_tpu_chip_is_of_one_process(machine):
    dev = machine(8, 'libtpu', ['vfio/vfio', *(f'vfio/{n}' for n in (3, 5, 8, 13))])
    variables = [share.variables for share in shares.divide(4, {}, dev)]
    assert [one['TPU_VISIBLE_CHIPS'] for one in variables] == ['0', '1', '2', '3']
    assert {one['TPU_CHIPS_PER_PROCESS_BOUNDS'] for one in variables} == {'1,1,1'}
    assert len({one['TPU_PROCESS_PORT'] for one in variables}) == 4
    pairs = [share.variables['TPU_VISIBLE_CHIPS'] for share in shares.divide(2, {}, dev)]
    assert pairs == ['0,1', '2,3']
    with pytest.raises(errors.ConfigError, match='--jobs=5 are more than the 4 TPU chips'):
        shares.divide(5, {}, dev)


@pytest.mark.skipif(not hasattr(os, 'sched_setaffinity'), reason='no affinity on this system')
def test_a_process_begins_on_its_cores_and_leaves_ours_as_they_were():
    before = os.sched_getaffinity(0)
    one = min(before)
    with processes._on(frozenset({one})):
        code = 'import os; print(os.sched_getaffinity(0))'
        said = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    assert said.stdout.strip() == str({one}) and os.sched_getaffinity(0) == before
