"""Which path lengths dominate: Lemmas 2 and 4, Theorems 1 and 2, and how the scale C moves them.

Brute force is exact: argmaxes are taken over integers C(p-1, r-1) a^r b^(p-r) for beta = a / b.
"""

import math
from collections.abc import Iterator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np

from experiments.theorems.table import CORRECTED, STATED, Row
from resnet_dyn.theory import effective_depth, path_weights


def rows(fast: bool = False) -> Iterator[Row]:
    """All rows of this subject; float64 is the caller's to switch on."""
    largest = 20 if fast else 50
    yield from lemma_2(20_000 if fast else 200_000)
    yield lemma_4(largest)
    yield from theorem_1(largest)
    yield from theorem_2()
    yield from slopes_in_scale()
    yield wide_networks()
    yield figure_1_weights()
    yield unequal_gains(100 if fast else 500)


def lemma_2(draws: int, inputs: int = 8) -> Iterator[Row]:
    """The root mean square of the sum of all paths of one length, over their number."""
    rng = np.random.default_rng(0)
    measured, exact = {}, {}
    for correlation in (0.0, 0.5, 1.0, -0.13):
        covariance = np.full((inputs, inputs), correlation) + (1 - correlation) * np.eye(inputs)
        x = rng.multivariate_normal(np.zeros(inputs), covariance, draws)
        measured[correlation] = math.sqrt(np.mean(x.mean(1) ** 2))
        exact[correlation] = math.sqrt((1 + (inputs - 1) * correlation) / inputs)
    low = 1 / math.sqrt(inputs)
    slack = 4 / math.sqrt(2 * draws)
    agree = all(abs(measured[c] / exact[c] - 1) < slack for c in exact)
    between = {c: low * (1 - slack) <= value <= 1 + slack for c, value in measured.items()}
    setting = f'd = {inputs} inputs, {draws:,} draws, correlations '
    statement = (
        'the rms of the sum of all paths of one length, over their number, lies in [1/sqrt(d), 1]'
    )
    yield Row(
        'Lemma 2',
        STATED,
        f'{statement}, whatever the inputs',
        f'{setting}0, 0.5, 1 and -0.13',
        f'all in [{low:.4f}, 1]',
        ', '.join(f'{value:.4f}' for value in measured.values()),
        agree and all(between.values()),
    )
    yield Row(
        'Lemma 2',
        CORRECTED,
        f'{statement}, if inputs are not negatively correlated',
        f'{setting}0, 0.5 and 1',
        ', '.join(f'{exact[c]:.4f}' for c in exact if c >= 0),
        ', '.join(f'{measured[c]:.4f}' for c in exact if c >= 0),
        agree and all(between[c] for c in exact if c >= 0),
    )


def lemma_4(largest: int) -> Row:
    """Every length dominates at the scale that `scale_for_depth` names."""
    hits = total = 0
    for p in range(1, largest + 1):
        for k in range(1, p + 1):
            scale = effective_depth.scale_for_depth(k, p, Lambda=1000, n=30, rho=0.5)
            beta = effective_depth.beta_of_scale(scale, 1000, 30, 0.5)
            exact = Fraction(2 * k - 1, 2 * (p - k) + 1)
            hits += _argmax(exact, p) == (k,) and abs(beta / float(exact) - 1) < 1e-12
            total += 1
    return Row(
        'Lemma 4',
        STATED,
        'for every k there is a C > 0 with argmax eps_r = k',
        f'all k <= p <= {largest}; C from beta_k = (k - 1/2)/(p - k + 1/2), exact integers',
        f'{total} of {total}',
        f'{hits} of {total}',
        hits == total,
    )


def theorem_1(largest: int) -> Iterator[Row]:
    """Where X = beta p/(1 + beta) is an integer the argmax is tied; it is within 1/p always."""
    sets = [_argmax(Fraction(X, p - X), p) for p in range(2, largest + 1) for X in range(1, p)]
    crossings = [X for p in range(2, largest + 1) for X in range(1, p)]
    unique = sum(found == (X,) for found, X in zip(sets, crossings, strict=True))
    tied = sum(found == (X, X + 1) for found, X in zip(sets, crossings, strict=True))
    yield Row(
        'Theorem 1',
        STATED,
        'if X = beta p/(1 + beta) is an integer, eps_r is largest at r = X, alone',
        f'all integers X < p, p <= {largest}, exact integers',
        f'{len(sets)} of {len(sets)}',
        f'{unique} of {len(sets)}; tie of X and X + 1 in {tied}',
        unique == len(sets),
    )
    rng = np.random.default_rng(1)
    gaps = []
    for a, b, p in rng.integers(1, [1000, 1000, largest], size=(2000, 3)).tolist():
        q = Fraction(a, a + b)
        gaps += [abs(Fraction(r, p) - q) * p for r in _argmax(Fraction(a, b), p)]
    yield Row(
        'Theorem 1',
        CORRECTED,
        '|argmax/p - beta/(1 + beta)| <= 1/p for every beta and p',
        f'2,000 random fractions beta, p < {largest}, exact integers',
        'largest gap times p <= 1',
        f'{float(max(gaps)):.4f}',
        max(gaps) <= 1,
    )
    depths = (10, 1000, 100_000)
    shares = [path_weights.argmax_set(0.5, p)[0] / p for p in depths]
    yield Row(
        'Theorem 1, corollary',
        CORRECTED,
        'for beta < 1, lim argmax/p < 1/2 (the paper leaves out 1/p)',
        f'beta = 0.5, p = {", ".join(map(str, depths))}',
        f'-> {1 / 3:.5f}',
        ', '.join(f'{share:.5f}' for share in shares),
        all(share < 0.5 for share in shares) and abs(shares[-1] - 1 / 3) <= 1 / depths[-1],
    )


def theorem_2() -> Iterator[Row]:
    """Concentration: the mass off a band, its exponential rate, and the first two moments."""
    beta, half_width, depths = 0.5, 0.05, (100, 1000, 10_000)
    q = beta / (1 + beta)
    outside, bounds = [], []
    for p in depths:
        log_weights = path_weights.log_path_weights(beta, p)
        below, above = (math.ceil((q - half_width) * p), math.floor((q + half_width) * p))
        outside.append(1 - float(path_weights.band_mass(log_weights, below, above)))
        edges = ((below - 2) / (p - 1), above / (p - 1))  # the tails' r - 1 over N
        tails = [effective_depth.log_tail_bounds(alpha, beta, p).sharp for alpha in edges]
        bounds.append(sum(math.exp(tail) for tail in tails))
    yield Row(
        'Theorem 2',
        STATED,
        'the mass of eps^2 outside (q +- 0.05) p vanishes as p grows',
        f'beta = {beta}, p = {", ".join(f"{p:,}" for p in depths)}',
        f'below {", ".join(f"{bound:.2g}" for bound in bounds)}',
        ', '.join(f'{max(mass, 0):.2g}' for mass in outside),
        outside[-1] < 1e-6
        and all(mass <= bound + 1e-12 for mass, bound in zip(outside, bounds, strict=True)),
    )
    alpha, rates = 0.5, []
    for p in depths:
        log_weights = path_weights.log_path_weights(beta, p)
        rates.append(2 * float(log_weights[int(alpha * p) - 1]) / p)
    limit = -2 * float(effective_depth.relative_entropy(alpha, q))
    yield Row(
        'Theorem 2',
        CORRECTED,
        '(1/p) log eps_{alpha p}^2 -> -2 D(alpha || q), at every p up to O(log p / p)',
        f'beta = {beta}, alpha = {alpha}, p as above',
        f'-> {limit:.5f}',
        ', '.join(f'{rate:.5f}' for rate in rates),
        all(abs(rate - limit) < math.log(p) / p for rate, p in zip(rates, depths, strict=True)),
    )
    errors = []
    for p in depths:
        exact = path_weights.depth_moments(path_weights.log_path_weights(beta, p))
        expansion = effective_depth.asymptotic_moments(beta, p)
        errors.append([p * abs(float(x) - y) for x, y in zip(exact, expansion, strict=True)])
    largest = np.max(errors)
    yield Row(
        'Theorem 2',
        CORRECTED,
        'E[r] = p q + 3/4 - q/2 and Var[r] = q (1 - q)(2 p - 1)/4, up to O(1/p)',
        f'beta = {beta}, p as above',
        'p times the error stays bounded',
        f'at most {largest:.3f}',
        largest < 1 and np.ptp(np.array(errors), axis=0).max() < 0.1,
    )


def slopes_in_scale(beta: float = 0.5, p: int = 20) -> Iterator[Row]:
    """Derivatives in log C by automatic differentiation; z depends on C too."""
    log_weights = path_weights.log_path_weights(beta, p)

    def law(t):
        return path_weights.log_path_weights(jnp.exp(t), p)

    slopes = jax.jit(jax.jacfwd(law))(math.log(beta))
    r = np.arange(1, p + 1)
    corrected = effective_depth.log_weight_slopes(log_weights)
    setting = f'p = {p}, beta = {beta}, r = 1 and {p}'

    def ends(values):
        return f'{float(values[0]):.4f}, {float(values[-1]):.4f}'

    for source, formula, predicted in (
        (STATED, 'd eps_r/dC = r eps_r/C', r),
        (CORRECTED, 'd eps_r/dC = (r - E[r]) eps_r/C', corrected),
    ):
        yield Row(
            'Derivative of eps_r',
            source,
            f'{formula}: d log eps_r/d log C',
            setting,
            ends(predicted),
            ends(slopes),
            bool(np.allclose(slopes, predicted, rtol=1e-9)),
        )
    slope = jax.jit(jax.grad(lambda t: path_weights.depth_moments(law(t))[0]))(math.log(beta))
    predicted = effective_depth.mean_depth_slope(log_weights)
    yield Row(
        'Eq 19',
        CORRECTED,
        'dE[r]/d log C = 2 Var[r] > 0: a larger scale means a deeper ensemble',
        f'p = {p}, beta = {beta}',
        f'{float(predicted):.9f}',
        f'{float(slope):.9f}',
        bool(np.isclose(slope, predicted, rtol=1e-9) and slope > 0),
    )


def wide_networks() -> Row:
    """beta of a net with C = 1/sqrt(n) and Lambda = n is rho, however wide."""
    widths = (10, 1000, 100_000)
    betas = [effective_depth.beta_of_scale(n**-0.5, n, n, 0.5) for n in widths]
    return Row(
        'After eq 16',
        STATED,
        'wide networks have a large beta',
        f'C = 1/sqrt(n), Lambda = n, rho = 0.5, n = {", ".join(map(str, widths))}',
        'beta grows with n',
        f'beta = {", ".join(f"{beta:.4f}" for beta in betas)}',
        betas[-1] > 1.01 * betas[0],
    )


def figure_1_weights() -> Row:
    """eps_r are amplitudes: their squares sum to 1, they do not."""
    sums = []
    for beta in (0.1, 0.5, 2.0):
        weights = np.exp(path_weights.log_path_weights(beta, 100))
        sums.append((weights.sum(), (weights**2).sum()))
    return Row(
        'Fig 1(a-c)',
        STATED,
        'the eps_r shown are a histogram: they sum to 1',
        'p = 100, beta = 0.1, 0.5, 2',
        'sum of eps_r = 1',
        f'{", ".join(f"{a:.3f}" for a, _ in sums)}; sum of eps_r^2 = '
        f'{", ".join(f"{b:.6f}" for _, b in sums)}',
        all(abs(a - 1) < 1e-6 for a, _ in sums),
    )


def unequal_gains(draws: int, p: int = 30) -> Row:
    """Darroch: the argmax of e_k(b) is within 1 of sum b/(1 + b)."""
    rng = np.random.default_rng(2)
    gains_SL = np.exp(rng.normal(size=(draws, p - 1)) * rng.uniform(0.1, 3, (draws, 1)))
    log_weights_SR = jax.vmap(path_weights.log_path_weights_from_gains)(jnp.asarray(gains_SL))
    modes_S = np.argmax(log_weights_SR, axis=1)
    gaps_S = np.abs(modes_S - (gains_SL / (1 + gains_SL)).sum(1))
    return Row(
        'Theorem 1, unequal gains',
        CORRECTED,
        'the argmax of e_k(b) differs from sum_l b_l/(1 + b_l) by less than 1',
        f'{draws} sets of {p - 1} log-normal gains',
        'largest gap < 1',
        f'{gaps_S.max():.4f}',
        gaps_S.max() < 1,
    )


def _argmax(beta: Fraction, p: int) -> tuple[int, ...]:
    """The argmax set of C(p-1, r-1) beta^r over r = 1..p, in integers."""
    a, b = beta.numerator, beta.denominator
    weights = [math.comb(p - 1, r - 1) * a**r * b ** (p - r) for r in range(1, p + 1)]
    return tuple(r for r, weight in enumerate(weights, start=1) if weight == max(weights))
