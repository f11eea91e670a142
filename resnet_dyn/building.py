"""How the package is built: launchers within it, and the commit that it is built from.

Named by pyproject.toml, and read by setuptools as a file: nothing else of the package is there.
"""

import pathlib
import runpy
import shutil

from setuptools.command import build_py, sdist

ROOT = pathlib.Path(__file__).parent.parent
BESIDE = ('launch', 'experiments')  # they become a part of the package
COMMIT = runpy.run_path(str(ROOT / 'resnet_dyn' / 'commit.py'))


def write_commit(package: pathlib.Path) -> None:
    """Leaves the commit in a package that is built; one that came with the sources stays."""
    if found := COMMIT['of_checkout'](ROOT):
        (package / COMMIT['FILE']).write_text(f'{found}\n')


class Build(build_py.build_py):
    """`launch` and `experiments` go to resnet_dyn/_commands; nothing of an earlier build stays."""

    def run(self):
        if self.editable_mode:
            super().run()
            return
        package = pathlib.Path(self.build_lib) / 'resnet_dyn'
        shutil.rmtree(package, ignore_errors=True)
        super().run()
        _copy(package / '_commands')
        write_commit(package)


class SourceDistribution(sdist.sdist):
    """The sources with their commit, so that what is built of them elsewhere knows it."""

    def make_release_tree(self, base_dir, files):
        super().make_release_tree(base_dir, files)
        _copy(pathlib.Path(base_dir))
        write_commit(pathlib.Path(base_dir) / 'resnet_dyn')


def _copy(to: pathlib.Path) -> None:
    for name in BESIDE:
        without = shutil.ignore_patterns('__pycache__')
        shutil.copytree(ROOT / name, to / name, ignore=without, dirs_exist_ok=True)
