"""A real Slurm of one node, where its packages are: what the transcript in docs shows is so."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
TOOLS = ('munged', 'slurmctld', 'slurmd', 'sbatch')
PATH = f'{os.environ["PATH"]}:/usr/sbin:/sbin'

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(shutil.which(tool, path=PATH) for tool in TOOLS),
        reason='needs root and Slurm: apt-get install slurm-wlm munge',
    ),
]


@pytest.fixture(scope='module')
def parts():
    """The transcript, cut at its comments."""
    done = subprocess.run(
        [HERE / 'transcript.sh', sys.executable], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return re.split(r'\n\n(?=# )', done.stdout)


def test_a_run_longer_than_its_limit_is_requeued_and_ends_in_the_same_bits(parts):
    first, second, *_ = parts
    restarts = int(re.search(r'Restarts=(\d+)', first)[1])
    assert restarts >= 1 and 'JobState=COMPLETED' in first and 'ExitCode=0:0' in first
    assert first.count('goes back into the queue\n') == restarts
    assert first.count('restored at step') <= restarts
    assert '400000: the same bits' in second


def test_what_is_cancelled_saves_and_does_not_come_back(parts):
    assert 'all saved' in parts[2]
    assert 'JobState=CANCELLED' in parts[2] and 'Restarts=0' in parts[2]


def test_a_sweep_is_an_array_whose_runs_are_all_done(parts):
    assert '#SBATCH' not in parts[3] and '4 of 4 runs are done' in parts[3]
    assert re.search(r'\d+_\[?\d', parts[3])  # an array


def test_the_transcript_in_docs_shows_no_machine(parts):
    text = (HERE.parent.parent / 'docs' / 'slurm.txt').read_text()
    shown = [part.splitlines()[0] for part in re.split(r'\n\n(?=# )', text)]
    assert len(shown) >= 4 and set(shown) <= {part.splitlines()[0] for part in parts}
    assert not re.search(r'/tmp|/root|site-packages', text)
