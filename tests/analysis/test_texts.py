"""Sequences cut from a text by a tokenizer of words; labels that follow; what is refused."""

import numpy as np
import pytest
import tokenizers
from tokenizers import models, pre_tokenizers, processors

from resnet_dyn import errors
from resnet_dyn.analysis import texts

TEXT = ' '.join(f'w{i}' for i in range(50))


@pytest.fixture(scope='module')
def plain():
    """w0, w1, .. are the tokens 3, 4, ..; 'a' is 2."""
    words = {'[CLS]': 0, '[SEP]': 1, 'a': 2} | {f'w{i}': i + 3 for i in range(50)}
    made = tokenizers.Tokenizer(models.WordLevel(words, unk_token='a'))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


@pytest.fixture(scope='module')
def special(plain):
    """The same with [CLS] and [SEP] around, which cuts and fills up where it is not told."""
    made = tokenizers.Tokenizer.from_str(plain.to_str())
    made.post_processor = processors.TemplateProcessing(
        single='[CLS] $A [SEP]', special_tokens=[('[CLS]', 0), ('[SEP]', 1)]
    )
    made.enable_truncation(4)
    made.enable_padding(length=9)
    return made


def test_pieces_follow_the_text_do_not_overlap_and_depend_on_the_seed(plain):
    found = texts.of_text(plain, TEXT, 'a book', 5, 7, seed=3)
    assert found.tokens_BT.shape == (5, 7) and found.mask_BT.all()
    np.testing.assert_array_equal(np.diff(found.tokens_BT, axis=1), 1)
    assert len(np.unique(found.tokens_BT)) == 35 and (np.diff(found.tokens_BT[:, 0]) > 0).all()
    again = texts.of_text(plain, TEXT, 'a book', 5, 7, seed=3)
    np.testing.assert_array_equal(again.tokens_BT, found.tokens_BT)
    others = [texts.of_text(plain, TEXT, 'a book', 5, 7, seed=s).tokens_BT for s in range(5)]
    assert any(not np.array_equal(other, found.tokens_BT) for other in others)
    assert len(texts.of_text(plain, TEXT, 'a book', 99, 7).tokens_BT) == 7  # all that there are


def test_what_a_tokenizer_puts_around_a_text_stands_around_each_piece(special):
    found = texts.of_text(special, TEXT, 'a book', 3, 6)
    np.testing.assert_array_equal(found.tokens_BT[:, [0, -1]], [[0, 1]] * 3)
    np.testing.assert_array_equal(np.diff(found.tokens_BT[:, 1:-1], axis=1), 1)


def test_lines_are_sequences_each_and_end_where_they_end(special):
    found = texts.of_lines(special, 'w0 w1 w2 w3 w4 w5\n\n w7\n', 'a list', 9, 6)
    np.testing.assert_array_equal(found.tokens_BT, [[0, 3, 4, 5, 6, 1], [0, 10, 1, 0, 0, 0]])
    np.testing.assert_array_equal(found.mask_BT.sum(1), [6, 3])


def test_every_token_is_asked_for_the_next_one_that_is_there():
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 0, 0]], bool)
    sequences = texts.Sequences(np.arange(12).reshape(3, 4) * mask, mask, '')
    tokens, there, labels = texts.next_tokens(sequences)
    np.testing.assert_array_equal(labels, [[1, 2, 3], [5, 6, -1], [9, -1, -1]])
    np.testing.assert_array_equal(there, mask[:, :-1])
    np.testing.assert_array_equal(tokens[0], [0, 1, 2])


@pytest.mark.parametrize(
    ('array', 'length', 'tokens', 'counts'),
    [
        (np.arange(20), 5, (3, 5), [5, 5, 5]),
        ([[1, 2, 3, -1], [4, 5, -1, -1], [6, 7, 8, 9]], None, (3, 4), [3, 2, 4]),
        ([[1, 2, 3, -1], [4, 5, -1, -1], [6, 7, 8, 9]], 2, (3, 2), [2, 2, 2]),
    ],
)
def test_arrays_are_texts_or_sequences(tmp_path, array, length, tokens, counts):
    np.save(tmp_path / 'tokens.npy', array)
    found = texts.of_file(tmp_path / 'tokens.npy', 3, length)
    assert found.tokens_BT.shape == tokens
    np.testing.assert_array_equal(found.mask_BT.sum(1), counts)


def test_there_is_a_text_wherever_python_is():
    text, source = texts.default()
    assert len(text) > 200_000 and 'pydoc_data' in source


@pytest.mark.parametrize(
    ('array', 'message'),
    [
        (np.zeros((2, 3)), 'tokens are whole numbers'),
        (np.array([[1, -1, 2]]), 'has -1 between tokens'),
        (np.array([[1, -1, -1]]), 'no sequence has two tokens'),
        (np.zeros((0, 3), int), 'holds no token'),
        (np.arange(3), r'has 3 tokens, and a sequence of 5 needs 5'),
    ],
)
def test_arrays_that_are_no_tokens_are_refused(tmp_path, array, message):
    np.save(tmp_path / 'tokens.npy', array)
    with pytest.raises(errors.DataError, match=message):
        texts.of_file(tmp_path / 'tokens.npy', 2, 5)


def test_files_that_are_no_texts_are_refused(tmp_path, plain):
    (tmp_path / 'bytes').write_bytes(b'\xff\xfe\x00')
    with pytest.raises(errors.DataError, match='plain text in UTF-8'):
        texts.read(tmp_path / 'bytes')
    with pytest.raises(errors.DataError, match='whole numbers'):
        texts.of_file(tmp_path / 'bytes', 1, 2)
    with pytest.raises(errors.DataError, match='no line that is not blank'):
        texts.of_lines(plain, ' \n', 'nothing', 1, 4)
