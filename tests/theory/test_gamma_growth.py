"""Theorems 3 and 4 against a table of independently computed values, autodiff and their limits."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resnet_dyn.theory import gamma_growth

pytestmark = pytest.mark.usefixtures('float64')

GAMMAS, NON_SKIPPED = (1.1, 0.9, 1.2, 0.8), (0, 3)

# Lambda = 12, m = 2, p = 4; see `_setting`.
REFERENCE = {
    'thm3.A_value': 4.478008548914952,
    'thm3.B_value': 1.6777932852635409,
    'thm3.part1.eps_p': -2.471284304435039,
    'thm3.part1.grad_norm2': 370.66628617689463,
    'thm3.part1.delta_lambda_mu1e-3': 0.00033744910806832173,
    'thm3.part2.root0.angle': 0.9924785665542125,
    'thm3.part2.root0.cond_gp2_plus_gpgm': 38.39063648266779,
    'thm3.part2.root0.delta_lambda_mu1e-3': 4.250842906183827e-05,
    'thm3.part2.root1.angle': 2.914984482537034,
    'thm3.part2.root1.cond_gp2_plus_gpgm': 58.5172983905715,
    'thm3.part2.root1.delta_lambda_mu1e-3': 6.491647406048351e-05,
    'thm4.C': 1.1552028066079656,
    'thm4.bracket': 672.2924415656951,
    'thm4.dLdC_mu1e-3_oldC': -0.5819995237915057,
    'thm4.gm2': 43.53731653632726,
    'thm4.gp2': 153.80424853839182,
    'thm4.gmgp': -4.999864276754436,
}


def _whole(function, **options):
    """Compiled once for each shape, step by step it would be thirty programs; gives NumPy's."""
    compiled = jax.jit(function, **options)
    return lambda *args, **kwargs: jax.tree.map(np.asarray, compiled(*args, **kwargs))


balancing_eps = _whole(gamma_growth.balancing_eps, static_argnums=4)
growth = _whole(gamma_growth.growth, static_argnames=('non_skipped', 'sequential'))
growth_condition = _whole(gamma_growth.growth_condition, static_argnums=4)
hypotheses = _whole(gamma_growth.hypotheses, static_argnums=4)
scale_gradient = _whole(gamma_growth.scale_gradient)
stationary_scale = _whole(gamma_growth.stationary_scale)


def test_the_stationary_point_of_part_1_and_its_growth_equal_the_reference():
    A, B, w, _ = _setting()
    eps_p = float(balancing_eps(A, B, w, GAMMAS, NON_SKIPPED, 1.0))
    loss = gamma_growth.two_path_loss(A, B, GAMMAS, NON_SKIPPED, 1.0, eps_p)
    gradient = jax.jit(jax.grad(loss))(w)
    change = growth(A, B, w, GAMMAS, NON_SKIPPED, 1.0, eps_p, 0, 1e-3)
    measured = {
        'thm3.A_value': w @ A @ w,
        'thm3.B_value': _form(B, w),
        'thm3.part1.eps_p': eps_p,
        'thm3.part1.grad_norm2': gradient @ gradient,
    }
    for key, value in measured.items():
        np.testing.assert_allclose(value, REFERENCE[key], rtol=1e-9, err_msg=key)
    np.testing.assert_allclose(change, REFERENCE['thm3.part1.delta_lambda_mu1e-3'], rtol=1e-5)


@pytest.mark.parametrize('root', [0, 1])
def test_the_stationary_points_of_part_2_and_their_growth_equal_the_reference(root):
    A, B, w, direction = _setting()
    angles, points = gamma_growth.zero_points(B, w, direction)
    assert angles.shape == (2,)
    key = f'thm3.part2.root{root}.'
    at = (A, B, points[root], GAMMAS, NON_SKIPPED, 1.0, 1.0)
    np.testing.assert_allclose(angles[root], REFERENCE[key + 'angle'], rtol=1e-9)
    condition = growth_condition(*at)
    np.testing.assert_allclose(condition, REFERENCE[key + 'cond_gp2_plus_gpgm'], rtol=1e-9)
    change = growth(*at, 1, 1e-3)
    np.testing.assert_allclose(change, REFERENCE[key + 'delta_lambda_mu1e-3'], rtol=1e-5)


def test_the_stationary_scale_of_theorem_4_and_its_slope_equal_the_reference():
    A, B, w, _ = _setting()
    C = stationary_scale(A, B, w, 1.0, -1.0)
    slope, bracket = scale_gradient(A, B, C * w, 1.0, -1.0, 1e-3)
    shallow, deep = _slope(A, C * w), -_slope(B, C * w)
    measured = {
        'thm4.C': C,
        'thm4.bracket': bracket,
        'thm4.dLdC_mu1e-3_oldC': slope,
        'thm4.gm2': shallow @ shallow,
        'thm4.gp2': deep @ deep,
        'thm4.gmgp': shallow @ deep,
    }
    for key, value in measured.items():
        np.testing.assert_allclose(value, REFERENCE[key], rtol=1e-9, err_msg=key)


@pytest.mark.slow_but('1-2', '2-3')
@pytest.mark.parametrize(('m', 'p'), [(1, 2), (1, 4), (2, 3), (2, 5), (3, 4)])
def test_the_second_order_formulas_hold_for_any_two_path_lengths(m, p):
    A, B, w, gammas, layers, direction = _random_setting(m, p)
    skipped = next(layer for layer in range(p) if layer not in layers)
    shallow, deep = 0.7 * np.prod(np.take(gammas, layers)), np.prod(gammas)
    eps_p = float(-shallow * _form(A, w) / (deep * _form(B, w)))
    at = (A, B, w, gammas, layers, 0.7, eps_p)
    gradient = shallow * _slope(A, w) + eps_p * deep * _slope(B, w)
    predicted = {layers[0]: (at, gradient @ gradient / abs(gammas[layers[0]]))}
    _, points = gamma_growth.zero_points(B, w, direction)
    for point in points:
        at = (A, B, point, gammas, layers, 0.7, 1.3)
        condition = growth_condition(*at)
        predicted[skipped] = (at, condition / abs(gammas[skipped]))
    for layer, (at, rate) in predicted.items():
        errors = [growth(*at, layer, mu) / mu**2 - rate for mu in (1e-5, 1e-6)]
        assert abs(errors[0]) < 1e-2 * abs(rate)
        np.testing.assert_allclose(errors[1] / errors[0], 0.1, rtol=0.05)


@pytest.mark.slow_but('1-3')
@pytest.mark.parametrize(('m', 'p'), [(1, 3), (2, 3), (2, 5), (3, 4)])
def test_the_slope_of_the_scale_is_the_bracket_to_first_order_for_any_two_path_lengths(m, p):
    A, B, w, *_ = _random_setting(m, p)
    eps_p = float(-np.sign(_form(A, w) * _form(B, w)))
    w = stationary_scale(A, B, w, 0.7, eps_p) * w
    shallow, deep = m * 0.7 * _form(A, w), p * eps_p * _form(B, w)
    assert abs(shallow + deep) < 1e-14 * (abs(shallow) + abs(deep))
    errors = []
    for mu in (1e-5, 1e-6):
        slope, bracket = scale_gradient(A, B, w, 0.7, eps_p, mu)
        errors.append(slope * np.sqrt(w @ w / w.size) / mu + bracket)
    assert abs(errors[0]) < 1e-2 * abs(bracket)
    np.testing.assert_allclose(errors[1] / errors[0], 0.1, rtol=0.05)


def test_the_loss_is_the_sum_over_both_paths_of_gammas_and_forms():
    A, B, w, gammas, layers, _ = _random_setting(2, 3)
    loss = gamma_growth.two_path_loss(A, B, gammas, layers, 0.7, -1.3)
    kept = gammas[layers[0]] * gammas[layers[1]]
    expected = 0.7 * kept * np.einsum('ij,i,j', A, w, w)
    expected -= 1.3 * np.prod(gammas) * np.einsum('ijk,i,j,k', B, w, w, w)
    np.testing.assert_allclose(jax.jit(loss)(w), expected, rtol=1e-13)


def test_a_negative_gamma_grows_away_from_zero_as_a_positive_one_does():
    A, B, w, _ = _setting()
    flipped = (-1.1, 0.9, 1.2, 0.8)
    eps_p = float(balancing_eps(A, B, w, flipped, NON_SKIPPED, 1.0))
    assert growth(A, B, w, flipped, NON_SKIPPED, 1.0, eps_p, 0, 1e-3) > 0


def test_a_simultaneous_step_from_a_stationary_point_changes_nothing():
    A, B, w, direction = _setting()
    eps_p = float(balancing_eps(A, B, w, GAMMAS, NON_SKIPPED, 1.0))
    part_1 = (A, B, w, GAMMAS, NON_SKIPPED, 1.0, eps_p, 0, 1e-3)
    root = gamma_growth.zero_points(B, w, direction)[1][0]
    part_2 = (A, B, root, GAMMAS, NON_SKIPPED, 1.0, 1.0, 1, 1e-3)
    for step in (part_1, part_2):
        assert growth(*step) > 1e-5
        assert abs(growth(*step, sequential=False)) < 1e-15


def test_away_from_stationarity_a_gamma_can_shrink():
    A, B, w, _ = _setting()
    at = (A, B, w, GAMMAS, NON_SKIPPED, 1.0, 1.0)
    assert hypotheses(*at).loss > 0.5
    assert growth(*at, 0, 1e-3) < 0


def test_the_step_limit_is_where_growth_turns_into_shrinkage_when_the_loss_is_quadratic():
    A, B, w, gammas, layers, _ = _random_setting(1, 2)
    kept = layers[0]
    eps = {sign: balancing_eps(A, B, w, gammas, layers, sign) for sign in (1.0, -1.0)}
    turned = 0
    for sign, eps_p in eps.items():
        at = (A, B, w, gammas, layers, sign, eps_p)
        limit = hypotheses(*at).step_limits[0]
        assert growth(*at, kept, 0.999 * limit) > 0
        turned += growth(*at, kept, 1.001 * limit) < 0
    assert turned == 1, 'one sign of the loss curves against the step, the other with it'


def test_the_residuals_vanish_exactly_where_each_theorem_applies():
    A, B, w, direction = _setting()
    eps_p = float(balancing_eps(A, B, w, GAMMAS, NON_SKIPPED, 1.0))
    first = hypotheses(A, B, w, GAMMAS, NON_SKIPPED, 1.0, eps_p)
    root = gamma_growth.zero_points(B, w, direction)[1][0]
    second = hypotheses(A, B, root, GAMMAS, NON_SKIPPED, 1.0, 1.0)
    assert first.loss < 1e-14 < first.deep_loss and first.scale_slope > 0.1
    assert second.deep_loss < 1e-14 < second.loss
    assert second.smallest_gamma == 0.8 and second.gradient_norm > 1


def test_the_step_limits_are_those_of_the_hessian():
    A, B, w, _ = _setting()
    loss = gamma_growth.two_path_loss(A, B, GAMMAS, NON_SKIPPED, 1.0, 0.5)
    g, hessian = jax.jit(lambda w: (jax.grad(loss)(w), jax.hessian(loss)(w)))(w)
    limits = hypotheses(A, B, w, GAMMAS, NON_SKIPPED, 1.0, 0.5).step_limits
    np.testing.assert_allclose(limits[0], 2 * (g @ g) / abs(g @ hessian @ g), rtol=1e-12)


def test_the_counterexample_has_bracket_minus_17_ninths_and_its_scale_shrinks():
    A, B, w = gamma_growth.shrinking_scale_example()
    held = hypotheses(A, B, w, (1.0,) * 4, (0, 1), 1.0, 1.0)
    assert held.scale_slope < 1e-15 and held.gradient_norm > 0.1
    for mu in (1e-2, 1e-3, 1e-4):
        slope, bracket = scale_gradient(A, B, w, 1.0, 1.0, mu)
        np.testing.assert_allclose(bracket, -17 / 9, rtol=1e-14)
        assert slope > 0, 'descent lowers C'


def test_the_bracket_of_the_counterexample_is_minus_17_ninths_in_exact_fractions():
    x, d = [Fraction(1), Fraction(1), Fraction(1, 2)], [Fraction(2), Fraction(1), Fraction(-1)]
    R = sum(xi**2 for xi in x)
    a = sum(di * xi**2 for di, xi in zip(d, x, strict=True))
    g_m = [2 * di * xi for di, xi in zip(d, x, strict=True)]
    # L_p = -(3/(4R)) (x.Ax)|x|^2 + (a/(4R^2)) |x|^4, differentiated by the product rule.
    g_p = [
        -Fraction(3, 4) / R * (2 * di * xi * R + a * 2 * xi) + a / (4 * R**2) * 4 * R * xi
        for di, xi in zip(d, x, strict=True)
    ]
    bracket = sum((gm + gp) * (2 * gm + 4 * gp) for gm, gp in zip(g_m, g_p, strict=True))
    assert bracket == Fraction(-17, 9)
    _, B, w = map(np.asarray, gamma_growth.shrinking_scale_example())
    deep = _slope(B, w)
    np.testing.assert_allclose(deep, [float(value) for value in g_p], rtol=1e-14)


def test_independent_random_forms_almost_never_make_the_scale_shrink():
    rng = np.random.default_rng(0)
    A_S, B_S, w_S = (rng.normal(size=(300, *(12,) * r)) for r in (2, 4, 1))

    @jax.jit
    @jax.vmap
    def bracket(A, B, w):
        A, B = A / 12**0.5, B / 12**1.5
        eps_p = jnp.where(_form(A, w) * _form(B, w) > 0, -1.0, 1.0)
        w = w * gamma_growth.stationary_scale(A, B, w, 1.0, eps_p)
        return gamma_growth.scale_gradient(A, B, w, 1.0, eps_p, 1e-3)[1]

    assert np.mean(np.asarray(bracket(A_S, B_S, w_S)) > 0) > 0.99


def test_growth_is_differentiable_vmappable_and_keeps_float32():
    A, B, w, _ = _setting()
    eps_p, layers = REFERENCE['thm3.part1.eps_p'], np.array([0, 0, 1, 2, 3])
    single = [x.astype(np.float32) for x in (A, B, w)]
    mus = np.array([1e-3, 2e-3, 1e-3, 1e-3, 1e-3], np.float32)

    def change(mu, layer):
        return gamma_growth.growth(*single, GAMMAS, NON_SKIPPED, 1.0, eps_p, layer, mu)

    changes, slopes = jax.jit(jax.vmap(jax.value_and_grad(change)))(mus, layers)
    assert changes.dtype == jnp.float32
    np.testing.assert_allclose(changes[0], REFERENCE['thm3.part1.delta_lambda_mu1e-3'], rtol=1e-2)
    assert slopes[0] > 0
    at = zip(layers.tolist(), mus.tolist(), strict=True)
    double = [growth(A, B, w, GAMMAS, NON_SKIPPED, 1.0, eps_p, layer, mu) for layer, mu in at]
    np.testing.assert_allclose(changes, double, rtol=1e-2)


def test_settings_that_cannot_be_are_refused():
    A, B, w, _ = _setting()
    with pytest.raises(ValueError, match='1 <= m < p'):
        gamma_growth.two_path_loss(B, A, GAMMAS, NON_SKIPPED, 1.0, 1.0)
    with pytest.raises(ValueError, match='1 <= m < p'):
        gamma_growth.two_path_loss(A, B[:3], GAMMAS, NON_SKIPPED, 1.0, 1.0)
    with pytest.raises(ValueError, match=r'shape \(4,\)'):
        gamma_growth.two_path_loss(A, B, GAMMAS[:3], NON_SKIPPED, 1.0, 1.0)
    with pytest.raises(ValueError, match=r'0\.\.3'):
        gamma_growth.two_path_loss(A, B, GAMMAS, (0, 4), 1.0, 1.0)
    with pytest.raises(ValueError, match=r'0\.\.3'):
        gamma_growth.two_path_loss(A, B, GAMMAS, (0, 0), 1.0, 1.0)
    with pytest.raises(ValueError, match='layer is 4'):
        gamma_growth.growth(A, B, w, GAMMAS, NON_SKIPPED, 1.0, 1.0, 4, 1e-3)
    with pytest.raises(ValueError, match='mu is -1'):
        gamma_growth.scale_gradient(A, B, w, 1.0, 1.0, -1)


def _tensor(shape, shift):
    flat = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    return np.sqrt(2) * np.sin((flat + 1) ** 2 + shift)


def _setting():
    """Lambda = 12, m = 2, p = 4, |w|^2 = 12, and the direction in which to look for B = 0."""
    w = _tensor((12,), 0.5)
    w *= np.sqrt(12) / np.linalg.norm(w)
    A, B = _tensor((12, 12), 0) / 12**0.5, _tensor((12,) * 4, 0.25) / 12**1.5
    return A, B, w, _tensor((12,), 1.5)


def _random_setting(m, p, size=5):
    rng = np.random.default_rng([m, p])
    A, B = rng.normal(size=(size,) * m), rng.normal(size=(size,) * p)
    w, direction = rng.normal(size=(2, size))
    gammas = tuple(rng.uniform(0.5, 1.5, p) * rng.choice([-1, 1], p))
    layers = tuple(rng.permutation(p)[:m].tolist())
    return A, B, w, gammas, layers, direction


def _slope(tensor, w):
    """The gradient of the form: one slot after the other left open."""
    slots = range(tensor.ndim)
    return sum(_form(np.moveaxis(tensor, slot, 0), w, tensor.ndim - 1) for slot in slots)


def _form(tensor, w, slots=None):
    for _ in range(tensor.ndim if slots is None else slots):
        tensor = tensor @ w
    return tensor
