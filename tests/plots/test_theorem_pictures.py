"""Pictures of the theorems: the numbers of their records, and nothing on anything."""

from types import SimpleNamespace

import numpy as np
from drawn import assert_apart, footnote, line, panel, words

from resnet_dyn.plots import theorems

MIXTURES = np.array(['pure 2', 'pure 3', 'shallow', 'deep'])


def counts():
    exact_MN = np.outer([1, 2, 4, 8], [4.0, 6.0, 9.0])
    index_MNK = np.repeat(exact_MN[..., None] / 4, 4, -1)
    index_MNK[0] = 2
    error_MNK = np.full(index_MNK.shape, 0.5)
    error_MNK[0] = 0
    return SimpleNamespace(
        mixtures_M=MIXTURES,
        sizes_N=np.array([2, 3, 4]),
        samples_N=np.array([40, 20, 10]),
        incomplete_MN=np.eye(4, 3, dtype=int),
        mean_MN=exact_MN + 0.3,
        error_MN=np.full((4, 3), 0.2),
        exact_MN=exact_MN,
        index_mean_MNK=index_MNK + error_MNK,
        index_error_MNK=error_MNK,
        index_exact_MNK=index_MNK,
        seed=np.array(0),
    )


def test_counts_are_drawn_with_their_errors_beside_exact_means():
    record = counts()
    fig = theorems.draw_counts(record)
    totals = panel(fig, 'Critical points')
    for mixture, name in enumerate(MIXTURES):
        points = totals.containers[mixture]
        assert points.get_label() == name
        np.testing.assert_allclose(points.lines[0].get_ydata(), record.mean_MN[mixture])
        ends = [np.diff(bar[:, 1]) for bar in points.lines[2][0].get_segments()]
        np.testing.assert_allclose(ends, 0.4)
    assert words(totals) == list(MIXTURES)
    z = np.concatenate([line.get_ydata() for line in panel(fig, 'Deviations').lines[:12]])
    np.testing.assert_allclose(z, np.ones(3 * 3 * 4))  # of the three mixtures that vary
    assert 'met only once: 277 of 280' in footnote(fig)
    assert 'Lines: Kac–Rice, exact; points: search, ±1 standard error.' in footnote(fig)
    assert_apart(fig)


def test_finite_sizes_are_drawn_against_their_limit():
    sizes_N, theta_M, slope_M = np.array([5, 20, 80]), np.array([0.3, 0.5]), np.array([1.0, 2.0])
    record = SimpleNamespace(
        mixtures_M=MIXTURES[1:3],
        sizes_N=sizes_N,
        rates_MN=theta_M[:, None] + slope_M[:, None] / np.sqrt(sizes_N) + 0.1 / sizes_N,
        theta_M=theta_M,
        correction_M=slope_M,
    )
    fig = theorems.draw_finite_sizes(record)
    x_N, rate_N = line(panel(fig, 'Exponent'), 'pure 3')
    np.testing.assert_allclose(x_N, 1 / np.sqrt(sizes_N))
    np.testing.assert_allclose(rate_N, record.rates_MN[0])
    distance = panel(fig, 'Distance')
    assert distance.get_xscale() == distance.get_yscale() == 'log'
    np.testing.assert_allclose(distance.lines[1].get_ydata(), 0.1 / sizes_N)
    assert words(distance) == ['to θ₀', 'to the dashed line (absolute)']
    assert_apart(fig)


def test_descents_are_drawn_with_the_standard_errors_of_their_ends():
    rng = np.random.default_rng(0)
    energies_NPST = -1 - 0.3 * rng.uniform(size=(2, 3, 5, 8))
    record = SimpleNamespace(
        p=np.array(3),
        protocols_P=np.array(['C held, shallow', 'C free', 'C held, deep']),
        sizes_N=np.array([16, 48]),
        steps_T=np.arange(0, 800, 100),
        betas_NPST=np.ones((2, 3, 5, 8)),
        energies_NPST=energies_NPST,
        thresholds_NPST=np.full((2, 3, 5, 8), 1.4),
        mean_lengths_NPST=2 + rng.uniform(size=(2, 3, 5, 8)),
        edges_N=np.array([0.2, 0.1]),
        seed=np.array(0),
    )
    fig = theorems.draw_descents(record)
    gap = panel(fig, 'At the end')
    ends_NS = energies_NPST[:, 1, :, -1] + 1.4
    points = gap.containers[1]
    np.testing.assert_allclose(points.lines[0].get_ydata(), ends_NS.mean(1))
    ends = [np.diff(bar[:, 1]).item() / 2 for bar in points.lines[2][0].get_segments()]
    np.testing.assert_allclose(ends, ends_NS.std(1, ddof=1) / np.sqrt(5))
    assert gap.get_ylim()[0] <= ends_NS.mean(1).min()
    _, depth_T = line(panel(fig, 'Depth of the mixture'), 'C free')
    np.testing.assert_allclose(depth_T, record.mean_lengths_NPST[-1, 1].mean(0))
    assert words(panel(fig, 'Energy'))[-1] == '−E$_{th}$ of the mixture then'
    assert_apart(fig)
