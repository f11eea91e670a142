"""Text as sequences of characters: what follows what, parts that do not meet, what is refused."""

import numpy as np
import pytest

from resnet_dyn import config, errors
from resnet_dyn.data import batches, datasets, text


def data(**values):
    return config.part('data', {'name': 'text', **values})


@pytest.fixture
def write(tmp_path):
    def written(content, **values):
        (tmp_path / 'mine.txt').write_bytes(content)
        return data(dir=str(tmp_path / 'mine.txt'), **values)

    return written


def characters(split):
    return split.inputs.ravel()


def test_labels_are_the_next_characters_and_the_parts_are_contiguous(write):
    rng = np.random.default_rng(0)
    words = ''.join(rng.choice(list('abcdeé🦆'), 403))
    pair = text.load(write(words.encode(), length=8))
    kinds = sorted(set(words))
    assert pair.classes == len(kinds) == 7 and pair.note == 'mine.txt, 403 characters'
    cut = 362  # nine tenths
    for split, part in ((pair.train, words[:cut]), (pair.test, words[cut:])):
        number = (len(part) - 1) // 8
        assert split.inputs.shape == split.labels.shape == (number, 8)
        assert split.inputs.dtype == split.labels.dtype == np.int32
        read = ''.join(np.array(kinds)[characters(split)])
        assert read == part[: 8 * number]
        np.testing.assert_array_equal(split.labels.ravel()[:-1], characters(split)[1:])
        assert kinds[split.labels[-1, -1]] == part[8 * number]


def test_pythons_own_documents_are_there_each_paragraph_once():
    dataset = datasets.load(data())
    assert dataset.source.note.startswith('pydoc_data.topics of Python 3.')
    assert dataset.train.inputs.shape[1] == 64 and len(dataset.train.inputs) > 2_000
    assert 50 < dataset.classes < 500
    words, _ = text._of_python()
    paragraphs = [' '.join(p.split()) for p in words.split('\n\n')]
    long = [paragraph for paragraph in paragraphs if len(paragraph) > 80]
    assert len(set(long)) == len(long) > 500


def test_tokens_are_taken_as_they_are_and_a_part_of_them_at_random(write):
    dataset = datasets.load(write(b'abcabcaabb' * 200, length=4, train_size=30, test_size=5))
    assert dataset.train.inputs.shape == (30, 4) and dataset.test.labels.shape == (5, 4)
    inputs = batches.normalise(dataset.train.inputs, dataset.mean, dataset.std)
    assert inputs.dtype == np.int32
    np.testing.assert_array_equal(inputs, dataset.train.inputs)


def test_another_text_is_another_data_set(write):
    first = datasets.load(write(b'abcabcaabb' * 50, length=4)).source
    again = datasets.load(write(b'abcabcaabb' * 50, length=4)).source
    other = datasets.load(write(b'abcabcaabb' * 49 + b'abcabbaabb', length=4)).source
    assert first == again and first.digest != other.digest


@pytest.mark.parametrize(
    ('content', 'message'),
    [
        (b'\xff\xfe' * 100, 'is no text in UTF-8'),
        (b'ab' * 40, 'config.data.length=8, and its characters must differ'),
        (b'a' * 4000, 'of 1 kinds'),
        (b'', 'has 0 characters'),
    ],
)
def test_a_file_that_is_no_text_or_too_short_is_refused(content, message, write):
    with pytest.raises(errors.DataError, match=message):
        text.load(write(content, length=8))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(errors.DataError, match=r'nowhere\.txt .* cannot be read'):
        text.load(data(dir=str(tmp_path / 'nowhere.txt')))


@pytest.mark.parametrize(
    ('values', 'message'),
    [
        ({'model.family': 'cifar_resnet'}, 'text is for the transformer'),
        ({'data.name': 'digits'}, 'text is for the transformer'),
        ({'data.augment': True}, 'crops and flips images'),
        ({'data.label_noise': 0.1}, 'its own characters'),
        ({'train.nesterov': False}, 'it is for sgd alone'),
    ],
)
def test_what_text_and_transformers_have_no_use_for_is_refused(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.parse({'model.family': 'transformer', 'data.name': 'text'} | values)
