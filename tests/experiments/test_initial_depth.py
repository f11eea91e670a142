"""Depth at initialisation, small: gains beside products of matrices, theory at known values."""

import csv

import jax
import numpy as np
import pytest

from experiments import initial_depth
from resnet_dyn import errors, records
from resnet_dyn.models import stack

Case = initial_depth.Case
HARMONIC = {5: 137 / 60, 10: 7381 / 2520}  # H_p


@pytest.fixture(scope='module')
def made(tmp_path_factory, sketched):
    """The folder and the result of the figure of two cases at widths 8 and 16."""
    workdir = tmp_path_factory.mktemp('initial_depth')
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(initial_depth, 'PLAIN', (Case('paper', 'batch'),))
        patch.setattr(initial_depth, 'SCALED', (Case('paper', 'none', 'sqrt_depth'),))
        for name, value in (('WIDTHS', (8, 16)), ('DEPTHS', (5, 10)), ('EXAMPLES', 32)):
            patch.setattr(initial_depth, name, value)
        return workdir, initial_depth.run(workdir, report=lambda line: None)


def test_files_hold_what_was_measured_beside_theory(made):
    workdir, result = made
    assert result.finished
    assert {path.name for path in result.files} == {
        f'initial_depth.{suffix}' for suffix in ('npz', 'csv', 'png', 'pdf')
    }
    record, origin = records.load(workdir / 'initial_depth.npz', initial_depth.InitialDepth)
    assert record.signal_NCSP.shape == (2, 2, 3, 2) and 'device' in origin
    assert np.isnan(record.signal_NCSP[1:, 1]).all()  # scaled ones at the first width alone
    assert np.isfinite(record.signal_NCSP[:1]).all()
    with open(workdir / 'initial_depth.csv', newline='') as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == (1 * 2 + 1) * 2 * 3
    first = lines[0]
    values_S = record.signal_NCSP[0, 0, :, 0]
    np.testing.assert_allclose(float(first['mean']), values_S.mean(), rtol=1e-5)
    off = values_S.mean() / HARMONIC[5] - 1
    np.testing.assert_allclose(float(first['off']), off, rtol=1e-3)  # as it is rounded
    assert (first['width'], first['p'], first['law'], first['n']) == ('8', '5', 'signal', '3')
    assert any('width 16' in line and 'infinite width 2.93' in line for line in result.findings)


def test_theory_is_harmonic_numbers_half_of_p_and_their_coherent_kin(made):
    record, _ = records.load(made[0] / 'initial_depth.npz', initial_depth.InitialDepth)
    batch, scaled = record.signal_theory_NP
    np.testing.assert_allclose(batch, [HARMONIC[5], HARMONIC[10]])
    np.testing.assert_allclose(scaled, [1 + L / (L + 1) for L in (4, 9)])
    np.testing.assert_allclose(record.coherent_theory_NP[0, 1], 3.913252137, rtol=1e-6)
    bare = [
        initial_depth.mean_depths(initial_depth._theory(Case('paper', 'none'), p)) for p in (5, 10)
    ]
    np.testing.assert_allclose(bare, [[3] * 3, [5.5] * 3], rtol=1e-6)  # all laws


def test_fixed_scales_have_their_gains_in_nets_without_norms():
    """|scale relu(W h)|^2 / |h|^2 averages scale^2 over He weights, whatever h is."""
    scales_L = np.array([1, 2, 3, 4]) ** -0.5
    some = initial_depth._gains(Case('paper', 'none', 'sqrt_index'), 256, 5, 2, 16)
    mean_2L = np.mean(list(some), 0)
    # |relu(W h)|^2 / |h|^2 has a standard deviation of sqrt(5 / n) a net, the gradient's more
    np.testing.assert_allclose(mean_2L, [scales_L**2] * 2, rtol=3 * (5 / 256 / 2) ** 0.5)


def test_the_gains_of_linear_branches_are_norms_of_their_matrices():
    random = np.random.default_rng(0)
    weights = random.normal(size=(2, 6, 6)).astype(np.float32)
    branches = [lambda h, w=w: h @ w for w in weights]
    net = stack.from_functions(lambda x: x, branches, lambda h: h)
    x = random.normal(size=(4000, 6)).astype(np.float32)
    signal_L, gradient_L = jax.jit(initial_depth.power_gains)(net, x, jax.random.key(0))
    h, expected = x, []
    for w in weights:
        expected.append(((h @ w) ** 2).mean() / (h**2).mean())
        h = h + h @ w
    np.testing.assert_allclose(signal_L, expected, rtol=1e-5)
    # E |w g|^2 / |g|^2 over random signs g is |w|_F^2 / n; over 24,000 of them within a percent
    np.testing.assert_allclose(gradient_L, (weights**2).sum((1, 2)) / 6, rtol=0.03)


def test_a_gain_that_is_not_finite_has_no_depth():
    assert np.isnan(initial_depth.mean_depths([[1.0, np.inf], [1.0, 1.0]])).all()


def test_it_is_left_where_it_is_stopped_and_takes_no_config(tmp_path):
    assert not initial_depth.run(tmp_path, True, stop=lambda: True).finished
    with pytest.raises(errors.ConfigError, match=r'config\.model\.width'):
        initial_depth.run(tmp_path, changes={'model.width': 8})
    assert not list(tmp_path.iterdir())
