"""What the suite looks at on four devices, on eight: in a process of its own."""

import os
import pathlib
import subprocess
import sys

TOP = pathlib.Path(__file__).parent.parent
CHOSEN = (
    'tests/training/test_devices.py::test_networks_and_batches_on_many_devices_are_those_of_one[all]',
    'tests/training/test_devices.py::test_a_run_goes_on_with_another_number_of_devices',
    'tests/analysis/test_on_a_mesh.py::test_every_measure_on_a_mesh_is_that_of_one_device[singles]',
    'tests/analysis/test_on_a_mesh.py::test_every_measure_on_a_mesh_is_that_of_one_device[paths]',
)


def test_training_resuming_lesions_and_paths_on_eight_devices_are_those_of_one():
    found = subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '-p', 'no:cacheprovider', *CHOSEN],
        cwd=TOP,
        env=os.environ | {'JAX_NUM_CPU_DEVICES': '8'},
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stdout[-4000:]
    assert found.stdout.startswith('.....')  # five of them, none skipped
