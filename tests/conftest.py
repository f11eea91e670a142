"""For every test: four simulated CPU devices, no silent rank promotion, cached compiles; a run.

Most of the suite's time goes into compiling, much of that into what is done for speed alone. That
is left out: LLVM's optimisations, and XLA:CPU's newer way to write the code of a fusion. The
programs that are compiled are those that users have, on whatever device; what changes is the last
bits. `JAX_DISABLE_MOST_OPTIMIZATIONS=0 make test` leaves nothing out, nor does `make slow`.
"""

import contextlib
import functools
import gc
import os
import pathlib
import shutil

import pytest
import tiny

from resnet_dyn import backend, commit

# Read by JAX when it is imported, here and in the processes that tests start.
SETTINGS = {
    'JAX_PLATFORMS': 'cpu',
    'JAX_NUM_CPU_DEVICES': '4',
    'JAX_NUMPY_RANK_PROMOTION': 'raise',
    'JAX_DISABLE_MOST_OPTIMIZATIONS': '1',
    'JAX_COMPILATION_CACHE_DIR': str(pathlib.Path(__file__).parent.parent / '.jax_cache'),
    'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0.05',  # others take as long to read
    'JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES': '0',
    'JAX_TRACEBACK_IN_LOCATIONS_LIMIT': '0',  # where an operation was written is not kept
}
os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
backend.configure_cpu()
gc.set_threshold(20_000)  # of the many objects of a trace few are garbage
if os.environ['JAX_DISABLE_MOST_OPTIMIZATIONS'] == '1':
    backend.compile_quickly()

# Begun first where files are run side by side, so that nobody waits for one of them at the end.
LONGEST = (
    'test_processes',
    'test_loop',
    'test_analyze',
    'test_launch_train',
    'test_path_gradients',
    'test_path_weights',
    'test_figure1',
    'test_branch_scales',
    'test_program',
    'test_on_a_mesh',
    'test_devices',
    'test_any_network',
    'test_readme_example',
    'test_training_plan',
    'test_critical_points',
    'test_depth_over_training',
    'test_initial_depth',
    'test_lesions',
    'test_stack',
    # of `make slow`
    'test_killed_anywhere',
    'test_fuzz',
    'test_killed_analysis',
    'test_scaled_kernels',
    'test_text_runs',
    'test_units',
    'test_left_anywhere',
)


def pytest_collection_modifyitems(config, items):
    absent = set()  # cases that a mark names and that are not there
    for item in items:
        if (quick := item.get_closest_marker('slow_but')) is not None:
            if item.callspec.id not in quick.args:
                item.add_marker('slow')
            absent |= {f'{item.parent.nodeid}::{item.originalname}[{case}]' for case in quick.args}
    absent -= {item.nodeid for item in items}
    if absent and '::' not in ' '.join(config.args):
        raise pytest.UsageError(f'slow_but names no case: {", ".join(sorted(absent))}')
    first = {stem: place for place, stem in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path.stem, len(first)))


@pytest.fixture(scope='session', autouse=True)
def _one_commit():
    """The code of a process is of one commit: git is asked for it once, not at every record."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commit, 'current', functools.cache(commit.current))
        yield


@pytest.fixture(scope='session')
def tiny_run(_share_programs, tmp_path_factory):
    """A run of 2 networks of 3 blocks, checkpoints at 0, 2, 4, 6; tests that change it copy it."""
    from resnet_dyn import config
    from resnet_dyn.training import loop

    workdir = tmp_path_factory.mktemp('tiny') / 'run'
    with _share_programs():
        loop.train(config.parse(tiny.VALUES), workdir, report=lambda line: None)
    return workdir


@pytest.fixture(scope='module')
def optimised():
    """Programs compiled in full: for tests that run them for longer than they compile them."""
    import jax

    before = jax.config.read('jax_disable_most_optimizations')
    jax.config.update('jax_disable_most_optimizations', False)
    yield
    jax.config.update('jax_disable_most_optimizations', before)


@pytest.fixture(scope='session')
def _share_programs():
    """`with share():` programs of runs are those that were made before, where nothing differs."""
    from resnet_dyn import config, fields
    from resnet_dyn.training import program

    neutral = {leaf.path: leaf.default for leaf in config.leaves() if leaf.metadata['neutral']}
    length = {leaf.path: leaf.default for leaf in config.leaves() if leaf.path in config.LENGTH}
    programs, make = {}, program.Program

    def shared(cfg, model, dataset, total_steps, mesh):
        constant = cfg.train.schedule == 'constant'  # a rate that knows no length
        alike = fields.replace(cfg, neutral | (length if constant else {}))
        steps = None if constant else total_steps
        where = tuple(mesh.shape.items()), tuple(mesh.devices.flat)
        key = (alike, dataset.source.digest, steps, where)
        if key not in programs:
            programs[key] = make(cfg, model, dataset, total_steps, mesh)
        return programs[key]

    @contextlib.contextmanager
    def share():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(program, 'Program', shared)
            yield

    return share


@pytest.fixture(scope='module')
def shared_programs(_share_programs):
    """Runs that differ in nothing that a program is made of share one, and compile once."""
    with _share_programs():
        yield


@pytest.fixture(scope='module')
def sketched():
    """Pictures are drawn in full, and saved as empty files: rendering them takes most of the time.

    For tests of what is drawn and written when; others look at the files themselves.
    """
    from resnet_dyn.plots import style

    def save(fig, stem):
        paths = [pathlib.Path(f'{stem}.{kind}') for kind in ('png', 'pdf')]
        for path in paths:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(repr([axes.get_title('left') for axes in fig.axes]).encode())
        return tuple(paths)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(style, 'save', save)
        yield


@pytest.fixture
def copied_run(tiny_run, tmp_path):
    """A copy of the tiny run, without records, to do with as one likes."""
    return shutil.copytree(tiny_run, tmp_path / 'run', ignore=shutil.ignore_patterns('records'))
