"""Pictures of an analysis: files as promised, the same bytes again, one seed or many."""

import io
import math

import numpy as np
import pytest
from matplotlib import colors

from resnet_dyn.analysis import kinds
from resnet_dyn.plots import (
    depth,
    gammas,
    influence,
    interactions,
    lesions,
    orders,
    paths,
    style,
)

L, J, N = 9, 10, 5
SHAPES = {  # of fields whose N counts norms or orders, without their axis of networks
    'mean_SLN': (L, 2),
    'spread_SLN': (L, 2),
    'loss_SJN': (4, N),
    'error_SJN': (4, N),
}
AXES = {'L': L, 'R': L + 1, 'J': J, 'N': L + 1}
FIXED = {
    'norms_N': np.array(['norm_0', 'norm_1']),
    'deleted_J': np.arange(J),
    'swaps_J': np.array([1, 2, 4, 8]),
    'kendall_JN': np.linspace(1 / 3, -0.2, 4 * N).reshape(4, N),
    'paths_R': np.array([math.comb(L, k) for k in range(L + 1)], float),
    'probes': np.array(8),
}
PICTURES = {
    'gammas': gammas.profiles,
    'depth': depth.law,
    'singles': lesions.singles,
    'pairs': lesions.pairs,
    'random': lesions.random,
    'greedy': lesions.greedy,
    'reorder': orders.reorder,
    'paths': paths.spectrum,
    'interactions': interactions.spectra,
    'influence': influence.influences,
}


def numbers(shape, step):
    return np.random.default_rng(step).uniform(0.1, 1.0, shape)


def field(name, seeds, step):
    """Made-up numbers of the shape that the name of a field gives."""
    if name == 'step':
        return np.array(step)
    if name == 'deleted_SL':
        return np.stack([np.random.default_rng(s).permutation(L) for s in range(seeds)])
    if name in FIXED:
        return FIXED[name]
    if name.startswith('stem'):
        return np.full(seeds, np.nan)
    axes = name.rpartition('_')[2].removeprefix('S')
    return numbers((seeds, *SHAPES.get(name, [AXES[axis] for axis in axes])), step)


def made_up(name, seeds, steps):
    kind = kinds.KINDS[name].record
    return [kind(*(field(name, seeds, step) for name in kind._fields)) for step in steps]


@pytest.mark.parametrize('name', PICTURES)
@pytest.mark.parametrize('seeds, steps', [(3, (0, 50, 100)), (1, (7,))])
def test_every_measure_has_a_picture_of_many_networks_and_steps_or_one(name, seeds, steps):
    with style.context():
        fig = PICTURES[name](made_up(name, seeds, steps), 'Heading', 'Data: 50 Gaussians.')
        fig.savefig(file := io.BytesIO(), dpi=30)
    assert file.getvalue().startswith(b'\x89PNG')


def test_a_picture_is_saved_as_png_and_pdf(tmp_path):
    with style.context():
        fig = depth.law(made_up('depth', 2, (0, 50)), 'Heading', 'Note.')
        png, pdf = style.save(fig, tmp_path / 'pictures' / 'depth')
    assert (png.name, pdf.name) == ('depth.png', 'depth.pdf')
    assert png.read_bytes().startswith(b'\x89PNG')
    assert pdf.read_bytes().startswith(b'%PDF')


def test_a_random_curve_of_one_draw_has_no_standard_error_and_is_drawn():
    (record,) = made_up('random', 1, (7,))
    nothing = np.full_like(record.error_se_SJ, np.nan)
    record = record._replace(error_se_SJ=nothing, loss_se_SJ=nothing)
    lesions.random([record], 'Heading', 'Note.').savefig(io.BytesIO(), dpi=30)


def test_bins_of_tau_have_the_means_of_their_orders_and_never_part_equal_ones():
    x_JN = np.repeat(np.linspace(0, 1, 20), 3).reshape(2, 30)
    centres, mean_SX = orders.binned_means(x_JN, np.stack([x_JN, 2 * x_JN]))
    assert 4 <= len(centres) <= orders.BINS
    np.testing.assert_allclose(mean_SX, [centres, 2 * centres])
    two, _ = orders.binned_means(np.array([[1.0, 1.0, 0.5, 0.5, 0.5]]), np.ones((1, 1, 5)))
    assert set(two) <= {0.5, 1.0} or len(two) == 1


def test_shares_by_length_add_up_to_one():
    np.testing.assert_allclose(paths.shares(np.array([[1.0, 3.0], [2.0, 2.0]])).sum(-1), [1, 1])


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    written = []
    for folder in ('first', 'again'):
        with style.context():
            fig = lesions.singles(made_up('singles', 3, (0, 50)), 'Heading', 'Note.')
            written.append(style.save(fig, tmp_path / folder / 'singles'))
    for first, again in zip(*written, strict=True):
        assert first.read_bytes() == again.read_bytes()


def test_later_steps_are_darker():
    shades_T3 = style.time_colours((0, 10, 20, 30))[0][:, :3]
    brightness_T = shades_T3 @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(brightness_T) < 0).all()
    assert brightness_T[0] < 0.9  # and the earliest can still be seen on white


def test_the_colours_of_curves_differ_in_brightness_too():
    marks = [style.BLUE, style.ORANGE, style.VERMILION, style.GREEN]
    brightness = [np.dot(colors.to_rgb(mark), (0.2126, 0.7152, 0.0722)) for mark in marks]
    assert abs(brightness[0] - brightness[1]) > 0.2


def test_the_spread_over_seeds_is_the_sample_standard_deviation():
    mean, std = style.over_seeds(np.array([[1.0, 2.0], [3.0, 2.0]]))
    np.testing.assert_allclose(mean, [2, 2])
    np.testing.assert_allclose(std, [np.sqrt(2), 0])
    np.testing.assert_allclose(style.over_seeds(np.array([[4.0]]))[1], [0])


def test_nothing_of_the_style_stays_behind():
    import matplotlib

    before = dict(matplotlib.rcParams)
    with style.context():
        assert matplotlib.rcParams['axes.titleweight'] == 'bold'
    assert dict(matplotlib.rcParams) == before
