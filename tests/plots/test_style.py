"""The look of pictures and their statistics over networks: brought along, safe, the same again."""

import matplotlib
import numpy as np
import pytest
from made_up import PICTURES, records
from matplotlib import colors

from resnet_dyn.plots import networks, style

HOSTILE = {'axes.grid': True, 'font.size': 20, 'axes.facecolor': 'k', 'lines.marker': 's'}


@style.styled
def small():
    fig = style.figure(1.5, 1.0)
    fig.subplots().plot([1, 2, 3], label='curve')
    return fig


def test_a_picture_is_saved_as_the_same_png_and_pdf_whatever_the_settings_of_the_caller(tmp_path):
    files = {}
    for name, settings in (('mine', {}), ('theirs', HOSTILE)):
        with matplotlib.rc_context(settings):
            before = dict(matplotlib.rcParams)
            files[name] = style.save(small(), tmp_path / name / 'pictures' / 'small')
            assert dict(matplotlib.rcParams) == before
    png, pdf = (path.read_bytes() for path in files['theirs'])
    assert [path.name for path in files['theirs']] == ['small.png', 'small.pdf']
    assert png.startswith(b'\x89PNG') and pdf.startswith(b'%PDF')
    assert [path.read_bytes() for path in files['mine']] == [png, pdf]


def test_pictures_bring_their_style_along_and_leave_that_of_the_caller():
    with matplotlib.rc_context(HOSTILE):
        before = dict(matplotlib.rcParams)
        fig = PICTURES['greedy'](records('greedy'), 'Heading', 'Note.')
        assert dict(matplotlib.rcParams) == before
    for axes in fig.axes[:2]:
        assert axes.get_facecolor() == (1, 1, 1, 1)
        assert axes.get_legend().get_texts()[0].get_fontsize() == 7.5
        assert axes.lines[0].get_marker() == 'o'


def test_a_notebook_can_show_a_picture():
    fig = style.figure(1.0, 0.5)
    assert fig._repr_png_()[:4] == b'\x89PNG'


def test_nothing_of_the_style_stays_behind():
    before = dict(matplotlib.rcParams)
    with style.context():
        assert matplotlib.rcParams['axes.titleweight'] == 'bold'
    assert dict(matplotlib.rcParams) == before


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
    assert '{:.1f} ± {:.1f}'.format(*style.over_seeds([1.0, 2.0, 3.0])) == '2.0 ± 1.0'


def test_statistics_over_seeds_are_those_of_the_finite_ones():
    values_S3 = [[1.0, np.nan, np.inf], [3.0, 5.0, -np.inf], [np.nan, np.nan, np.nan]]
    mean, std = style.over_seeds(values_S3)
    np.testing.assert_array_equal(mean, [2, 5, np.nan])
    np.testing.assert_allclose(std, [np.sqrt(2), 0, np.nan])


def test_shares_add_up_to_one_and_those_of_nothing_are_zero():
    found = style.shares(np.array([[1.0, 3.0], [0.0, 0.0], [np.nan, 1.0]]))
    np.testing.assert_array_equal(found, [[0.25, 0.75], [0, 0], [np.nan, np.nan]])
    nan = np.full(2, np.nan)
    np.testing.assert_array_equal(style.shares(np.array([np.inf, 1.0])), nan)  # without a warning
    np.testing.assert_array_equal(style.shares(np.array([1.5e308, 1.5e308])), nan)


def test_a_network_is_left_out_in_every_field_from_the_step_on_at_which_it_is_not_finite():
    made = records('greedy', S=4)
    made[1].loss_SJ[2] = made[2].loss_SJ[2] = np.nan
    for record in made:
        record.loss_SJ[0] = np.inf
    seen, words = networks.finite(made)
    assert words == (
        '1 of 4 networks is left out: not finite. '
        '1 of 4 networks is left out from step 50 on: not finite.'
    )
    lost = [np.flatnonzero(np.isnan(record.error_SJ).all(1)).tolist() for record in seen]
    assert lost == [[0], [0, 2], [0, 2]]
    assert np.isnan(seen[2].deleted_SL[2]).all() and np.isfinite(seen[1].deleted_SL[1]).all()
    assert np.isfinite(made[1].error_SJ).all()  # the record itself is as it was


def test_single_numbers_that_are_not_finite_leave_no_network_out():
    (record,) = records('singles', steps=(7,))
    record.loss_SL[0, 3] = np.nan
    assert networks.finite([record])[1] == ''


def test_no_records_are_no_picture():
    with pytest.raises(ValueError, match='no records'):
        PICTURES['depth']([], 'Heading', 'Note.')
