"""The study of sentences at toy size: an encoder of one layer, whose weights are random."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tokenizers
from safetensors.numpy import save_file
from scipy import stats

from experiments import readme_rows
from experiments import sentence_similarity as study
from resnet_dyn import errors, pretrained, records
from resnet_dyn.kernels import masks
from resnet_dyn.models import stack
from resnet_dyn.pretrained import bert, settings

NUMBER, LENGTH = 12, 8
CONFIG = {
    'model_type': 'bert',
    'vocab_size': 40,
    'hidden_size': 8,
    'num_hidden_layers': 1,
    'num_attention_heads': 2,
    'intermediate_size': 12,
    'max_position_embeddings': LENGTH,
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp('encoder')
    (path / 'config.json').write_text(json.dumps(CONFIG))
    layout, random = bert.layout(settings.Settings(CONFIG, 'c'), 'layers'), np.random.default_rng(0)
    arrays = {
        name: random.standard_normal(leaf.shape, np.float32)
        for leaf in jax.tree.leaves(layout.leaves)
        for name in leaf.names
    }
    save_file(arrays, path / 'model.safetensors')
    counted = {}
    for pair in study.pairs(NUMBER):
        for word in f'{pair.first} {pair.second}'.split():
            counted[word] = counted.get(word, 0) + 1
    common = sorted(counted, key=counted.get)[-39:]
    vocabulary = {word: i for i, word in enumerate(['[UNK]', *common])}
    model = tokenizers.models.WordLevel(vocabulary, unk_token='[UNK]')
    tokenizer = tokenizers.Tokenizer(model)
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path / 'tokenizer.json'))
    return path


def test_pairs_are_halves_of_paragraphs_of_as_many_topics_as_there_are():
    found = study.pairs(30)
    assert len({pair.topic for pair in found}) == 30
    assert all(len(half.split()) == study.WORDS for pair in found for half in pair[1:])
    assert len({pair.first for pair in study.pairs(100)}) >= 95
    with pytest.raises(errors.DataError, match=r'100000 pairs: .* at most so many'):
        study.pairs(100_000)


def test_all_sub_networks_are_scored_as_one_by_one(folder):
    opened = pretrained.open(folder)
    chosen = [pair._replace(topic=str(i // 3)) for i, pair in enumerate(study.pairs(NUMBER))]
    record = study.measure(opened, chosen, LENGTH)
    halves = [pair.first for pair in chosen] + [pair.second for pair in chosen]
    tokens_BT, mask_BT = opened.encode(halves, LENGTH)
    run, similarities = jax.jit(stack.apply), []
    for mask_L in masks.all_masks(2):
        h_BTD = np.asarray(run(opened.net, opened.inputs(tokens_BT, mask_BT), jnp.asarray(mask_L)))
        mean_BD = np.stack([h[seen].mean(0) for h, seen in zip(h_BTD, mask_BT, strict=True)])
        mean_BD /= np.sqrt((mean_BD**2).sum(1, keepdims=True))
        similarities.append(mean_BD[:NUMBER] @ mean_BD[NUMBER:].T)
    for m, found_NN in enumerate(similarities):
        rank = stats.spearmanr(found_NN.ravel(), similarities[-1].ravel()).statistic
        np.testing.assert_allclose(record.rank_correlation_M[m], rank, atol=1e-2)
        for n in range(NUMBER):
            others = [found_NN[n, k] for k in range(NUMBER) if chosen[k].topic != chosen[n].topic]
            assert record.wrong_MN[m, n] == (max(others) > found_NN[n, n])
    assert 0 < record.wrong_MN.mean() < 1
    assert list(record.names_L) == ['0.attention', '0.mlp']


def of_two_blocks() -> study.SentenceSimilarity:
    """Block 0 brings half of the pairs by itself, block 1 the others, but not alone."""
    return study.SentenceSimilarity(
        np.array(['0.attention', '0.mlp']),
        np.arange(8).astype(str),
        np.array([[1] * 8, [1] * 4 + [0] * 4, [1] * 8, [0] * 8], np.uint8),
        np.array([0.1, 0.6, 0.2, 1.0]),
        np.array(16),
        np.array('3.11'),
    )


def test_what_is_read_in_a_record():
    record = of_two_blocks()
    found = study.read(record)
    np.testing.assert_allclose(found.whole, (0, 0, 0.3694), atol=1e-4)  # 1 - 0.025^(1/8)
    assert found.empty == 1
    np.testing.assert_allclose(found.shapley_L, [-0.75, -0.25])  # sums to 0 - 1
    np.testing.assert_allclose(found.single_L, [1, 0.5])
    np.testing.assert_allclose(found.single_rank_L, [0.2, 0.6])
    assert list(found.best_K) == [0, 1, 3] and found.best == 3
    np.testing.assert_allclose(found.best_error_K, [1, 0.5, 0])
    texts = dict(study.numbers(record))
    assert '0.0 [0.0, 36.9]; 100.0' in texts.values()
    assert any(text.startswith('0.attention -75.0 ± 2') for text in texts.values())
    assert 'nothing; 0.0, 0.0' in texts.values()


def test_the_rows_of_the_readme_say_how_many_pairs_and_what_was_found(tmp_path):
    records.save(tmp_path / 'similarity' / 'similarity.npz', of_two_blocks(), records.provenance())
    rows = readme_rows.read('similarity', tmp_path)
    assert [(row.claim, row.number) for row in rows] == list(study.numbers(of_two_blocks()))
    assert {row.n for row in rows} == {'8 pairs'}


def test_a_run_writes_its_record_and_its_picture(folder, tmp_path, sketched):
    said = []
    result = study.run(folder, tmp_path, NUMBER, LENGTH, 'layers', said.append)
    record, _ = records.load(tmp_path / 'similarity.npz', study.SentenceSimilarity)
    assert record.wrong_MN.shape == (2, NUMBER) and list(record.names_L) == ['0.layer']
    assert {path.name for path in result.files} == {
        f'similarity.{e}' for e in ('npz', 'png', 'pdf')
    }
    assert said and len(result.findings) == 5


def test_networks_of_other_kinds_and_sizes_are_refused(folder, monkeypatch):
    monkeypatch.setattr(study, 'LARGEST', 1)
    with pytest.raises(errors.PretrainedError, match='4 sub-networks of 2 blocks: at most 1'):
        study.measure(pretrained.open(folder), study.pairs(4), LENGTH)
    opened = pretrained.open(folder)
    logits = opened._replace(net=opened.net.__class__(**{**vars(opened.net), 'head': first_token}))
    with pytest.raises(errors.PretrainedError, match='no state for each token'):
        study.measure(logits, study.pairs(4), LENGTH)


def first_token(params, h, context):
    return h[:, 0]
