"""The generated task: its law, against closed forms, and what its seed and sizes fix."""

import numpy as np
import pytest

from resnet_dyn import config, errors
from resnet_dyn.data import gaussians


def make(**values):
    defaults = {'train_size': 600, 'test_size': 200, 'classes': 6, 'dimension': 5}
    return config.Data(name='gaussians', **(defaults | values))


def test_shapes_and_dtypes():
    pair = gaussians.load(make())
    for split, size in ((pair.train, 600), (pair.test, 200)):
        assert (split.inputs.shape, split.inputs.dtype) == ((size, 5), np.float32)
        assert (split.labels.shape, split.labels.dtype) == ((size,), np.int32)
    assert (pair.classes, pair.note) == (6, '')


def test_classes_have_equally_many_examples():
    np.testing.assert_array_equal(np.bincount(gaussians.load(make()).train.labels), [100] * 6)


@pytest.mark.parametrize('covariance', ['identity', 'wishart'])
def test_one_seed_gives_one_data_set_and_another_seed_another(covariance):
    one = gaussians.load(make(covariance=covariance, seed=3)).train.inputs
    np.testing.assert_array_equal(
        one, gaussians.load(make(covariance=covariance, seed=3)).train.inputs
    )
    other = gaussians.load(make(covariance=covariance, seed=4)).train.inputs
    assert np.abs(one - other).mean() > 0.5


def test_a_smaller_split_is_the_beginning_of_a_larger_and_leaves_the_other_alone():
    small, large = gaussians.load(make(train_size=50)), gaussians.load(make())
    np.testing.assert_array_equal(small.train.inputs, large.train.inputs[:50])
    np.testing.assert_array_equal(small.test.inputs, large.test.inputs)


def test_training_and_test_noise_are_independent():
    pair = gaussians.load(make(test_size=600, separation=0.0, classes=2))
    correlation = np.corrcoef(pair.train.inputs.ravel(), pair.test.inputs.ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(pair.train.inputs.size)


def test_noise_is_standard_and_means_have_the_separation():
    data = make(classes=300, dimension=20, separation=2.0, train_size=300 * 50)
    inputs_NKD = gaussians.load(data).train.inputs.reshape(50, 300, 20).astype(np.float64)
    # Within a class the unbiased variance is 1; between them Var of class averages = sep^2 + 1/50.
    within = inputs_NKD.var(axis=0, ddof=1).mean()
    assert abs(within - 1) < 4 * np.sqrt(2 / (300 * 20 * 49))
    between = np.square(inputs_NKD.mean(axis=0)).mean()
    expected = 2.0**2 + 1 / 50
    assert abs(between - expected) < 4 * expected * np.sqrt(2 / (300 * 20))


@pytest.mark.parametrize('covariance', ['identity', 'wishart'])
def test_standardised_inputs_have_mean_square_one(covariance):
    data = make(classes=400, dimension=8, separation=0.7, train_size=8_000, covariance=covariance)
    mean, std = gaussians.standardisation(data)
    assert (mean.shape, mean.dtype, std.dtype) == ((8,), np.float32, np.float32)
    squares_KD = np.square((gaussians.load(data).train.inputs - mean) / std).reshape(20, 400, 8)
    by_class = squares_KD.mean(axis=(0, 2))
    assert abs(by_class.mean() - 1) < 4 * by_class.std() / np.sqrt(400)


def test_wishart_covariances_have_trace_dimension_and_the_spread_of_their_law():
    data = make(classes=2_000, dimension=6, covariance='wishart')
    factors = (gaussians.covariance_factor(data, k) for k in range(data.classes))
    sigmas_KDD = np.stack([factor @ factor.T for factor in factors])
    np.testing.assert_allclose(np.trace(sigmas_KDD, axis1=1, axis2=2), 6.0, rtol=1e-12)
    # E tr(S^2) / tr(S)^2 = (n + D + 1) / (n D + 2) for Wishart S of n degrees of freedom, n = D.
    squares = np.square(sigmas_KDD).sum(axis=(1, 2))
    expected = 6**2 * (2 * 6 + 1) / (6**2 + 2)
    assert abs(squares.mean() - expected) < 4 * squares.std() / np.sqrt(2_000)


def test_wishart_noise_of_a_class_has_the_covariance_of_that_class():
    data = make(classes=3, dimension=4, covariance='wishart', train_size=90_000, separation=0.0)
    split = gaussians.load(data).train
    for k in range(3):
        factor = gaussians.covariance_factor(data, k)
        empirical = np.cov(split.inputs[split.labels == k].T.astype(np.float64))
        # The standard error of an entry is at most sqrt(2 / n) of the largest variance.
        tolerance = 5 * np.sqrt(2 / 30_000) * np.diag(factor @ factor.T).max()
        np.testing.assert_allclose(empirical, factor @ factor.T, atol=tolerance)


@pytest.mark.parametrize(
    'sizes', [{'train_size': 2**31}, {'test_size': 2**40}, {'train_size': 10**30}]
)
def test_more_than_the_machine_could_hold_is_refused_before_it_is_drawn(sizes):
    data = config.Data(**{'train_size': 10, 'test_size': 10, 'dimension': 10_000} | sizes)
    with pytest.raises(errors.BudgetError, match=r'lower config\.data\.train_size'):
        gaussians.load(data)
