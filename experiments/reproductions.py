"""Numbers that papers print of published networks, and what has to come out here.

    python -m launch.reproduce --name=shortgpt_llama2_7b --pretrained=FOLDER --workdir=W

Each row names the paper, what it says, the measure that says it here and the test that is passed
or failed. The weights are not here: whoever has the folder runs the row. Where the paper's texts
are other ones than those at hand, `text` says which to give by --text.

Effective depths (Hu et al. 2025) are those of the table that their code prints, whose thresholds
are 0.5 of the largest divergence and an overlap of 0.3; their text counts layers from 0.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn.analysis import effective_depth
from resnet_dyn.reports import said


class Verdict(NamedTuple):
    """What came out, in words, and whether it is what the paper says."""

    ours: str
    passed: bool


class Reproduction(NamedTuple):
    """A number of a paper."""

    paper: str
    place: str  # where it stands
    network: str  # what the folder has to be
    kind: str  # its model_type
    published: str  # the number, in words
    rule: str  # when ours is passed
    measure: str
    options: Mapping[str, Any]
    blocks: str  # of `pretrained.open`
    judge: Callable[[Any], Verdict]  # of the measure's record
    layers: int | None = None  # that the network has; None: any
    text: str = 'any text; the default is the documentation that comes with Python'
    sequences: int = 64
    length: int = 128


class LeastInfluence(NamedTuple):
    """The layers of least influence are these."""

    first: int
    last: int

    def __call__(self, record) -> Verdict:
        wanted = set(range(self.first, self.last + 1))
        order = np.argsort(said.mean_of_finite(record.block_influence_SL), kind='stable')
        least = sorted(map(int, order[: len(wanted)]))
        common = len(wanted & set(least))
        return Verdict(
            f'{", ".join(map(str, least))} ({common} of {len(wanted)})', common == len(wanted)
        )


class Depths(NamedTuple):
    """Effective depths, each within our interval over the sequences."""

    cosine: int
    divergence: int
    overlap: int

    def __call__(self, record) -> Verdict:
        parts = []
        for q, published in enumerate(self):
            depth, low, high = (x[0, q] for x in (record.depth_SQ, record.low_SQ, record.high_SQ))
            parts.append((f'{depth:.0f} [{low:.0f}, {high:.0f}]', bool(low <= published <= high)))
        words = (f'{by} {ours}' for by, (ours, _) in zip(effective_depth.BY, parts, strict=True))
        return Verdict(', '.join(words), all(passed for _, passed in parts))


class Kept(NamedTuple):
    """Shares of first guesses kept, mean over all layers but the first and the last, in percent."""

    low: float
    high: float

    def __call__(self, record) -> Verdict:
        means = []
        for kept_SX in (record.deleted_kept_SU, record.swapped_kept_SW):
            inner_X = said.mean_of_finite(kept_SX)[1:-1]
            means.append(100 * float(np.nanmean(inner_X)) if np.isfinite(inner_X).any() else np.nan)
        words = f'deletion {means[0]:.0f} %, swap {means[1]:.0f} %'
        return Verdict(words, all(self.low <= mean <= self.high for mean in means))


def _shortgpt(size: str, layers: int, first: int, last: int) -> Reproduction:
    return Reproduction(
        paper='Men et al. 2024, ShortGPT (arXiv 2403.03853)',
        place='the layers that are removed by block influence',
        network=f'Llama-2-{size} (meta-llama/Llama-2-{size}-hf)',
        kind='llama',
        published=f'layers {first} to {last}',
        rule='the same layers have the least influence',
        measure='influence',
        options={'over': 'token'},
        blocks='layers',
        judge=LeastInfluence(first, last),
        layers=layers,
    )


def _effective(dataset: str, depths: Depths) -> Reproduction:
    return Reproduction(
        paper='Hu et al. 2025 (arXiv 2512.14064)',
        place=f'the table of effective depths, {dataset}',
        network='Qwen2.5-1.5B-Instruct (Qwen/Qwen2.5-1.5B-Instruct)',
        kind='qwen2',
        published=', '.join(f'{by} {n}' for by, n in depths._asdict().items()),
        rule='each lies within the 95 % interval over sequences',
        measure='effective_depth',
        options={'divergence': 0.5, 'overlap': 0.3, 'over': 'token'},
        blocks='sublayers',
        judge=depths,
        layers=28,
        text=f'the first 10 examples of {dataset}, one a line (--text=FILE --lines)',
        sequences=10,
        length=400,
    )


def _lad(network: str, kind: str) -> Reproduction:
    return Reproduction(
        paper='Lad et al. 2024 (arXiv 2406.19384)',
        place='the abstract, deletion and swap of adjacent layers',
        network=network,
        kind=kind,
        published='72 to 95 % of the first guesses are kept',
        rule='both means, over all layers but the first and the last, lie between these',
        measure='layer_swaps',
        options={},
        blocks='layers',
        judge=Kept(72, 95),
    )


REPRODUCTIONS: dict[str, Reproduction] = {
    'shortgpt_llama2_7b': _shortgpt('7b', 32, 21, 29),
    'shortgpt_llama2_13b': _shortgpt('13b', 40, 26, 35),
    'effective_depth_hellaswag': _effective('hellaswag', Depths(16, 21, 23)),
    'effective_depth_gsm8k': _effective('gsm8k', Depths(20, 22, 23)),
    'effective_depth_aime24': _effective('aime24', Depths(19, 23, 23)),
    'lad_gpt2': _lad('GPT-2 of any size (openai-community/gpt2, -medium, -large, -xl)', 'gpt2'),
    'lad_pythia': _lad('Pythia of 410M to 6.9B (EleutherAI/pythia-410m, ...)', 'gpt_neox'),
}


def table() -> str:
    """The rows as lines of Markdown."""
    lines = ['| name | paper | network | published |', '|---|---|---|---|']
    lines += [
        f'| `{name}` | {row.paper}, {row.place} | {row.network} | {row.published} |'
        for name, row in REPRODUCTIONS.items()
    ]
    return '\n'.join(lines)
