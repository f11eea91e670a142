"""Which sublayers of a sentence encoder matter for the similarity of sentences?

    python -m launch.similarity --pretrained=FOLDER --workdir=build/similarity

Paragraphs of Python's own documentation (`pydoc_data.topics`, which comes with the interpreter) are
cut in two, and the first tokens of each half are embedded (mean over tokens, normalised) by every
sub-network. For each first half its second one is looked for among those of all other topics: wrong
where another is closer. All 2^L sub-networks are scored, so that Shapley values are exact;
intervals are over pairs, the candidates taken as they are. The best sub-network, of a size or of
all, is chosen on one half of the pairs and measured on the other.

To be expected of all-MiniLM-L6-v2, 12 sublayers: the last attention alone shows when it is deleted
by itself, and none is better absent beyond its interval (a trial on other text had two early
attentions better absent).
Device: 2 CPU cores beside other work, half an hour for all that there is (`--pairs=152
--length=32`).
"""

import contextlib
import dataclasses
import pathlib
import platform
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import stats

from resnet_dyn import errors, pretrained, records
from resnet_dyn.analysis import intervals
from resnet_dyn.kernels import interactions, lesions, masks
from resnet_dyn.models import stack
from resnet_dyn.plots import sentence_similarity as picture
from resnet_dyn.plots import style

PAIRS, LENGTH, LARGEST = 96, 16, 14
WORDS = 14  # of a half, before it is cut at its tokens
_NOTHING_AROUND = contextlib.nullcontext()


class SentenceSimilarity(NamedTuple):
    """What all 2^L sub-networks do, in the order of `masks.all_masks`, for N pairs."""

    names_L: np.ndarray
    topics_N: np.ndarray
    wrong_MN: np.ndarray  # uint8: whether another second half is closer
    rank_correlation_M: np.ndarray  # of all similarities with those of the whole network; NaN: none
    length: np.ndarray  # tokens of a half, at most
    python: np.ndarray  # whose documentation it is


class Pair(NamedTuple):
    """Two halves of a paragraph."""

    topic: str
    first: str
    second: str


class Found(NamedTuple):
    """What the record says, error rates in 0..1; intervals of 95 % over pairs."""

    whole: tuple[float, float, float]  # error of the whole network, and its exact interval
    empty: float  # error without any block
    shapley_L: np.ndarray  # error owed to each block; negative: it helps
    shapley_half_L: np.ndarray  # half widths
    single_L: np.ndarray  # error added by deleting each block alone
    single_half_L: np.ndarray
    single_rank_L: np.ndarray  # rank correlation without each block alone
    best_K: np.ndarray  # the sub-network of each size 0..L, chosen on a random half of the pairs
    best_error_K: np.ndarray  # and measured on the other half
    best: int  # that of any size, chosen on that half; of equal ones that of fewest blocks
    whole_other: float  # the whole network on the other half


class Result(NamedTuple):
    """Files that were written, and findings in words."""

    files: tuple[pathlib.Path, ...]
    findings: tuple[str, ...]


def run(
    folder,
    workdir,
    number: int = PAIRS,
    length: int = LENGTH,
    blocks: str = 'sublayers',
    report: Callable[[str], None] = print,
    computing: contextlib.AbstractContextManager = _NOTHING_AROUND,
) -> Result:
    """Scores all sub-networks of the encoder in a folder; similarity.npz, .png and .pdf in workdir.

    Raises PretrainedError for a folder that is no encoder of text with a tokenizer, or that has
    more than LARGEST blocks.
    """
    stem = pathlib.Path(workdir) / 'similarity'
    records.check_writable(workdir)
    with computing:
        record = measure(pretrained.open(folder, blocks), pairs(number), length, report)
    files = [records.save(f'{stem}.npz', record, records.provenance())]
    files += style.save(picture.draw(record, read(record)), stem)
    return Result(tuple(files), tuple(f'{claim}: {number}' for claim, number in numbers(record)))


def pairs(number: int) -> list[Pair]:
    """So many pairs, as evenly over the topics as they go: the first paragraph of each, and so on.

    Paragraphs of prose of at least 4 * WORDS words, each once; halves of WORDS words, from the
    beginning and from the middle.
    """
    from pydoc_data import topics

    seen, by_turn = set(), []
    for topic, text in sorted(topics.topics.items()):
        turn = 0
        for paragraph in re.split(r'\n\s*\n', text):
            found = paragraph.split()
            prose = not paragraph.startswith('   ') and '::=' not in paragraph
            if not prose or len(found) < 4 * WORDS or tuple(found) in seen:
                continue
            seen.add(tuple(found))
            middle = len(found) // 2
            halves = (' '.join(found[at : at + WORDS]) for at in (0, middle))
            by_turn.append((turn, Pair(topic, *halves)))
            turn += 1
    chosen = [pair for _, pair in sorted(by_turn)][:number]
    if len(chosen) < number:
        raise errors.DataError(
            f"{number} pairs: Python's documentation has {len(chosen)} paragraphs for them; take "
            'at most so many'
        )
    return chosen


def measure(
    opened: pretrained.Opened,
    chosen: list[Pair],
    length: int,
    report: Callable[[str], None] = lambda line: None,
) -> SentenceSimilarity:
    """The record of an encoder: lesions of all its sub-networks."""
    tokens_BT, mask_BT = opened.encode([*_column(chosen, 1), *_column(chosen, 2)], length)
    inputs = opened.inputs(tokens_BT, mask_BT)
    if not isinstance(inputs, dict) or jax.eval_shape(_output, opened.net, inputs).ndim != 3:
        raise errors.PretrainedError(
            'this network gives no state for each token: a sentence encoder such as all-MiniLM '
            '(model_type bert) is needed'
        )
    if (L := opened.net.num_blocks) > LARGEST:
        raise errors.PretrainedError(
            f'{2**L:,} sub-networks of {L} blocks: at most {LARGEST} blocks; take whole layers '
            '(--blocks=layers), or a smaller network'
        )
    net = dataclasses.replace(opened.net, head=Embedding(opened.net.head))
    topics_N = np.array(_column(chosen, 0))
    whole = jax.jit(_ranks_of)(jax.jit(_output)(net, inputs))
    score = Retrieval(len(chosen), whole, _candidates(topics_N))
    found = lesions.score(
        net,
        inputs,
        np.zeros(2 * len(chosen), int),
        masks.all_masks(L),
        {'wrong': score.wrong, 'rank': score.rank_correlation},
        progress=_said(report, f'{2**L:,} sub-networks'),
    )
    return SentenceSimilarity(
        np.array(opened.names),
        topics_N,
        found['wrong'].astype(np.uint8),
        found['rank'],
        np.array(length),
        np.array(platform.python_version()),
    )


@dataclasses.dataclass(frozen=True)
class Embedding:
    """The head of a sentence encoder: the mean over tokens that are no padding, of length 1."""

    head: Callable  # that of the encoder, (B, T, D)

    def __call__(self, params, h, context):
        h = stack.precise(self.head(params, h, context))
        weights = context['mask'][..., None].astype(h.dtype)
        mean_BD = (h * weights).sum(1) / weights.sum(1)
        return mean_BD / jnp.linalg.norm(mean_BD, axis=-1, keepdims=True)


@dataclasses.dataclass(frozen=True, eq=False)
class Retrieval:
    """Metrics of embeddings (2N, D), first halves before second halves."""

    number: int
    ranks: Any  # (N N,) of the whole network's similarities, standardised
    candidates: Any  # (N, N)

    def wrong(self, output, labels):
        """(N,) whether another candidate is closer to the first half than its own second half."""
        found = jnp.where(self.candidates, _similarities(output), -jnp.inf)
        return (found.argmax(1) != jnp.arange(self.number)).astype(jnp.float32)

    def rank_correlation(self, output, labels):
        """Spearman's, of all N N similarities with those of the whole network."""
        return (_ranks_of(output) * self.ranks).mean()


def read(record: SentenceSimilarity) -> Found:
    """What the record says of blocks."""
    wrong_MN = record.wrong_MN.astype(np.float64)
    (M, N), L = wrong_MN.shape, len(record.names_L)
    error_M, whole = wrong_MN.mean(1), M - 1
    without_L = whole - (1 << np.arange(L))
    low, high = stats.binomtest(int(wrong_MN[whole].sum()), N).proportion_ci(method='exact')
    shapley_L, shapley_half_L, _ = intervals.means(interactions.shapley(wrong_MN).T)
    single_L, single_half_L, _ = intervals.means((wrong_MN[without_L] - wrong_MN[whole]).T)
    kept_M = masks.all_masks(L).sum(1)
    mixed = np.random.default_rng(0).permutation(N)  # for pairs stand in the order of their topics
    half_M, other_M = (wrong_MN[:, rows].mean(1) for rows in (mixed[: N // 2], mixed[N // 2 :]))
    best_K = np.array([np.where(kept_M == k, half_M, np.inf).argmin() for k in range(L + 1)])
    return Found(
        (error_M[whole], low, high),
        error_M[0],
        shapley_L,
        shapley_half_L,
        single_L,
        single_half_L,
        record.rank_correlation_M[without_L],
        best_K,
        other_M[best_K],
        int(best_K[half_M[best_K].argmin()]),
        other_M[whole],
    )


def numbers(record: SentenceSimilarity) -> Iterator[tuple[str, str]]:
    """(claim, number) for the README."""
    found, names, L = read(record), record.names_L, len(record.names_L)
    on = f'among {len(record.topics_N)} pairs of at most {int(record.length)} tokens each'
    error, low, high = (100 * value for value in found.whole)
    yield (
        f'error of retrieval {on}, %: whole network [95 % interval]; without any sublayer',
        f'{error:.1f} [{low:.1f}, {high:.1f}]; {100 * found.empty:.1f}',
    )
    order = np.argsort(found.shapley_L)
    yield (
        f'exact Shapley values of its {L} sublayers, error owed in points: the three that help '
        'most; the three that help least',
        _listed(
            names, 100 * found.shapley_L, 100 * found.shapley_half_L, [*order[:3], *order[-3:]]
        ),
    )
    order = np.argsort(-found.single_L)
    yield (
        'error added by deleting one sublayer alone, points: the three largest; the three smallest',
        _listed(names, 100 * found.single_L, 100 * found.single_half_L, [*order[:3], *order[-3:]]),
    )
    ranks = np.argsort(found.single_rank_L)
    yield (
        'rank correlation of similarities without one sublayer with those of the whole network: '
        'lowest; highest',
        '; '.join(f'{names[l]} {found.single_rank_L[l]:.3f}' for l in ranks[[0, -1]]),
    )
    missing = names[masks.all_masks(L)[found.best] == 0]
    size = L - len(missing)
    yield (
        f'the best of all {2**L:,} sub-networks, chosen on half of the pairs: what it lacks; its '
        'error on the other pairs, and that of the whole network, %',
        f'{", ".join(missing) or "nothing"}; {100 * found.best_error_K[size]:.1f}, '
        f'{100 * found.whole_other:.1f}',
    )


def _listed(names, values, halves, chosen) -> str:
    return '; '.join(f'{names[l]} {values[l]:+.1f} ± {halves[l]:.1f}' for l in chosen)


def _output(net, inputs):
    return stack.apply(net, inputs, np.ones(net.num_blocks, np.float32))


def _similarities(embeddings):
    """(N, N), of first halves with second halves."""
    first, second = jnp.split(embeddings, 2)
    return first @ second.T


def _ranks_of(embeddings):
    """Ranks of all similarities, with mean 0 and variance 1."""
    flat = _similarities(embeddings).reshape(-1)
    ranks = jnp.argsort(jnp.argsort(flat)).astype(jnp.float32)
    return (ranks - ranks.mean()) / ranks.std()


def _candidates(topics_N) -> np.ndarray:
    """Which second halves are looked at for each first half: its own, and those of other topics."""
    return (topics_N[:, None] != topics_N[None]) | np.eye(len(topics_N), dtype=bool)


def _column(chosen: list[Pair], i: int) -> list[str]:
    return [pair[i] for pair in chosen]


def _said(report: Callable[[str], None], what: str) -> Callable[[int, int], None]:
    """progress(done, total) as a line for each tenth."""
    tenths = [0]

    def progress(done: int, total: int) -> None:
        if 10 * done // total > tenths[0]:
            tenths[0] = 10 * done // total
            report(f'{what}: {10 * tenths[0]} %')

    return progress
