"""The commit of the code that runs: of the checkout, or as it was when the package was built."""

import pathlib
import subprocess
from importlib import metadata

FILE = 'commit.txt'  # beside this module in a package that was built, and in no checkout

_HERE = pathlib.Path(__file__).parent


def current() -> str | None:
    """The commit in 40 digits, `-dirty` with uncommitted changes; None where it is not known."""
    built = _HERE / FILE
    if built.is_file():
        return built.read_text().strip() or None
    return of_checkout(_HERE.parent)


def of_checkout(root: pathlib.Path) -> str | None:
    """The same of the git checkout at `root`; None where it is none, or git does not answer."""
    if not (root / '.git').exists():
        return None
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--abbrev=40']
    try:
        answer = subprocess.run(
            [*command, '--exclude=*'], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() or None


def version() -> str:
    """Version and commit in one line."""
    return f'resnet_dyn {metadata.version("resnet_dyn")}, commit {current() or "unknown"}'
