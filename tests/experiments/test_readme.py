"""The README's numbers come from files alone: what is there is written, what is not is said."""

import json

import numpy as np
import pytest

from experiments import readme
from resnet_dyn import records
from resnet_dyn.analysis import path_spectra, trajectories

DEVICE = {'platform': 'cpu', 'kind': 'cpu', 'count': 1, 'cpu_cores': 2}


@pytest.fixture
def root(tmp_path):
    text = f'# Title\n\n{readme.BEGIN}\nold numbers\n{readme.END}\n\nThe end.\n'
    (tmp_path / 'README.md').write_text(text)
    return tmp_path


def run(root):
    lines = []
    result = readme.run(root / 'build', report=lines.append, root=root)
    return result, lines, (root / 'README.md').read_text()


def test_what_is_not_there_is_left_out_and_said(root):
    _, lines, text = run(root)
    assert len(lines) == len(readme.SOURCES)
    assert all('left out' in line for line in lines)
    assert 'old numbers' not in text
    assert text.startswith('# Title')
    assert text.endswith('The end.\n')


def test_a_benchmark_becomes_rows_and_a_second_run_changes_nothing(root):
    folder = root / 'build' / 'benchmarks'
    folder.mkdir(parents=True)
    numbers = {'compile_growth': 0.891, 'speed_over_pytorch': [0.5312, 0.51, 0.57]}
    found = {'numbers': numbers, 'provenance': {'device': DEVICE}}
    (folder / 'benchmark_train.json').write_text(json.dumps(found))
    _, _, text = run(root)
    assert '| 0.89 |  | 2 CPU cores | `python -m launch.benchmark --what=train` |' in text
    assert '0.53 (0.51 to 0.57)' in text
    assert run(root)[2] == text


def test_the_ensemble_of_a_run_becomes_rows_with_the_command_of_each_measure(root):
    folder = root / 'build' / 'cifar'
    (folder / 'checkpoints' / '7').mkdir(parents=True)
    paths = path_spectra.PathSpectrum(
        step=np.array(7),
        sum_norm_SR=np.ones((2, 3)),
        root_energy_SR=np.sqrt([[4.0, 4.0, 2.0], [6.0, 3.0, 1.0]]),
        energy_se_SR=np.zeros((2, 3)),
        forward_norm_SR=np.ones((2, 3)),
        paths_R=np.array([1.0, 2.0, 1.0]),
        closure_S=np.array([1e-7, 3e-7]),
        probes=np.array(8),
    )
    origin = {'device': DEVICE, 'command': 'python -m launch.analyze --what=paths --steps=last'}
    records.save(trajectories.path(folder, 'paths', 7), paths, origin)
    _, lines, text = run(root)
    rows = [line for line in text.splitlines() if '--what=paths --steps=last' in line]
    assert len(rows) == 2
    assert '(of all paths: 0.75) | 0.85 ± 0.071 | 2 | 2 CPU cores |' in rows[0]
    assert '| 2e-07 ± 1.4e-07 |' in rows[1]
    assert not any(line.startswith('the ensemble') for line in lines)


def test_pictures_are_copied_to_docs(root):
    source = root / 'build' / 'figure1' / 'figure1.png'
    source.parent.mkdir(parents=True)
    source.write_bytes(b'picture')
    run(root)
    assert (root / 'docs' / 'figure1.png').read_bytes() == b'picture'


def test_plus_minus_is_the_sample_standard_deviation_and_absent_for_one_network():
    assert readme.plus_minus([1.0, 3.0]) == '2 ± 1.4'
    assert readme.plus_minus(np.array([61.24])) == '61.2'


def test_a_command_is_shown_without_paths_of_this_machine():
    command = '/some/where/python -m launch.train --workdir=W --config.data.dir=/data/here'
    assert readme.python_command(command) == (
        'python -m launch.train --workdir=W --config.data.dir=DATA'
    )
