"""Every measure on several devices: the record of one device, whatever the numbers of examples."""

import jax
import numpy as np
import pytest

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import path_spectra, run_subjects
from resnet_dyn.models import placement
from resnet_dyn.reports import measures

MANY = jax.device_count()  # 4 in the suite
EXAMPLES, AT_ONCE = 23, 10  # neither divides over any number of devices


@pytest.fixture(scope='module')
def subject(tiny_run):
    settings = effort_lib.Settings(examples=EXAMPLES)
    return run_subjects.Run(tiny_run, settings).subject(6)


def record(subject, name, **effort):
    measure = measures.MEASURES[name]
    carried = effort_lib.Effort(at_once=AT_ONCE, **effort)
    return measure.function(subject, carried, measure.options())


def assert_equal(found, expected):
    for name, a, b in zip(found._fields, found, expected, strict=True):
        if np.asarray(a).dtype.kind == 'U':
            np.testing.assert_array_equal(a, b, name)
        else:
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5, err_msg=name)


def quick(name):
    """Of a kind each: sums with draws, parameters alone. Walks: `kernels/test_prefix_tree`."""
    return name in ('paths', 'gammas')


@pytest.mark.parametrize(
    'name',
    [
        pytest.param(name, marks=() if quick(name) else pytest.mark.slow)
        for name in measures.MEASURES
    ],
)
def test_every_measure_on_a_mesh_is_that_of_one_device(subject, name):
    mesh = placement.kernel_mesh(sizes={'mask': 2, 'data': MANY // 2})
    assert_equal(record(subject, name, mesh=mesh), record(subject, name))


@pytest.mark.parametrize('name', [pytest.param('singles', marks=pytest.mark.slow), 'depth'])
def test_networks_together_on_a_mesh_are_those_of_one_device(subject, name):
    found = record(subject, name, mesh=placement.kernel_mesh(), how='vmap')
    assert_equal(found, record(subject, name, how='vmap'))


def test_sums_are_dealt_out_by_one_program_which_the_next_checkpoint_uses_again(tiny_run):
    run = run_subjects.Run(tiny_run, effort_lib.Settings(examples=20))
    options = path_spectra.Options(probes=3)
    mesh = placement.kernel_mesh()
    for step in (2, 6):
        path_spectra.measure(run.subject(step), effort_lib.Effort(10, mesh=mesh), options)
    dealt = effort_lib.dealt(path_spectra.backward_sums, mesh, 'map', (('probes', 3),))
    assert dealt._cache_size() == 1
    found = effort_lib.dealt(path_spectra.forward_sums, mesh, 'map', ())
    assert found._cache_size() == 1


def test_sums_keep_all_devices_busy_where_there_are_examples_enough(subject, monkeypatch):
    jobs, deal = [], placement.deal
    monkeypatch.setattr(
        placement, 'deal', lambda trees, mesh: jobs.append(trees) or deal(trees, mesh)
    )
    record(subject.some([0]), 'depth', mesh=placement.kernel_mesh())
    assert len({id(job) for job in jobs[0]}) >= min(MANY, EXAMPLES) - 1
    assert [len(trees) for trees in jobs] == [MANY] * len(jobs)
