"""Archives: what is read is what was written, or is refused; no bit is lost without a word."""

import errno
import io
import zipfile

import numpy as np
import pytest

from resnet_dyn import errors
from resnet_dyn.data import archive

COMPRESSIONS = {
    'stored': zipfile.ZIP_STORED,
    'deflate': zipfile.ZIP_DEFLATED,
    'bzip2': zipfile.ZIP_BZIP2,
    'lzma': zipfile.ZIP_LZMA,
}
ARRAYS = {
    'images': np.random.default_rng(0).integers(0, 256, (7, 4, 4), dtype=np.uint8),
    'labels': np.arange(7, dtype=np.int32) % 3,
}


def as_npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def as_zip(members, compression=zipfile.ZIP_STORED):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, 'w', compression) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return stream.getvalue()


def whole(compression):
    members = {f'{key}.npy': as_npy(array) for key, array in ARRAYS.items()}
    return as_zip(members, COMPRESSIONS[compression])


def assert_sound(found):
    assert list(found) == list(ARRAYS)
    for key, array in ARRAYS.items():
        np.testing.assert_array_equal(found[key], array, strict=True)


@pytest.mark.parametrize('compression', COMPRESSIONS)
def test_every_compression_of_zip_is_read(compression, tmp_path):
    file = tmp_path / 'a.npz'
    file.write_bytes(whole(compression))
    assert_sound(archive.read(file, list(ARRAYS)))


@pytest.mark.parametrize(
    ('compression', 'stride'), [('deflate', 1), ('stored', 4), ('bzip2', 4), ('lzma', 4)]
)
def test_a_flipped_bit_at_any_byte_is_refused_or_does_no_harm(compression, stride, tmp_path):
    file, content = tmp_path / 'a.npz', whole(compression)
    harmless = 0
    for at in range(0, len(content), stride):
        broken = bytearray(content)
        broken[at] ^= 1 << at // stride % 8
        file.write_bytes(broken)
        try:
            found = archive.read(file, list(ARRAYS))
        except errors.DataError as error:
            assert str(file) in str(error) and '\n' not in str(error)
        else:
            assert_sound(found)
            harmless += 1
    assert 50 < harmless * stride < len(content) / 3, (
        'dates, versions and attributes, twice a member'
    )


@pytest.mark.parametrize('end', range(0, 1_100, 137))
def test_a_file_that_was_cut_is_refused(end, tmp_path):
    file = tmp_path / 'a.npz'
    file.write_bytes(whole('deflate')[: min(end, len(whole('deflate')) - 1)])
    with pytest.raises(errors.DataError, match=r'a\.npz cannot be read as a \.npz'):
        archive.read(file, list(ARRAYS))


def test_a_header_that_asks_for_less_than_there_is_is_refused(tmp_path):
    file, rows = tmp_path / 'a.npz', np.arange(40_000, dtype=np.uint8)
    file.write_bytes(as_zip({'rows.npy': as_npy(rows).replace(b'(40000,)', b'(30000,)')}))
    with pytest.raises(errors.DataError, match='goes on behind its array'):
        archive.read(file, ['rows'])
    file.write_bytes(as_zip({'rows.npy': as_npy(rows)}).replace(b'(40000,)', b'(30000,)'))
    assert len(np.load(file)['rows']) == 30_000, 'NumPy looks at no checksum'
    with pytest.raises(errors.DataError, match=r'CRC|goes on'):
        archive.read(file, ['rows'])


def encrypted(content):
    """With the flag of encryption in the central directory of the first member."""
    at = content.index(b'PK\x01\x02') + 8
    return content[:at] + bytes([content[at] | 1]) + content[at + 1 :]


def of_method(content, method):
    at = content.index(b'PK\x01\x02') + 10
    return content[:at] + bytes([method]) + content[at + 1 :]


OTHERS = {
    'encrypted': (encrypted(whole('deflate')), 'encrypted'),
    'unknown_compression': (of_method(whole('deflate'), 97), 'compression method'),
    'no_npy': (as_zip({'images.npy': b'text, not an array', 'labels.npy': b''}), 'magic string'),
    'empty_member': (as_zip({'images.npy': b'', 'labels.npy': b''}), 'ValueError|EOF'),
    'objects': (as_zip({'images.npy': as_npy(np.array([{}])), 'labels.npy': b''}), 'pickle'),
    'a_member_less': (as_zip({'images.npy': as_npy(ARRAYS['images'])}), 'lacks labels and has im'),
    'no_member': (as_zip({}), 'lacks images, labels and has nothing'),
    'more_than_memory': (
        as_zip({'images.npy': as_npy(ARRAYS['images']).replace(b'(7, 4, 4)', b'(7,9**9)')}),
        'images',
    ),
    'npy': (as_npy(ARRAYS['images']), 'not a zip file'),
}


@pytest.mark.parametrize('other', OTHERS)
def test_what_holds_no_plain_arrays_is_refused_with_the_reason(other, tmp_path):
    content, reason = OTHERS[other]
    (tmp_path / 'a.npz').write_bytes(content)
    with pytest.raises(errors.DataError, match=reason) as caught:
        archive.read(tmp_path / 'a.npz', list(ARRAYS))
    assert '\n' not in str(caught.value)


def test_a_disk_that_fails_is_not_called_damage(tmp_path, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.EIO, 'Input/output error')

    (tmp_path / 'a.npz').write_bytes(whole('stored'))
    monkeypatch.setattr(zipfile, 'ZipFile', fail)
    with pytest.raises(OSError, match='Input/output'):
        archive.read(tmp_path / 'a.npz', list(ARRAYS))
