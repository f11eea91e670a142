"""Path spectra of blocks that scale, whose paths multiply factors: e_k(f) and e_k(f^2)."""

import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.analysis import effort, path_spectra, subjects
from resnet_dyn.models import stack

FACTORS = np.array([0.5, -2.0, 0.9])
RANDOM = np.random.default_rng(0)
HEAD = RANDOM.normal(size=(4, 3)).astype(np.float32)
INPUTS = RANDOM.normal(size=(4, 4)).astype(np.float32)
LABELS = np.array([0, 2, 1, 1])


def symmetric(factors):
    """Elementary symmetric polynomials e_0..e_L: coefficients of prod (1 + f t)."""
    return np.polynomial.polynomial.polyfromroots(-1 / factors) * np.prod(factors)


@pytest.fixture(scope='module')
def record():
    branches = [lambda h, f=factor: f * h for factor in FACTORS]
    net = stack.from_functions(lambda x: x, branches, lambda h: h @ HEAD)
    subject = subjects.of_networks(net, INPUTS, LABELS)
    return path_spectra.measure(subject, effort.Effort(at_once=2), path_spectra.Options(64))


def gradients_at_the_end():
    """softmax - one hot, through the head: d loss_b / d h_L, by example."""
    logits = INPUTS @ HEAD * np.prod(1 + FACTORS)
    exponentials = np.exp(logits - logits.max(1, keepdims=True))
    softmax = exponentials / exponentials.sum(1, keepdims=True)
    return (softmax - np.eye(3)[LABELS]) @ HEAD.T


def root_mean_square(rows):
    return np.sqrt((rows**2).sum(1).mean())


def test_sums_over_paths_are_symmetric_polynomials_times_the_gradient_at_the_end(record):
    size = root_mean_square(gradients_at_the_end())
    np.testing.assert_allclose(record.sum_norm_SR[0], np.abs(symmetric(FACTORS)) * size, rtol=1e-4)
    np.testing.assert_array_equal(record.paths_R, [1, 3, 3, 1])


def test_energies_are_symmetric_polynomials_of_squares_within_their_standard_errors(record):
    energies_R = symmetric(FACTORS**2) * root_mean_square(gradients_at_the_end()) ** 2
    found_R, error_R = record.root_energy_SR[0] ** 2, record.energy_se_SR[0]
    np.testing.assert_allclose(found_R[[0, -1]], energies_R[[0, -1]], rtol=1e-4)  # one path each
    assert (error_R[1:-1] > 0).all() and error_R[1] < 0.2 * energies_R[1]
    assert (np.abs(found_R - energies_R)[1:-1] < 4 * error_R[1:-1]).all()


def test_the_forward_spectrum_is_that_of_the_input(record):
    expected_R = np.abs(symmetric(FACTORS)) * root_mean_square(INPUTS)
    np.testing.assert_allclose(record.forward_norm_SR[0], expected_R, rtol=1e-4)


def test_the_lengths_add_up_to_the_gradient(record):
    assert record.closure_S[0] < 1e-5


def test_norms_are_summed_in_float32_whatever_the_dtype_of_the_compute():
    def halves(h):
        return h / 2

    net = stack.from_functions(lambda x: x, [halves, halves], lambda h: h)
    x = np.random.default_rng(0).normal(size=(3, 257)).astype(jnp.bfloat16)
    subject = subjects.of_networks(net, x, np.zeros(3, int))
    found_R = path_spectra.measure(subject, effort.Effort(), path_spectra.Options(2))
    size = root_mean_square(x.astype(np.float64))
    np.testing.assert_allclose(found_R.forward_norm_SR[0, [0, 2]], [size, size / 4], rtol=1e-6)


def test_the_cost_is_half_of_the_blocks_in_passes_for_the_sums_and_for_each_probe():
    cost = path_spectra.cost(9, path_spectra.Options(3))
    assert cost == (5 + 1, 4 * 5 + 1, 0)
