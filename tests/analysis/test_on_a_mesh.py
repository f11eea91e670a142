"""Every measure on several devices: the record of one device, whatever the numbers of examples."""

import jax
import numpy as np
import pytest

from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import path_spectra, run_subjects
from resnet_dyn.models import placement
from resnet_dyn.reports import measures

MANY = jax.device_count()  # 4 in the suite
EXAMPLES, AT_ONCE = 21, 7  # neither divides over any number of devices; parts of one shape


@pytest.fixture(scope='module')
def subject(tiny_run):
    settings = effort_lib.Settings(examples=EXAMPLES)
    return run_subjects.Run(tiny_run, settings).subject(6)


def record(subject, name, at_once=AT_ONCE, **effort):
    measure = measures.MEASURES[name]
    carried = effort_lib.Effort(at_once=at_once, **effort)
    return measure.function(subject, carried, measure.options())


def tiles():
    """A mesh along both axes."""
    return placement.kernel_mesh(sizes={'mask': 2, 'data': MANY // 2})


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
    assert_equal(record(subject, name, mesh=tiles()), record(subject, name))


@pytest.mark.slow
def test_draws_of_parts_of_several_sizes_on_a_mesh_are_those_of_one_device(subject):
    found = record(subject, 'paths', at_once=10, mesh=placement.kernel_mesh())
    assert_equal(found, record(subject, 'paths', at_once=10))


@pytest.mark.parametrize('name', [pytest.param('singles', marks=pytest.mark.slow), 'depth'])
def test_networks_together_on_a_mesh_are_those_of_one_device(subject, name):
    found = record(subject, name, at_once=10, mesh=placement.kernel_mesh(), how='vmap')
    assert_equal(found, record(subject, name, at_once=10, how='vmap'))


def test_sums_are_dealt_out_by_one_program_which_the_next_checkpoint_uses_again(tiny_run):
    run = run_subjects.Run(tiny_run, effort_lib.Settings(examples=EXAMPLES))
    mesh, options = tiles(), path_spectra.Options()
    for step in (2, 6):
        path_spectra.measure(run.subject(step), effort_lib.Effort(AT_ONCE, mesh=mesh), options)
    static = (('probes', options.probes),)
    dealt = effort_lib.dealt(path_spectra.backward_sums, mesh, 'map', static)
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
