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
    'nan': ({'train_images': lambda a: with_value(a, np.nan)}, '1 of 1,080 values that are NaN'),
    'inf': ({'test_images': lambda a: with_value(a, np.inf)}, 'test_images has 1 of 360 values'),
    'beyond_float32': ({'test_images': lambda a: with_value(a, 1e39)}, 'beyond float32'),
    'text': ({'train_images': lambda a: a.astype(str)}, 'train_images is <U3'),
    'objects': ({'train_images': lambda a: a.astype(object)}, r'cannot be read.*np\.savez'),
    'one_hot_labels': (
        {'train_labels': lambda a: np.eye(3, dtype=int)[a]},
        r'train_labels is int64 of shape \(12, 3\).*argmax',
    ),
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
