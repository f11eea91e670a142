"""What the suite looks at on four devices, on eight: in a process of its own."""

import os
import pathlib
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).parent.parent
ALL = ('-m', 'slow or not slow')
TRAINING, ANALYSIS = (
    'tests/training/test_devices.py::test',
    'tests/analysis/test_on_a_mesh.py::test',
)
STEPS = f'{TRAINING}_networks_and_batches_on_many_devices_are_those_of_one'
MEASURE = f'{ANALYSIS}_every_measure_on_a_mesh_is_that_of_one_device'
CHOSEN = (
    f'{STEPS}[all]',
    f'{TRAINING}_a_run_goes_on_with_another_number_of_devices',
    f'{MEASURE}[singles]',
    f'{MEASURE}[paths]',
)


@pytest.mark.slow
def test_steps_of_three_networks_on_eight_devices_are_those_of_one():
    passes(f'{STEPS}[3 networks]', tests=1)


@pytest.mark.slow
def test_training_resuming_lesions_and_paths_on_eight_devices_are_those_of_one():
    passes(*CHOSEN, tests=5)


def passes(*chosen, tests):
    found = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *ALL, *chosen],
        cwd=TOP,
        env=os.environ | {'JAX_NUM_CPU_DEVICES': '8'},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-4000:]
    assert found.stdout.startswith('.' * tests)  # none skipped
