"""The README's blocks of shell run as they are printed, where they can run here.

What cannot has its reason below; `tests/launch/test_help.py` parses the commands of all of them.
"""

import os
import pathlib
import re
import subprocess
import sys

import pytest

TOP = pathlib.Path(__file__).parent.parent
BLOCKS = re.findall(
    r'```(?:sh|shell|bash|console)\n(.*?)```', (TOP / 'README.md').read_text(), re.S
)
# why a block is not run, by what stands in it
REASONS = {
    r'^make ': 'makes an environment from the network, and takes minutes to hours',
    r'=DATA\b': 'needs data that are not in the repository',
    r'^pip install': 'installs from the network',
    r'--pretrained=': 'needs folders of published networks',
    r'runs/another': 'compares runs that its reader has',
}


def reason(block):
    return next((why for found, why in REASONS.items() if re.search(found, block, re.M)), None)


CAN_RUN = [block for block in BLOCKS if reason(block) is None]


def run(block, folder):
    """The block in a folder that is like the checkout, by a shell that stops at the first error."""
    for name in ('launch', 'experiments', 'resnet_dyn', 'pyproject.toml', 'constraints.txt'):
        (folder / name).symlink_to(TOP / name)
    (folder / '.venv').symlink_to(sys.prefix)
    path = f'{pathlib.Path(sys.prefix, "bin")}{os.pathsep}{os.environ["PATH"]}'
    return subprocess.run(
        ['bash', '-e', '-u', '-c', block],
        cwd=folder,
        env=os.environ | {'PATH': path},
        capture_output=True,
        text=True,
    )


def test_every_reason_is_one_of_a_block_and_some_blocks_run():
    for found in REASONS:
        assert any(re.search(found, block, re.M) for block in BLOCKS), found
    assert len(CAN_RUN) >= 2


@pytest.mark.parametrize('block', [block for block in CAN_RUN if '--dry_run' in block])
def test_what_is_shown_and_not_done_runs_as_printed(block, tmp_path):
    done = run(block, tmp_path)
    assert (done.returncode, done.stderr) == (0, '')
    assert not (tmp_path / 'runs').exists()


@pytest.mark.slow
@pytest.mark.parametrize('block', [block for block in CAN_RUN if '--dry_run' not in block])
def test_all_that_can_run_here_runs_as_printed(block, tmp_path):
    done = run(block, tmp_path)
    assert done.returncode == 0, done.stderr
    for path in re.findall(r'--workdir=(\S+)', block):
        assert any((tmp_path / path).iterdir())
