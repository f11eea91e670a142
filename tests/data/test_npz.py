"""The user's own arrays: what is taken, and that each mistake is named with its mend."""

import numpy as np
import pytest

from resnet_dyn import config, errors
from resnet_dyn.data import npz


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        'train_images': rng.integers(0, 256, (12, 5, 6, 3), dtype=np.uint8),
        'train_labels': np.arange(12) % 3,
        'test_images': rng.integers(0, 256, (4, 5, 6, 3), dtype=np.uint8),
        'test_labels': np.array([2, 0, 1, 1]),
    }


@pytest.fixture
def load(tmp_path):
    def save_and_load(arrays):
        np.savez(tmp_path / 'mine.npz', **arrays)
        return npz.load(config.Data(name='npz', dir=str(tmp_path / 'mine.npz')))

    return save_and_load


def test_uint8_images_come_back_as_they_are(arrays, load):
    pair = load(arrays)
    np.testing.assert_array_equal(pair.train.inputs, arrays['train_images'], strict=True)
    np.testing.assert_array_equal(pair.test.labels, np.int32([2, 0, 1, 1]), strict=True)
    assert (pair.classes, pair.note) == (3, 'mine.npz')


def test_gray_images_get_a_channel_axis(arrays, load):
    for key in ('train_images', 'test_images'):
        arrays[key] = arrays[key][..., 0]
    assert load(arrays).train.inputs.shape == (12, 5, 6, 1)


@pytest.mark.parametrize('shape', [(5,), (5, 6, 3)], ids=['vectors', 'images'])
def test_floating_inputs_become_float32(shape, arrays, load):
    rng = np.random.default_rng(1)
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = rng.standard_normal((size, *shape))
    expected = arrays['train_images'].astype(np.float32)
    np.testing.assert_array_equal(load(arrays).train.inputs, expected, strict=True)


@pytest.mark.parametrize('shape', [(32, 32), (32, 32, 1)])
def test_gray_images_are_not_taken_for_channels_first(shape, arrays, load):
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = np.zeros((size, *shape), np.uint8)
    assert load(arrays).train.inputs.shape == (12, 32, 32, 1)


CHANNELS_FIRST = [
    (3, 32, 32), (1, 28, 28), (3, 64, 64), (4, 21, 21), (3, 24, 32), (3, 32, 24), (2, 8, 8),
    (1, 5, 5), (3, 54, 96), (3, 20, 10),
]  # fmt: skip
CHANNELS_LAST = [
    (32, 32, 3), (28, 28, 1), (8, 8, 1), (21, 21, 4), (48, 64, 3), (1, 1, 3), (3, 3, 3),
    (4, 4, 64), (7, 7, 512), (1, 128, 9), (2, 32, 3), (3, 32, 4), (1, 1, 512), (16, 16, 16),
    (1, 100, 12), (4, 64, 8), (13, 13, 13),
]  # fmt: skip


@pytest.mark.parametrize('shape', CHANNELS_FIRST)
@pytest.mark.parametrize(
    ('key', 'dtype'), [('train_images', np.uint8), ('test_images', np.float32)]
)
def test_channels_first_are_refused_with_the_transpose_to_write(key, shape, dtype, arrays, load):
    images = np.zeros((len(arrays[key]), *shape), dtype)
    arrays[key] = images
    with pytest.raises(errors.DataError, match=rf'{key} has the shape .* channels first') as caught:
        load(arrays)
    assert 'images.transpose(0, 2, 3, 1)' in str(caught.value)
    assert images.transpose(0, 2, 3, 1).shape[1:] == (*shape[1:], shape[0])


@pytest.mark.parametrize('shape', CHANNELS_LAST)
def test_channels_last_are_taken(shape, arrays, load):
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = np.zeros((size, *shape), np.uint8)
    assert load(arrays).train.inputs.shape == (12, *shape)


@pytest.mark.parametrize(
    ('shape', 'said'),
    [
        ((1, 40, 101), '1 x 40 pixels with 101 channels'),
        ((12, 16, 16), '12 x 16 pixels with 16 channels'),
        ((3, 8, 25), '3 x 8 pixels with 25 channels'),
        ((8, 8, 4), None),
        ((5,), None),
    ],
)
def test_more_channels_than_pictures_have_are_said_once(shape, said, arrays, load, caplog):
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = np.zeros((size, *shape), np.float32)
    load(arrays)
    assert len(caplog.messages) == (said is not None)
    assert said is None or (said in caplog.text and 'transpose' in caplog.text)


@pytest.mark.parametrize('shape', [(5,), (5, 6), (5, 6, 3)])
def test_values_that_float32_cannot_tell_apart_are_refused_with_the_mend(shape, arrays, load):
    rng = np.random.default_rng(1)
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = rng.uniform(size=(size, *shape))
        arrays[key][..., -1] = 1e9 + 1e-7 * rng.integers(2, size=(size, *shape[:-1]))  # constant
        if len(shape) == 2:
            arrays[key][...] = 5.0
    load(arrays)
    arrays['test_images'][..., 2] = 1e9 + rng.uniform(size=(4, *shape[:-1]))
    if len(shape) == 2:
        arrays['test_images'] = 1e9 + rng.uniform(size=(4, *shape))
    with pytest.raises(errors.DataError, match=r'test_images is float64.*Subtract the mean first'):
        load(arrays)


def test_images_that_only_look_like_channels_first_have_a_way_in(arrays, load):
    for key, size in (('train_images', 12), ('test_images', 4)):
        arrays[key] = np.zeros((size, 4, 8, 16), np.float32)
    with pytest.raises(errors.DataError, match=r'images\.transpose\(0, 2, 1, 3\)'):
        load(arrays)
    turned = {key: a.transpose(0, 2, 1, 3) if a.ndim == 4 else a for key, a in arrays.items()}
    assert load(turned).train.inputs.shape == (12, 8, 4, 16)


@pytest.mark.parametrize(
    'name', ['w=[16,16].npz', 'a*b.npz', 'what?.npz', 'a b.npz', 'a\\b.npz', '~a.npz', 'no_suffix']
)
@pytest.mark.parametrize('folder', ['.', 'x[0-9]', 'all*'])
def test_a_path_is_taken_literally_and_its_name_is_the_note(folder, name, arrays, tmp_path):
    for decoy in ('w=1.npz', 'aab.npz', 'x1', 'all_'):  # what such names match as patterns
        (tmp_path / decoy).write_bytes(b'')
    (tmp_path / folder).mkdir(exist_ok=True)
    with (tmp_path / folder / name).open('wb') as stream:
        np.savez_compressed(stream, **arrays)
    pair = npz.load(config.Data(name='npz', dir=str(tmp_path / folder / name)))
    np.testing.assert_array_equal(pair.train.inputs, arrays['train_images'])
    assert pair.note == name


def test_a_home_that_is_nobodys_is_a_file_that_is_not_there():
    with pytest.raises(errors.DataError, match='there is no file ~nobody_of_that_name/a'):
        npz.load(config.Data(name='npz', dir='~nobody_of_that_name/a.npz'))


def with_value(array, value):
    array = array.astype(np.float64)
    array.flat[7] = value
    return array


MISTAKES = {
    'integers_that_are_not_uint8': (
        {'train_images': lambda a: a.astype(np.int64)},
        'train_images is int64 .*astype',
    ),
    'vectors_of_uint8': (
        {'train_images': lambda a: a.reshape(12, -1)},
        r'train_images is uint8 of shape \(12, 90\).*astype',
    ),
    'five_axes': ({'test_images': lambda a: a[None]}, r'test_images has the shape \(1, 4, 5'),
    'no_examples': ({'test_images': lambda a: a[:0]}, r'test_images has the shape \(0, 5, 6, 3\)'),
    'channels_first_of_one_part': (
        {'test_images': lambda a: np.zeros((4, 3, 32, 32), np.uint8)},
        r'test_images has the shape \(4, 3, 32, 32\).*transpose\(0, 2, 3, 1\)',
    ),
    'beyond_the_limit': (
        {'train_images': lambda a: with_value(a, -1e38)},
        r'beyond 4\.3e\+37.*; the first is -1e\+38 at \(0, 0, 2, 1\)',
    ),
    'a_column_of_labels': (
        {'train_labels': lambda a: a[:, None]},
        r'of shape \(12, 1\).*a column of them by \[:, 0\]',
    ),
    'nan': (
        {'train_images': lambda a: with_value(a, np.nan)},
        '1 of 1,080 values that are NaN.* first is nan',
    ),
    'inf': (
        {'test_images': lambda a: with_value(a, np.inf)},
        'test_images has 1 of 360 .* first is inf',
    ),
    'far_beyond': (
        {'test_images': lambda a: with_value(a, 1e39)},
        r'beyond 4\.3e\+37, .* first is 1e\+39',
    ),
    'text': ({'train_images': lambda a: a.astype(str)}, 'train_images is <U3'),
    'objects': ({'train_images': lambda a: a.astype(object)}, r'cannot be read.*np\.savez'),
    'one_hot_labels': (
        {'train_labels': lambda a: np.eye(3, dtype=int)[a]},
        r'train_labels is int64 of shape \(12, 3\).*argmax',
    ),
    'names_as_labels': ({'train_labels': lambda a: np.array(list('abc'))[a]}, 'names by np.unique'),
    'floating_labels': ({'test_labels': lambda a: a + 0.5}, 'test_labels is float64.*astype'),
    'negative_labels': ({'train_labels': lambda a: a - 1}, 'train_labels has the label -1'),
    'labels_from_one': (
        {'train_labels': lambda a: a + 1},
        '3 different labels from 1 to 3.*unique',
    ),
    'a_class_never_trained': (
        {'test_labels': lambda a: a + 1},
        r'test_labels has the label 3, and train_labels only 0\.\.2',
    ),
    'one_class': (
        {'train_labels': np.zeros_like, 'test_labels': np.zeros_like},
        'one class alone',
    ),
    'fewer_labels': ({'train_labels': lambda a: a[:-1]}, '12 train_images but 11 train_labels'),
    'shapes_differ': (
        {'test_images': lambda a: a[:, 1:]},
        r'\(5, 6, 3\), one of test_images uint8 of shape \(4, 6, 3\)',
    ),
    'dtypes_differ': (
        {'test_images': lambda a: a.astype(np.float32)},
        'uint8 .* one of test_images float32',
    ),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_a_mistake_is_named_with_its_mend(mistake, arrays, load, tmp_path):
    changes, message = MISTAKES[mistake]
    for key, change in changes.items():
        arrays[key] = change(arrays[key])
    with pytest.raises(errors.DataError, match=message) as caught:
        load(arrays)
    text = str(caught.value)
    assert str(tmp_path / 'mine.npz') in text and '\n' not in text


def test_missing_arrays_are_named_beside_those_there(arrays, load):
    del arrays['test_labels']
    arrays['labels'] = np.arange(3)
    with pytest.raises(errors.DataError, match=r'lacks test_labels and has .*labels'):
        load(arrays)


@pytest.mark.parametrize('content', [b'', b'not a zip', 'npy', 'cut', 'absent', 'folder'])
def test_what_is_no_npz_file_is_refused(content, arrays, tmp_path):
    file = tmp_path / 'mine.npz'
    if content == 'npy':
        with file.open('wb') as stream:
            np.save(stream, np.arange(5))
    elif content == 'cut':
        np.savez(file, **arrays)
        file.write_bytes(file.read_bytes()[:-50])
    elif content == 'folder':
        file.mkdir()
    elif content != 'absent':
        file.write_bytes(content)
    with pytest.raises(errors.DataError, match=r'mine\.npz') as caught:
        npz.load(config.Data(name='npz', dir=str(file)))
    assert 'np.savez' in str(caught.value) and '\n' not in str(caught.value)


def test_an_unset_file_is_asked_for():
    with pytest.raises(errors.DataError, match=r'config\.data\.dir'):
        npz.load(config.Data(name='npz'))
