"""Pictures of an analysis: files as promised, the same bytes again, one seed or many."""

from typing import NamedTuple

import numpy as np
import pytest
from matplotlib import colors

from resnet_dyn.plots import depth, gammas, lesions, style


class Gammas(NamedTuple):
    step: np.ndarray
    norms_N: np.ndarray
    mean_SLN: np.ndarray
    spread_SLN: np.ndarray
    stem_mean_S: np.ndarray
    stem_spread_S: np.ndarray


class DepthLaw(NamedTuple):
    step: np.ndarray
    gains_SL: np.ndarray
    incoherent_SR: np.ndarray
    coherent_SR: np.ndarray
    incoherent_mean_S: np.ndarray
    coherent_mean_S: np.ndarray


class SingleLesions(NamedTuple):
    step: np.ndarray
    full_error_S: np.ndarray
    error_SL: np.ndarray


def numbers(shape, step):
    return np.random.default_rng(step).uniform(0.1, 1.0, shape)


def gamma_records(seeds, steps):
    return [
        Gammas(
            np.array(t),
            np.array(['norm_0', 'norm_1']),
            numbers((seeds, 9, 2), t),
            numbers((seeds, 9, 2), t),
            np.full(seeds, np.nan),
            np.full(seeds, np.nan),
        )
        for t in steps
    ]


def depth_records(seeds, steps):
    law = [numbers((seeds, 10), t) for t in steps]
    return [
        DepthLaw(np.array(t), numbers((seeds, 9), t), w, w, w.mean(-1), w.max(-1))
        for t, w in zip(steps, law, strict=True)
    ]


def lesion_records(seeds, steps):
    return [SingleLesions(np.array(t), numbers(seeds, t), numbers((seeds, 9), t)) for t in steps]


PICTURES = {
    'gammas': (gammas.profiles, gamma_records),
    'depth': (depth.law, depth_records),
    'singles': (lesions.singles, lesion_records),
}


@pytest.mark.parametrize('name', PICTURES)
@pytest.mark.parametrize('seeds, steps', [(3, (0, 50, 100)), (1, (0,))])
def test_a_picture_is_a_png_and_a_pdf_of_many_networks_or_one(name, seeds, steps, tmp_path):
    draw, records = PICTURES[name]
    with style.context():
        fig = draw(records(seeds, steps), 'Heading', 'Data: 50 Gaussians.')
        png, pdf = style.save(fig, tmp_path / 'pictures' / name)
    assert (png.name, pdf.name) == (f'{name}.png', f'{name}.pdf')
    assert png.read_bytes().startswith(b'\x89PNG')
    assert pdf.read_bytes().startswith(b'%PDF')


def test_the_same_numbers_give_the_same_bytes(tmp_path):
    written = []
    for folder in ('first', 'again'):
        with style.context():
            fig = lesions.singles(lesion_records(3, (0, 50)), 'Heading', 'Note.')
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
