"""What is drawn of the records of measures: values, bars, limits, words; nothing on anything."""

import re
from types import SimpleNamespace

import drawn
import numpy as np
import pytest
from drawn import band, curves, finite, footnote, line, panel, words
from made_up import PICTURES, of_zero_branches, records, with_a_lost_network

from resnet_dyn.plots import lesions, orders

NOTE = 'Data: 50 Gaussians; 1,000 test examples; mean ± standard deviation over networks.'


def draw(name, made=None, **sizes):
    return PICTURES[name](made or records(name, **sizes), 'A heading over training', NOTE)


def stacked(made, field):
    return np.stack([getattr(record, field) for record in made]).astype(float)


def test_a_line_a_step_is_the_mean_over_networks_and_the_bold_one_is_named():
    made = records('depth')
    axes = panel(draw('depth', made), 'Depth law')
    law_TSR = stacked(made, 'incoherent_SR')
    assert words(axes) == ['step 100']
    np.testing.assert_allclose(curves(axes), law_TSR.mean(1))
    assert [line.get_linewidth() for line in axes.lines] == [1.2, 1.2, 2.0]
    np.testing.assert_array_equal(line(axes, 'step 100')[0], np.arange(1, 11))
    mean_R, std_R = law_TSR[-1].mean(0), law_TSR[-1].std(0, ddof=1)
    high_R = np.minimum(mean_R + std_R, 1)  # of a share
    np.testing.assert_allclose(band(axes), [mean_R - std_R, high_R])


@pytest.mark.parametrize(
    ('name', 'field', 'title'),
    [
        ('depth', 'incoherent_SR', 'Depth law'),
        ('paths', 'root_energy_SR', 'Share of the energy'),
        ('interactions', 'walsh_SR', 'Variance over all'),
    ],
)
def test_bands_of_shares_end_where_shares_do(name, field, title):
    made = records(name, S=3)
    for record in made:
        shares_SR = getattr(record, field)
        shares_SR[...] = 1e-12
        shares_SR[0, 1] = shares_SR[1, 1] = shares_SR[2, 2] = 1.0
    low_R, high_R = band(panel(draw(name, made), title))
    assert low_R.min() >= 0 and high_R.max() == 1.0  # where mean + std is 1.24


def test_the_depth_law_is_drawn_up_to_the_longest_path_its_note_names():
    made = records('depth')
    for record in made:
        record.incoherent_SR[:, 4:] = 1e-9
    low, high = panel(draw('depth', made), 'Depth law').get_xlim()
    assert low < 1 and high > 10


def test_mean_lengths_are_drawn_on_an_axis_of_all_lengths():
    made = records('depth')
    axes = panel(draw('depth', made), 'Mean length')
    for name in ('incoherent', 'coherent'):
        x_T, mean_T = line(axes, name)
        np.testing.assert_array_equal(x_T, [0, 50, 100])
        np.testing.assert_allclose(mean_T, stacked(made, f'{name}_mean_S').mean(1))
    assert line(axes, 'half depth')[1] == [5.5, 5.5]
    assert axes.get_ylim()[0] < 1 and 10 < axes.get_ylim()[1] < 11
    low, high = panel(draw('paths'), 'Mean length').get_ylim()
    assert low < 0 and 9 < high < 10  # k = 0..9, not three quarters of that


def test_gains_are_powers_on_a_logarithmic_axis():
    made = records('depth')
    axes = panel(draw('depth', made), 'Power gain')
    assert axes.get_yscale() == 'log'
    np.testing.assert_allclose(curves(axes), (stacked(made, 'gains_SL') ** 2).mean(1))


def test_gammas_over_time_are_means_over_blocks_that_have_the_norm():
    made = records('gammas')
    for record in made:
        record.mean_SLN[:, 4, 1] = np.nan
        record.stem_mean_S[:] = 2.0
    axes = panel(draw('gammas', made), 'Over training')
    assert words(axes) == ['blocks, norm_0', 'blocks, norm_1', 'stem']
    mean_TSN = np.nanmean(stacked(made, 'mean_SLN'), 2)
    np.testing.assert_allclose(line(axes, 'blocks, norm_1')[1], mean_TSN[..., 1].mean(1))
    np.testing.assert_array_equal(line(axes, 'stem')[1], [2, 2, 2])


def test_single_lesions_show_the_error_they_add_the_guess_and_the_errors_over_training():
    made = records('singles')
    fig = draw('singles', made)
    full_TS, error_TSL = 100 * stacked(made, 'full_error_S'), 100 * stacked(made, 'error_SL')
    np.testing.assert_allclose(
        curves(panel(fig, 'Error added'))[:3], (error_TSL - full_TS[..., None]).mean(1)
    )
    guess = panel(fig, 'Loss added, step 100')
    last = made[-1]
    added_L = (last.loss_SL - last.full_loss_S[:, None]).mean(0)
    np.testing.assert_allclose(line(guess, 'block deleted')[1], added_L, atol=1e-6)
    np.testing.assert_allclose(
        line(guess, 'first order, −∂loss/∂gate')[1], last.first_order_SL.mean(0), atol=1e-6
    )
    errors = panel(fig, 'Over training')
    for label, error_TS in (
        ('the most important block deleted', error_TSL.max(-1)),
        ('one block deleted, mean over blocks', error_TSL.mean(-1)),
        ('full net', full_TS),
    ):
        np.testing.assert_allclose(line(errors, label)[1], error_TS.mean(1))
    assert errors.get_ylim()[0] == 0 and errors.get_ylim()[1] <= 100


def test_pairs_show_what_two_blocks_add_and_what_of_it_is_not_the_sum():
    made = records('pairs', L=3)
    for record in made:
        record.error_SLL[:] = (record.error_SLL + record.error_SLL.transpose(0, 2, 1)) / 2
    fig = draw('pairs', made)
    added_LL = 100 * (made[-1].error_SLL - made[-1].full_error_S[:, None, None]).mean(0)
    total, excess = (
        panel(fig, title).images[0].get_array() for title in ('Error added', 'Less what')
    )
    np.testing.assert_allclose(total, added_LL, atol=1e-4)
    assert excess.mask[np.diag_indices(3)].all()
    expected = added_LL[0, 2] - added_LL[0, 0] - added_LL[2, 2]
    np.testing.assert_allclose(excess[0, 2], expected, atol=1e-4)
    assert panel(fig, 'Error added').texts[0].get_text() == f'{added_LL[0, 0]:.0f}'.replace(
        '-', '−'
    )


def test_bars_of_random_lesions_know_that_networks_share_their_masks():
    """Networks that agree mask by mask are one sample: S of them leave the error as it is."""
    rng = np.random.default_rng(0)
    of_masks_JM = rng.uniform(0.2, 0.8, (10, 7))
    (record,) = records('random', S=5, steps=(7,))
    own_S = np.linspace(-0.1, 0.1, 5)
    record.error_SJM = record.loss_SJM = of_masks_JM + own_S[:, None, None]
    error_J = of_masks_JM.std(1, ddof=1) / np.sqrt(7)
    np.testing.assert_allclose(lesions.over_masks(record.error_SJM)[1], error_J)
    fig = draw('random', [record])
    for title, unit in (('Error', 100), ('Loss', 1)):
        axes = panel(fig, title)
        (bars,) = axes.containers[0].lines[2]
        ends_J2 = np.array([segment[:, 1] for segment in bars.get_segments()])
        np.testing.assert_allclose(np.diff(ends_J2)[:, 0], 2 * unit * error_J)
        np.testing.assert_allclose(line(axes, 'step 7')[1], unit * of_masks_JM.mean(1))
        assert '± standard error' in words(axes)
    assert '7 random choices of each number of blocks, the same for all' in footnote(fig)


def test_one_random_choice_has_no_bars():
    fig = draw('random', M=1)
    assert np.isnan(lesions.over_masks(np.ones((3, 2, 1)))[1]).all()
    assert '± standard error' not in words(panel(fig, 'Error'))
    assert 'No bars: from 1 random choice of each' in footnote(fig)


def test_greedy_lesions_show_error_and_turn_of_every_block_with_marks_in_the_legend():
    made = records('greedy')
    fig = draw('greedy', made)
    errors = panel(fig, 'Always')
    np.testing.assert_allclose(curves(errors), 100 * stacked(made, 'error_SJ').mean(1))
    turns = panel(fig, 'When each block goes, step 100')
    assert words(turns) == ['one network', 'mean over networks']
    place_L = line(turns, 'one network')[1]
    assert place_L[made[-1].deleted_SL[0]].tolist() == list(range(1, 10))
    mean_L = np.mean([np.argsort(deleted_L) for deleted_L in made[-1].deleted_SL], 0)
    np.testing.assert_allclose(line(turns, 'mean over networks')[1], 1 + mean_L)


def two_orders():
    """Where two blocks alone can change places: one order beside the trained, two blocks apart."""
    return SimpleNamespace(
        step=np.array(7),
        full_loss_S=np.array([0.1, 0.2]),
        full_error_S=np.array([0.1, 0.3]),
        kendall_N=np.array([0.5]),
        swaps_N=np.array([1]),
        orders_N=np.array([0]),
        loss_SN=np.array([[1.0], [2.0]]),
        error_SN=np.array([[0.8], [0.9]]),
        possible_orders=np.array(2),
    )


def test_orders_are_dots_and_means_stand_only_where_there_are_orders():
    fig = draw('reorder', [two_orders()])
    by_tau, by_swaps = panel(fig, 'By how much'), panel(fig, 'By the number')
    np.testing.assert_allclose(line(by_tau, '1 swap'), [[0.5], [85]])
    for axes in (by_tau, by_swaps):
        assert line(axes, 'as trained')[1] == pytest.approx([20, 20])
    dot = by_swaps.containers[0].lines[0]
    np.testing.assert_allclose(dot.get_ydata(), [85])
    assert [label.get_text() for label in by_swaps.get_xticklabels()] == ['1']
    assert 'Drawn: 1 of the 2 orders that exist, the same for all networks' in footnote(fig)
    assert by_tau.get_ylim() == (0, pytest.approx(1.05 * (85 + 100 * np.std([0.8, 0.9], ddof=1))))


def test_an_order_that_several_numbers_of_swaps_led_to_is_one_order():
    record = two_orders()
    record.swaps_N, record.kendall_N = np.array([1, 2, 2]), np.array([0.5, 0.5, 0.5])
    record.loss_SN = np.array([[1.0, 1.0, 3.0], [2.0, 2.0, 3.0]])
    record.error_SN = np.array([[0.8, 0.8, 0.2], [0.8, 0.8, 0.2]])
    record.orders_N = np.array([0, 0, 1])
    assert orders.once(record).tolist() == [0, 2]
    fig = draw('reorder', [record])
    mean = panel(fig, 'By how much').containers[0].lines[0]
    np.testing.assert_allclose(mean.get_ydata(), [50])
    np.testing.assert_allclose(curves(panel(fig, 'By the number'))[0], [80, 50])
    assert 'Drawn: 2 of the' in footnote(fig)


def test_orders_of_equal_scores_are_as_many_as_they_are():
    record = two_orders()
    record.swaps_N, record.orders_N = np.array([1, 1, 2, 2]), np.array([0, 1, 1, 2])
    record.kendall_N = np.full(4, 0.5)
    record.loss_SN, record.error_SN = np.full((2, 4), 0.7), np.full((2, 4), 0.3)
    record.possible_orders = np.array(6)
    assert 'Drawn: 3 of the 6 orders' in footnote(draw('reorder', [record]))


def test_means_over_orders_by_swaps_and_by_tau():
    made = records('reorder')
    fig = draw('reorder', made)
    error_TSN, swaps_N = 100 * stacked(made, 'error_SN'), made[0].swaps_N
    mean_TJ = [[error_SN[:, swaps_N == s].mean() for s in (1, 2, 4, 8)] for error_SN in error_TSN]
    np.testing.assert_allclose(curves(panel(fig, 'By the number'))[:3], mean_TJ)
    for swaps in (1, 8):
        label = '1 swap' if swaps == 1 else f'{swaps} swaps'
        _, error_N = line(panel(fig, 'By how much'), label)
        np.testing.assert_allclose(error_N, error_TSN[-1].mean(0)[swaps_N == swaps])


def test_bins_of_tau_have_the_means_of_their_orders_and_never_part_equal_ones():
    x_N = np.repeat(np.linspace(0, 1, 20), 3)
    centres, mean_SX = orders.binned_means(x_N, np.stack([x_N, 2 * x_N]))
    assert 4 <= len(centres) <= orders.BINS
    np.testing.assert_allclose(mean_SX, [centres, 2 * centres])
    two, means = orders.binned_means(np.array([1.0, 1.0, 0.5]), np.array([[1.0, 3.0, 7.0]]))
    assert two.tolist() == [0.5, 1.0] and means.tolist() == [[7, 2]]


def test_paths_show_norms_shares_and_mean_lengths():
    made = records('paths')
    fig = draw('paths', made)
    root_TSR = stacked(made, 'root_energy_SR')
    each = curves(panel(fig, 'One path'))
    np.testing.assert_allclose(each, (root_TSR / np.sqrt(made[0].paths_R)).mean(1))
    shares_TSR = root_TSR**2 / (root_TSR**2).sum(-1, keepdims=True)
    share = panel(fig, 'Share of the energy')
    np.testing.assert_allclose(curves(share)[:3], shares_TSR.mean(1))
    np.testing.assert_allclose(line(share, 'share of the paths')[1], made[0].paths_R / 2**9)
    assert share.get_xlim()[0] < 0 and share.get_xlim()[1] > 9
    mean_T = (shares_TSR @ np.arange(10)).mean(1)
    np.testing.assert_allclose(line(panel(fig, 'Mean length'), 'gradient, S$_k$')[1], mean_T)
    assert 'from 8 Rademacher draws, the same for all networks' in footnote(fig)


def test_interactions_show_shares_of_the_variance_without_the_mean_and_shapley_values():
    made = records('interactions')
    fig = draw('interactions', made)
    walsh_TSR = stacked(made, 'walsh_SR')[..., 1:]
    x_R, last_R = line(panel(fig, 'Variance'), 'step 100')
    assert x_R.tolist() == list(range(1, 10))
    np.testing.assert_allclose(last_R, (walsh_TSR / walsh_TSR.sum(-1, keepdims=True))[-1].mean(0))
    heights = [bar.get_height() for bar in panel(fig, 'Shapley values, step 100').patches]
    np.testing.assert_allclose(heights, -100 * made[-1].shapley_error_SL.mean(0), rtol=1e-6)


def test_influences_are_drawn_by_block_and_angles_as_an_image():
    made = records('influence')
    made[-1].angular_distance_SNN[:, 0, 3] = np.nan  # of depths of different shapes
    fig = draw('influence', made)
    for title, field in (
        ('Size', 'branch_over_skip_SL'),
        ('Turn', 'block_influence_SL'),
        ('Along', 'gradient_cosine_SL'),
    ):
        np.testing.assert_allclose(curves(panel(fig, title))[:3], stacked(made, field).mean(1))
    image = panel(fig, 'Angle between depths, step 100').images[0].get_array()
    assert image.mask[0, 3] and image.mask.sum() == 1
    np.testing.assert_allclose(
        image[1], made[-1].angular_distance_SNN.mean(0, dtype=float)[1], rtol=1e-6
    )


@pytest.mark.parametrize('name', PICTURES)
def test_networks_whose_branches_are_zero_have_a_picture_without_a_warning(name):
    fig = draw(name, of_zero_branches(name))
    for axes in fig.axes:
        for curve in axes.lines:
            assert finite(curve)
            if curve.get_label() != 'exactly 0' and axes.get_yscale() == 'log':
                assert not (curve.get_xydata()[:, 1] <= 0).any()
    assert 'not finite' not in footnote(fig)


def test_zeros_are_marked_at_the_end_of_a_logarithmic_axis():
    axes = panel(draw('paths', of_zero_branches('paths')), 'One path')
    assert words(axes) == ['step 100', 'exactly 0']
    assert line(axes, 'exactly 0')[0].tolist() == list(range(1, 10))


@pytest.mark.parametrize('name', PICTURES)
def test_a_network_that_is_not_finite_is_left_out_and_counted(name):
    """The picture is that of the other two, with a sentence."""
    made = with_a_lost_network(name, lost=2, steps=(7,))
    others = [SimpleNamespace(**vars(record)) for record in made]
    for record in others:
        for field, values in vars(record).items():
            if re.fullmatch(r'.*_S[A-Z]*', field):
                setattr(record, field, values[:2])
    found, expected = draw(name, made), draw(name, others)
    assert '1 of 3 networks is left out: not finite.' in footnote(found)
    for one, other in zip(found.axes, expected.axes, strict=True):
        pairs = zip(filter(finite, one.lines), filter(finite, other.lines), strict=True)
        for curve, wanted in pairs:
            np.testing.assert_allclose(curve.get_xydata(), wanted.get_xydata())
        for image, wanted in zip(one.images, other.images, strict=True):
            np.testing.assert_allclose(image.get_array(), wanted.get_array())
        np.testing.assert_allclose(one.get_ylim(), other.get_ylim())


@pytest.mark.parametrize('name', PICTURES)
def test_networks_of_which_none_is_finite_have_an_empty_picture_that_says_so(name):
    fig = draw(name, with_a_lost_network(name, lost=slice(None), steps=(7,)))
    assert '3 of 3 networks are left out: not finite.' in footnote(fig)


@pytest.mark.slow_but('gammas', 'depth', 'random', 'reorder', 'influence')
@pytest.mark.parametrize('name', PICTURES)
def test_nothing_lies_on_anything_or_leaves_the_picture_and_the_last_step_is_named(name):
    """Of 54 blocks and 13 steps, with numbers that invite an offset at the end of an axis."""
    made = records(name, L=54, steps=tuple(range(0, 1_560_001, 130_000)))
    for record in made:
        for field, values in vars(record).items():
            if field in ('mean_SLN', 'gradient_cosine_SL'):
                values[...] = 0.9 + 1e-4 * values
    fig = draw(name, made)
    drawn.assert_apart(fig)
    assert_limits(fig)
    for axes in fig.axes:
        if any(curve.get_linewidth() == 2.0 for curve in axes.lines):
            assert 'step 1,560,000' in words(axes)
    of_one_step = [axes.get_title(loc='left') for axes in fig.axes if axes.images or axes.patches]
    assert not of_one_step or any('step 1,560,000' in title for title in of_one_step)


@pytest.mark.parametrize('name', PICTURES)
def test_one_network_of_one_block_at_one_step_has_a_picture_with_whole_numbers_of_blocks(name):
    fig = draw(name, S=1, L=1, steps=(7,))
    assert_limits(fig)
    for axes in fig.axes:
        if 'block' in axes.get_xlabel() or 'length' in axes.get_xlabel():
            assert (axes.get_xticks() % 1 == 0).all()


def assert_limits(fig):
    """The limits of all axes hold all data; errors end at 100 %."""
    for axes in fig.axes:
        if axes.get_label() != '<colorbar>':
            drawn.assert_all_inside(axes)
        if 'test error (%)' in axes.get_ylabel():
            assert max(axes.get_ylim()) <= 100
