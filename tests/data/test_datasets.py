"""The front door: one interface over every source, its digest, its statistics, its parts."""

import fractions
import hashlib
import math

import numpy as np
import pytest

from resnet_dyn import config, errors, fields
from resnet_dyn.data import batches, datasets, splits


@pytest.fixture
def write_npz(tmp_path, pixels):
    """Writes a .npz of 40 + 20 images in 4 unequal classes and gives the config that reads it."""

    def write(**changes):
        images, _ = pixels(60, (4, 4, 3))
        labels = np.repeat([0, 1, 2, 3], [4, 8, 16, 32])[np.random.default_rng(1).permutation(60)]
        arrays = {
            'train_images': images[:40],
            'train_labels': labels[:40],
            'test_images': images[40:],
            'test_labels': labels[40:],
        }
        np.savez(tmp_path / 'mine.npz', **(arrays | changes))
        return config.Data(name='npz', dir=str(tmp_path / 'mine.npz'))

    return write


@pytest.fixture
def prepare(tmp_path, pixels, write_tfds, write_npz, write_tree):
    """The config of a small data set of any name."""

    def make(name):
        if name == 'gaussians':
            return config.Data(train_size=100, test_size=60)
        if name in ('digits', 'text'):
            return config.Data(name=name)
        if name == 'npz':
            return write_npz()
        if name == 'image_folder':
            write_tree(tmp_path, {'a': 3, 'b': 2}, {'b': 2})
            return config.part('data', {'name': name, 'dir': str(tmp_path)})
        shape = (28, 28, 1) if name == 'fashion_mnist' else (32, 32, 3)
        parts = {'train': pixels(30, shape), 'test': pixels(20, shape, seed=1)}
        if name == 'imagenet2012':
            parts['validation'] = parts.pop('test')
        write_tfds(tmp_path, name, parts)
        data = {'name': name, 'dir': str(tmp_path), 'cache': str(tmp_path / 'cache')}
        return config.part('data', data)

    return make


@pytest.mark.parametrize('name', config.DATA_NAMES)
def test_every_data_set_keeps_the_one_interface(name, prepare):
    dataset = datasets.load(prepare(name))
    for split in (dataset.train, dataset.test):
        assert split.inputs.ndim in (2, 4) and len(split.inputs) == len(split.labels)
        vectors = np.int32 if name == 'text' else np.float32
        assert split.inputs.dtype == (vectors if split.inputs.ndim == 2 else np.uint8)
        labels = split.labels[:]
        assert labels.dtype == np.int32
        assert labels.min() >= 0 and labels.max() < dataset.classes
    assert dataset.train.inputs.shape[1:] == dataset.test.inputs.shape[1:]
    for statistic in (dataset.mean, dataset.std):
        channels = 0 if name == 'text' else dataset.train.inputs.shape[-1]
        assert statistic.shape == (channels,)
        assert statistic.dtype == np.float32
    assert (dataset.std > 0).all()
    assert dataset.source.name == name and len(dataset.source.digest) == 64


def test_the_note_of_a_copy_reaches_the_source(tmp_path, pixels, write_tfds):
    write_tfds(tmp_path, 'cifar10', {'train': pixels(10), 'test': pixels(10)}, image='JPEG')
    data = config.Data(name='cifar10', dir=str(tmp_path), cache=str(tmp_path / 'cache'))
    assert datasets.load(data).source.note == 'JPEG copy, not the original images'


def test_unset_sizes_of_gaussians_are_those_of_the_config():
    dataset = datasets.load(config.part('data', {'dimension': 2}))
    sizes = (len(dataset.train.labels), len(dataset.test.labels))
    assert sizes == tuple(config.GAUSSIANS_SIZES.values())


def test_mean_and_std_are_those_of_the_training_pixels_by_channel(write_npz):
    dataset = datasets.load(write_npz())
    pixels = dataset.train.inputs.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(dataset.mean, pixels.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(dataset.std, pixels.std(axis=0), rtol=1e-7)


def test_statistics_do_not_depend_on_the_blocks_they_are_summed_in(write_npz, monkeypatch):
    whole = datasets.load(write_npz())
    monkeypatch.setattr(datasets, 'BLOCK', 7)
    blocks = datasets.load(write_npz())
    np.testing.assert_array_equal(whole.mean, blocks.mean)
    np.testing.assert_array_equal(whole.std, blocks.std)


@pytest.mark.parametrize('constant', [0.0, 0.87942106, -3e6])
def test_a_constant_feature_is_not_blown_up(constant, write_npz):
    inputs = np.random.default_rng(0).standard_normal((63, 2)).astype(np.float32)
    inputs[:, 1] = constant  # rounding makes the variance of 43 times the second one positive
    parts = {'train_images': inputs[:43], 'test_images': inputs[43:]}
    dataset = datasets.load(write_npz(**parts, train_labels=np.arange(43) % 4))
    assert dataset.std[1] == 1.0
    np.testing.assert_allclose(dataset.std[0], inputs[:43, 0].std(), rtol=1e-5)


OFFSET = np.random.default_rng(2).random((43, 3)).astype(np.float32)
FEATURES = {
    'offset': OFFSET + np.float32(1e6),
    'negative_offset': OFFSET - np.float32([1e3, 3e5, 4e6]),
    'large': OFFSET * np.float32(4e37),
    'small': OFFSET * np.float32(1e-34),
    'an_outlier_first': np.concatenate([np.float32([[1e8, -1e30, 7]]), OFFSET]),
    'an_outlier_last': np.concatenate([OFFSET, np.float32([[1e8, -1e30, 7]])]),
    'one_that_differs': np.concatenate([np.full((99, 1), 1e6, np.float32), [[1e6 + 1]]]),
}


def exact_moments(inputs):
    """Mean and standard deviation of each column by exact sums."""
    columns = [[fractions.Fraction(float(x)) for x in column] for column in inputs.T]
    means = [sum(column) / len(column) for column in columns]
    pairs = zip(columns, means, strict=True)
    variances = [sum((x - mean) ** 2 for x in column) / len(column) for column, mean in pairs]
    # The root of a fraction, scaled so that a float holds it.
    return [float(mean) for mean in means], [
        math.sqrt(float(variance * 2**200)) / 2.0**100
        if variance < 1
        else math.sqrt(float(variance))
        for variance in variances
    ]


@pytest.mark.parametrize('features', FEATURES)
def test_moments_are_exact_wherever_the_values_lie(features, write_npz):
    inputs = FEATURES[features].astype(np.float32)
    labels = np.arange(len(inputs)) % 4
    test = np.zeros((20, inputs.shape[1]), np.float32)
    dataset = datasets.load(write_npz(train_images=inputs, train_labels=labels, test_images=test))
    mean, std = exact_moments(inputs)
    np.testing.assert_allclose(dataset.mean, mean, rtol=2e-7)
    np.testing.assert_allclose(dataset.std, std, rtol=2e-7)
    made = np.asarray(batches.normalise(dataset.train.inputs, dataset.mean, dataset.std))
    expected = (inputs.astype(np.float64) - dataset.mean) / dataset.std
    np.testing.assert_allclose(made, expected, rtol=1e-6, atol=1e-3)


@pytest.mark.parametrize('share', [1, 20])
@pytest.mark.parametrize('value', [0.5, 0.1, 1e6, -3e-20])
def test_rounding_of_the_last_bit_is_not_blown_up(value, share, write_npz):
    inputs = np.full((60, 1), value, np.float32)
    inputs[:share] = np.nextafter(inputs[:share], np.float32(np.inf))
    dataset = datasets.load(write_npz(train_images=inputs[:40], test_images=inputs[40:]))
    assert dataset.std == 1.0 and len(np.unique(dataset.train.inputs)) == 2


@pytest.mark.parametrize('scale', [1e-36, 1e-39, 1e-41, 1e-45, 0.0])
def test_what_xla_takes_for_zero_is_a_constant_and_stays_finite(scale, write_npz):
    draws = np.random.default_rng(0).standard_normal((60, 3))
    inputs = (draws * [scale, 1.0, scale] + [0.0, 0.0, 5.0]).astype(np.float32)
    dataset = datasets.load(write_npz(train_images=inputs[:40], test_images=inputs[40:]))
    np.testing.assert_array_equal(dataset.std[[0, 2]], [1.0, 1.0])
    for split in (dataset.train, dataset.test):
        made = np.asarray(batches.normalise(split.inputs, dataset.mean, dataset.std))
        np.testing.assert_allclose(made[:, [0, 2]], 0.0, atol=1e-35)
        assert np.isfinite(made).all() and made[:, 1].std() > 0.5


def test_the_largest_values_stay_finite(write_npz):
    inputs = np.float32([[4e37], [-4e37]] * 30)
    dataset = datasets.load(write_npz(train_images=inputs[:40], test_images=inputs[40:]))
    made = batches.normalise(dataset.test.inputs, dataset.mean, dataset.std)
    np.testing.assert_allclose(np.abs(made), 1.0, rtol=1e-6)


def test_gaussians_are_scaled_by_their_law_not_by_the_sample():
    dataset = datasets.load(config.Data(separation=0.75, train_size=100, test_size=100))
    np.testing.assert_array_equal(dataset.mean, np.zeros(50, np.float32))
    np.testing.assert_array_equal(dataset.std, np.full(50, 1.25, np.float32))


def test_the_digest_is_that_of_inputs_and_labels_in_order(write_npz):
    dataset = datasets.load(write_npz())
    expected = hashlib.sha256()
    for split in (dataset.train, dataset.test):
        for array, kind in ((split.inputs, '|u1'), (split.labels, '<i4')):
            expected.update(f'{kind}{array.shape}'.encode() + array.tobytes())
    assert dataset.source.digest == expected.hexdigest()


@pytest.mark.parametrize('key', ['train_images', 'train_labels', 'test_images', 'test_labels'])
def test_one_changed_value_changes_the_digest(key, write_npz):
    data = write_npz()
    before = datasets.load(data).source.digest
    array = np.load(data.dir)[key]
    array.flat[5] = 1 if array.flat[5] == 0 else 0
    assert datasets.load(write_npz(**{key: array})).source.digest != before


def test_a_part_is_chosen_from_the_whole_in_proportion_to_the_classes(write_npz):
    whole = datasets.load(write_npz()).train
    for size in range(1, 41):
        part = splits.subset(whole, size, seed=0)
        assert len(part.labels) == len(part.inputs) == size
        share = np.bincount(whole.labels, minlength=4) * size / 40
        assert (np.abs(np.bincount(part.labels, minlength=4) - share) <= 1).all()
        at = [int(np.flatnonzero((whole.inputs == x).all(axis=(1, 2, 3)))[0]) for x in part.inputs]
        assert at == sorted(set(at)), 'each at most once, in the old order'
        np.testing.assert_array_equal(part.labels, whole.labels[at])


def test_a_smaller_part_is_within_a_larger_and_the_seed_fixes_both(write_npz):
    whole = datasets.load(write_npz()).train

    def chosen(size, seed):
        return {image.tobytes() for image in splits.subset(whole, size, seed).inputs}

    assert chosen(9, 0) < chosen(10, 0) < chosen(30, 0)
    assert chosen(10, 0) == chosen(10, 0) != chosen(10, 1)


def test_sizes_choose_parts_of_both_splits_and_statistics_follow(write_npz):
    data = fields.replace(write_npz(), {'train_size': 15, 'test_size': 5})
    dataset = datasets.load(data)
    assert (len(dataset.train.labels), len(dataset.test.labels)) == (15, 5)
    expected = dataset.train.inputs.astype(np.float64).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(dataset.mean, expected, rtol=1e-6)


@pytest.mark.parametrize(('which', 'there'), [('train', 40), ('test', 20)])
def test_more_than_there_is_is_refused_with_both_sizes(which, there, write_npz):
    data = fields.replace(write_npz(), {f'{which}_size': there})
    assert len(getattr(datasets.load(data), which).labels) == there
    with pytest.raises(errors.DataError, match=rf'{which}_size={there + 1} .* the {there} '):
        datasets.load(fields.replace(data, {f'{which}_size': there + 1}))


def test_augmentation_of_vectors_is_refused(write_npz):
    assert datasets.load(fields.replace(write_npz(), {'augment': True})).train.inputs.ndim == 4
    with pytest.raises(errors.DataError, match=r'config\.data\.augment .* 50 features'):
        datasets.load(config.Data(augment=True, train_size=60, test_size=50))


FAMILIES = [f for f in config.FAMILIES if f not in ('fully_connected', 'transformer')]


@pytest.mark.parametrize('family', FAMILIES)
def test_vectors_are_refused_by_every_family_of_convolutions(family, write_npz):
    vectors = np.random.default_rng(0).standard_normal((60, 7)).astype(np.float32)
    dataset = datasets.load(write_npz(train_images=vectors[:40], test_images=vectors[40:]))
    with pytest.raises(errors.DataError, match=rf'{family} needs images .* shape \(7,\)'):
        datasets.check_family(dataset, family)
    datasets.check_family(dataset, 'fully_connected')


@pytest.mark.parametrize('family', ['fully_connected', *FAMILIES])
def test_images_go_into_every_family(family, write_npz):
    datasets.check_family(datasets.load(write_npz()), family)


def test_the_source_of_an_npz_file_names_the_file_and_the_content_alone_is_its_identity(
    tmp_path, write_npz
):
    data = write_npz()
    source = datasets.load(data).source
    (tmp_path / 'mine.npz').rename(tmp_path / 'yours.npz')
    moved = datasets.load(config.Data(name='npz', dir=str(tmp_path / 'yours.npz'))).source
    assert (source.name, source.note, moved.note) == ('npz', 'mine.npz', 'yours.npz')
    assert source.digest == moved.digest
