"""Image files to arrays: colours, sizes, crops; what is no image is named."""

import io

import numpy as np
import pytest
from PIL import Image

from resnet_dyn import errors
from resnet_dyn.data import decoding


def encoded(pixels, kind='PNG', mode=None, **options):
    stream = io.BytesIO()
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(stream, kind, **options)
    stream.seek(0)
    return stream


def smooth(height, width):
    """A picture whose every pixel says where it is: red by column, green by row."""
    rows, columns = np.mgrid[:height, :width]
    red, green = 255 * columns / (width - 1), 255 * rows / (height - 1)
    return np.stack([red, green, np.full(red.shape, 128.0)], -1).round().astype(np.uint8)


@pytest.mark.parametrize(
    ('height', 'width', 'box'), [(64, 96, (16, 0, 80, 64)), (96, 64, (0, 16, 64, 80))]
)
def test_the_middle_is_cut_out_of_an_image_whose_shorter_side_fits(height, width, box):
    size = 56  # of which the shorter side is made 64, as it is
    left, top, right, bottom = box
    expected = smooth(height, width)[top + 4 : bottom - 4, left + 4 : right - 4]
    found = decoding.centre(encoded(smooth(height, width)), size)
    np.testing.assert_array_equal(found, expected, strict=True)


def test_a_crop_is_that_part_of_the_image_resized_and_mirrored():
    pixels = smooth(30, 40)
    crop = decoding.Crop(left=7, top=3, width=16, height=16)
    with Image.open(encoded(pixels)) as image:
        found = decoding.cropped(image, crop, 16)
    np.testing.assert_array_equal(found, pixels[3:19, 7:23])
    with Image.open(encoded(pixels)) as image:
        found = decoding.cropped(image, crop._replace(flip=True), 16)
    np.testing.assert_array_equal(found, pixels[3:19, 7:23][:, ::-1])


@pytest.mark.parametrize('factor', [2, 4, 5, 8])
def test_a_large_jpeg_decoded_at_a_part_of_its_size_shows_the_same_place(factor):
    pixels = smooth(203, 307)
    crop = decoding.Crop(left=41, top=13, width=8 * factor + 3, height=8 * factor + 1)
    jpeg = encoded(pixels, 'JPEG', quality=95)
    with Image.open(jpeg) as image:
        found = decoding.cropped(image, crop, 8).astype(float)
        assert image.size != (307, 203), 'it was decoded at its whole size'
    part = pixels[crop.top : crop.top + crop.height, crop.left : crop.left + crop.width]
    expected = np.asarray(Image.fromarray(part).resize((8, 8), Image.Resampling.BILINEAR))
    assert np.abs(found - expected).max() < 8, 'a pixel of the small image is 2 to 8 of these'


@pytest.mark.parametrize('mode', ['L', 'CMYK', 'P', 'RGBA'])
def test_images_of_other_colours_become_rgb_as_pillow_converts_them(mode):
    kind = 'JPEG' if mode == 'CMYK' else 'PNG'
    stream = encoded(smooth(24, 24), kind, mode)
    with Image.open(stream) as image:
        assert image.mode == mode
        expected = np.asarray(image.convert('RGB').resize((24, 24)))[2:-2, 2:-2]
    stream.seek(0)
    found = decoding.centre(stream, 21)
    assert found.shape == (21, 21, 3)
    np.testing.assert_array_equal(found[:20, :20], expected[:20, :20])


def test_the_orientation_that_exif_gives_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    plain, turned = (encoded(smooth(16, 16), 'JPEG', **more) for more in ({}, {'exif': exif}))
    np.testing.assert_array_equal(decoding.centre(plain, 14), decoding.centre(turned, 14))


def test_crops_lie_within_the_image_and_have_areas_and_ratios_of_their_ranges():
    rng = np.random.default_rng(0)
    crops = [decoding.draw(rng, 500, 375) for _ in range(2000)]
    areas = np.array([c.width * c.height for c in crops]) / (500 * 375)
    ratios = np.array([c.width / c.height for c in crops])
    assert all(c.left >= 0 and c.left + c.width <= 500 for c in crops)
    assert all(c.top >= 0 and c.top + c.height <= 375 for c in crops)
    assert 0.078 < areas.min() < 0.1 and areas.max() < 1.001
    assert 0.74 < ratios.min() < 0.77 and 1.3 < ratios.max() < 1.35
    assert abs(np.mean([c.flip for c in crops]) - 0.5) < 4 * 0.5 / 2000**0.5


def test_of_an_image_of_an_extreme_ratio_the_middle_is_taken():
    crop = decoding.draw(np.random.default_rng(0), 4000, 10)
    assert (crop.left, crop.top, crop.width, crop.height) == (1993, 0, 13, 10)
    crop = decoding.draw(np.random.default_rng(0), 10, 4000)
    assert (crop.left, crop.top, crop.width, crop.height) == (0, 1993, 10, 13)


def test_a_truncated_file_and_one_that_is_no_image_are_named():
    whole = encoded(np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8), 'JPEG')
    half = io.BytesIO(whole.getvalue()[: len(whole.getvalue()) // 2])
    for file in (half, io.BytesIO(b'not an image')):
        with pytest.raises(errors.DataError, match=r'cats/one\.jpg is no whole image .*copy it'):
            decoding.centre(file, 14, 'cats/one.jpg')


def test_a_file_that_is_gone_is_said_of_the_disk(tmp_path):
    with pytest.raises(errors.DataError, match=r'gone\.jpg cannot be read .*FileNotFoundError'):
        decoding.random_crop(tmp_path / 'gone.jpg', 8, np.random.default_rng(0))
