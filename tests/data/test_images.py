"""Data sets of tensorflow-datasets, read without TensorFlow from folders written here."""

import errno
import io
import json
import logging
import zlib

import numpy as np
import pytest
from PIL import Image

from resnet_dyn import config, errors, fields
from resnet_dyn.data import images


@pytest.fixture
def parts(pixels):
    return {'train': pixels(30, seed=1), 'test': pixels(12, seed=2)}


@pytest.fixture
def data(tmp_path):
    return config.Data(name='cifar10', dir=str(tmp_path / 'tfds'), cache=str(tmp_path / 'cache'))


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'tfds'


def assert_split(split, expected):
    np.testing.assert_array_equal(split.inputs, expected[0], strict=True)
    np.testing.assert_array_equal(split.labels, expected[1], strict=True)


def no_decoding(monkeypatch):
    def decode(*_):
        raise AssertionError('decoded, and not read from the cache')

    monkeypatch.setattr(images, '_decode', decode)


def test_png_records_give_the_exact_pixels_and_no_note(root, data, parts, write_tfds):
    write_tfds(root, 'cifar10', parts)
    pair = images.load(data)
    assert_split(pair.train, parts['train'])
    assert_split(pair.test, parts['test'])
    assert (pair.classes, pair.note) == (10, '')


def test_gray_images_keep_one_channel(tmp_path, pixels, write_tfds):
    parts = {'train': pixels(5, (28, 28, 1)), 'test': pixels(4, (28, 28, 1), seed=1)}
    write_tfds(tmp_path, 'fashion_mnist', parts, version='3.0.1')
    data = config.Data(name='fashion_mnist', dir=str(tmp_path), cache=str(tmp_path / 'cache'))
    assert_split(images.load(data).train, parts['train'])


def test_jpeg_records_are_told_by_their_bytes_and_noted(root, data, parts, write_tfds):
    write_tfds(root, 'cifar10', parts, image='JPEG')
    pair = images.load(data)
    assert pair.note == 'JPEG copy, not the original images'
    stream = io.BytesIO()
    Image.fromarray(parts['test'][0][3]).save(stream, 'JPEG')
    np.testing.assert_array_equal(pair.test.inputs[3], np.asarray(Image.open(stream)))
    assert images.load(data).note == pair.note, 'the cache must keep the note'


def test_chunks_of_records_join_without_a_seam(root, data, parts, write_tfds, monkeypatch):
    write_tfds(root, 'cifar10', parts)
    monkeypatch.setattr(images, 'CHUNK', 7)
    assert_split(images.load(data).train, parts['train'])


def test_a_second_load_reads_the_cache(root, data, parts, write_tfds, monkeypatch):
    write_tfds(root, 'cifar10', parts)
    first = images.load(data)
    no_decoding(monkeypatch)
    second = images.load(data)
    assert_split(second.train, first.train)
    assert_split(second.test, first.test)
    assert second[2:] == first[2:]


def test_other_records_under_the_same_name_are_not_taken_from_the_cache(
    tmp_path, data, parts, pixels, write_tfds
):
    write_tfds(tmp_path / 'tfds', 'cifar10', parts)
    images.load(data)
    other = {'train': pixels(30, seed=3), 'test': parts['test']}
    write_tfds(tmp_path / 'other', 'cifar10', other)
    pair = images.load(fields.replace(data, {'dir': str(tmp_path / 'other')}))
    assert_split(pair.train, other['train'])


@pytest.mark.parametrize('odd', ['w=[16,16]', 'a*b', 'what?', 'a b', 'a\\b', '{a}'])
def test_a_folder_of_any_name_is_taken_literally(odd, tmp_path, parts, pixels, write_tfds):
    decoy = {'train': pixels(9, seed=5), 'test': pixels(8, seed=6)}
    for neighbour in ('w=1', 'aab', 'whats', 'b'):  # what such names match as patterns
        write_tfds(tmp_path / neighbour, 'cifar10', decoy)
    write_tfds(tmp_path / odd, 'cifar10', parts)
    data = config.Data(name='cifar10', dir=str(tmp_path / odd), cache=str(tmp_path / odd / 'kept'))
    for _ in range(2):  # decoded, then from the cache
        assert_split(images.load(data).train, parts['train'])
        assert_split(images.load(data).test, parts['test'])
        assert list((tmp_path / odd / 'kept').glob('*.npz'))


@pytest.mark.parametrize('damage', ['cut', 'flip', 'empty'])
def test_a_damaged_cache_is_decoded_again_and_mended(
    damage, root, data, parts, write_tfds, monkeypatch, caplog
):
    write_tfds(root, 'cifar10', parts)
    images.load(data)
    (file,) = (root.parent / 'cache').iterdir()
    whole = file.read_bytes()
    middle = len(whole) // 2
    broken = {
        'cut': whole[:middle],
        'flip': whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        'empty': b'',
    }
    file.write_bytes(broken[damage])
    assert_split(images.load(data).train, parts['train'])
    assert 'decoding again' in caplog.text
    no_decoding(monkeypatch)
    assert_split(images.load(data).train, parts['train'])


def test_a_cache_folder_that_cannot_be_written_is_said_and_done_without(
    root, data, parts, write_tfds, caplog
):
    write_tfds(root, 'cifar10', parts)
    blocked = root / 'a_file'
    blocked.write_text('')
    pair = images.load(fields.replace(data, {'cache': str(blocked / 'cache')}))
    assert_split(pair.train, parts['train'])
    assert 'config.data.cache' in caplog.text


def test_a_write_leaves_nothing_but_the_cache_file(root, data, parts, write_tfds):
    write_tfds(root, 'cifar10', parts)
    images.load(data)
    assert [file.suffix for file in (root.parent / 'cache').iterdir()] == ['.npz']


def test_unset_folders_come_from_the_environment(tmp_path, root, parts, write_tfds, monkeypatch):
    write_tfds(root, 'cifar10', parts)
    monkeypatch.setenv('TFDS_DATA_DIR', str(root))
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert_split(images.load(config.Data(name='cifar10')).train, parts['train'])
    assert list((tmp_path / 'xdg' / 'resnet_dyn').glob('cifar10-*.npz'))


def test_the_newest_readable_version_is_taken(root, data, parts, pixels, write_tfds):
    newer = {'train': pixels(9, seed=5), 'test': pixels(8, seed=6)}
    write_tfds(root, 'cifar10', parts, version='3.0.2')
    write_tfds(root, 'cifar10', newer, version='3.0.10')
    write_tfds(root, 'cifar10', parts, version='3.1.0', info={'fileFormat': 'tfrecord'})
    assert_split(images.load(data).train, newer['train'])


def test_array_record_files_beside_tfrecord_ones_are_read(root, data, parts, write_tfds):
    info = {'fileFormat': 'tfrecord', 'alternativeFileFormats': ['array_record']}
    write_tfds(root, 'cifar10', parts, info=info)
    assert_split(images.load(data).train, parts['train'])


def test_an_absent_set_is_refused_with_the_folder_and_the_way_to_prepare_it(root, data):
    with pytest.raises(errors.DataError) as caught:
        images.load(data)
    text = str(caught.value)
    assert f'{root}/cifar10/<version>/dataset_info.json' in text
    call = f"tfds.builder('cifar10', data_dir='{root}', file_format='array_record')"
    assert f'{call}.download_and_prepare()' in text
    assert 'config.data.dir' in text and '\n' not in text


def test_an_absent_set_names_the_default_folder(tmp_path, monkeypatch):
    monkeypatch.delenv('TFDS_DATA_DIR', raising=False)
    monkeypatch.setenv('HOME', str(tmp_path))
    with pytest.raises(errors.DataError, match=r'TFDS_DATA_DIR') as caught:
        images.load(config.Data(name='svhn_cropped'))
    assert f'{tmp_path}/tensorflow_datasets/svhn_cropped' in str(caught.value)


@pytest.mark.parametrize('file_format', ['tfrecord', None], ids=['named', 'old_unnamed'])
def test_a_tfrecord_copy_is_refused_with_the_way_to_convert_it(
    file_format, root, data, parts, write_tfds
):
    folder = write_tfds(root, 'cifar10', parts)
    file = folder / 'dataset_info.json'
    info = json.loads(file.read_text())
    del info['fileFormat']
    file.write_text(json.dumps(info | ({'fileFormat': file_format} if file_format else {})))
    with pytest.raises(errors.DataError, match='as tfrecord alone') as caught:
        images.load(data)
    call = f"dataset_version_dir='{folder}', out_dir=None, out_file_format='array_record'"
    assert f'convert_format_utils.convert_dataset({call})' in str(caught.value)


@pytest.mark.parametrize(
    'damage',
    [
        'records_cut',
        'records_gone',
        'records_short',
        'features_gone',
        'features_of_no_module',
        'info_broken',
        'info_no_mapping',
        'no_split',
        'fewer_classes',
    ],
)
def test_a_copy_that_is_not_whole_is_refused(damage, root, data, parts, write_tfds):
    folder = write_tfds(root, 'cifar10', parts)
    records = folder / 'cifar10-test.array_record-00000-of-00001'
    info = folder / 'dataset_info.json'
    if damage == 'records_cut':
        records.write_bytes(records.read_bytes()[:-100])
    elif damage == 'records_gone':
        records.unlink()
    elif damage == 'records_short':
        info.write_text(info.read_text().replace('"12"', '"13"'))
    elif damage == 'features_gone':
        (folder / 'features.json').unlink()
    elif damage == 'features_of_no_module':
        features = folder / 'features.json'
        features.write_text(features.read_text().replace('features_dict', 'features_dicu'))
    elif damage == 'fewer_classes':
        features = folder / 'features.json'
        features.write_text(features.read_text().replace('"numClasses": "10"', '"numClasses": "3"'))
    elif damage == 'info_no_mapping':
        info.write_text('[1, 2]')
    elif damage == 'info_broken':
        info.write_text(info.read_text()[:-10])
    elif damage == 'no_split':
        info.write_text(info.read_text().replace('"test"', '"rest"'))
    with pytest.raises(errors.DataError, match=str(folder)):
        images.load(data)


@pytest.mark.parametrize('error', [SyntaxError, AttributeError, ImportError, zlib.error])
def test_whatever_the_libraries_raise_is_said_of_the_copy(
    error, root, data, parts, write_tfds, monkeypatch
):
    def fail(*_):
        raise error('broken PNG')

    write_tfds(root, 'cifar10', parts)
    monkeypatch.setattr(Image, 'open', fail)
    with pytest.raises(errors.DataError, match=f'{error.__name__}: broken PNG'):
        images.load(data)


@pytest.mark.parametrize(
    ('error', 'expected', 'words'),
    [
        (OSError(errno.EIO, 'Input/output error'), errors.DataError, 'see to its .* disk$'),
        (OSError(errno.EACCES, 'Permission denied'), errors.DataError, 'see to its permissions'),
        (OSError('image file is truncated'), errors.DataError, 'the copy is not whole'),
        (FileNotFoundError(errno.ENOENT, 'gone'), errors.DataError, 'the copy is not whole'),
        (MemoryError('too large'), MemoryError, 'too large'),
    ],
    ids=['disk', 'permission', 'truncated', 'gone', 'memory'],
)
def test_the_disk_and_the_memory_are_not_called_damage(
    error, expected, words, root, data, parts, write_tfds, monkeypatch
):
    def fail(*_):
        raise error

    write_tfds(root, 'cifar10', parts)
    monkeypatch.setattr(images, '_decode', fail)
    with pytest.raises(expected, match=words):
        images.load(data)


def test_the_reason_of_a_failure_stays_within_one_paragraph(
    root, data, parts, write_tfds, monkeypatch
):
    def fail(*_):
        raise RuntimeError('first line\n\tsecond line')

    write_tfds(root, 'cifar10', parts)
    monkeypatch.setattr(images, '_decode', fail)
    with pytest.raises(errors.DataError, match='RuntimeError: first line second line') as caught:
        images.load(data)
    assert '\n' not in str(caught.value)


def test_a_record_that_is_no_image_is_refused(root, data, parts, write_tfds, monkeypatch):
    monkeypatch.setattr(Image.Image, 'save', lambda self, stream, _: stream.write(b'no image'))
    folder = write_tfds(root, 'cifar10', parts)
    with pytest.raises(errors.DataError, match=str(folder)):
        images.load(data)


def test_grouped_records_are_read_without_an_error_in_the_log(
    root, data, parts, write_tfds, caplog
):
    write_tfds(root, 'cifar10', parts, group=8)
    assert_split(images.load(data).train, parts['train'])
    assert not [line for line in caplog.records if line.levelno >= logging.WARNING]
