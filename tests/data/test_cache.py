"""The cache: a file that lost a bit is said to be the cache's, and is made anew."""

import zipfile

import numpy as np
import pytest

from resnet_dyn.data import cache, splits

LABELS = np.arange(6, dtype=np.int32) % 3
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 2, 2, 1), dtype=np.uint8)
PAIR = splits.Pair(splits.Split(IMAGES, LABELS), splits.Split(IMAGES[:2], LABELS[:2]), 3, 'a note')


def assert_same(pair):
    assert (pair.classes, pair.note) == (3, 'a note')
    for found, expected in zip((*pair.train, *pair.test), (*PAIR.train, *PAIR.test), strict=True):
        np.testing.assert_array_equal(found, expected, strict=True)


@pytest.mark.parametrize('folder', ['w=[16,16]', 'a*b', 'what?', 'a b', 'a\\b', '{a}', '%s'])
def test_a_folder_of_any_name_is_taken_literally(folder, tmp_path):
    for neighbour in ('w=1', 'aab', 'whats'):  # what such names match as patterns
        (tmp_path / neighbour).mkdir()
    file = cache.path(str(tmp_path / folder / 'deep'), 'cifar10', 'f' * 64)
    cache.write(file, PAIR)
    assert file.parent == tmp_path / folder / 'deep' and [*file.parent.iterdir()] == [file]
    assert not any(any((tmp_path / name).iterdir()) for name in ('w=1', 'aab', 'whats'))
    assert_same(cache.read(file))


def test_a_flipped_bit_costs_the_cache_one_warning_and_no_more(tmp_path, caplog):
    file = tmp_path / 'c.npz'
    cache.write(file, PAIR)
    content = file.read_bytes()
    for at in range(0, len(content), 7):
        caplog.clear()
        broken = bytearray(content)
        broken[at] ^= 1 << at % 8
        file.write_bytes(broken)
        pair = cache.read(file)
        if pair is not None:
            assert_same(pair)
        lines = [line.getMessage() for line in caplog.records]
        assert len(lines) == (pair is None)
        assert all(f'cache {file}' in line for line in lines)


def test_an_archive_of_something_else_is_no_cache(tmp_path, caplog):
    file = tmp_path / 'c.npz'
    np.savez(file, images=IMAGES)
    assert cache.read(file) is None and 'lacks' in caplog.text
    cache.write(file, PAIR)
    assert_same(cache.read(file))


def test_a_disk_that_fails_costs_the_cache_alone(tmp_path, monkeypatch, caplog):
    def fail(*_, **__):
        raise PermissionError(13, 'Permission denied')

    cache.write(tmp_path / 'c.npz', PAIR)
    monkeypatch.setattr(zipfile, 'ZipFile', fail)
    assert cache.read(tmp_path / 'c.npz') is None and 'Permission denied' in caplog.text


def test_what_is_not_there_is_no_matter_for_a_warning(tmp_path, caplog):
    assert cache.read(tmp_path / 'c.npz') is None and not caplog.records
