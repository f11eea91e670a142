"""Which statements of Littwin & Wolf (2016) hold, as stated and corrected, when put to numbers?

    make theorems
    python -m launch.theorems --workdir=build/theorems         (--max_lambda=8: larger searches)

One row a lemma, theorem, equation or erratum: the statement, the setting, what it predicts, what
was measured, and a verdict computed from the two. Where the paper's statement fails, the row after
it holds with the hypothesis, factor or range that was missing. Slips of notation (in eqs 26, 28
and 30) have no row of their own.

Three pictures, each beside the record it was drawn from: `counts`, the critical points found by
search in spin glasses of up to `max_lambda` weights, against exact Kac-Rice means; `finite_sizes`,
why eq 31 is out of reach of such sizes; `descents`, H against E_th while the mixture deepens.

To expect: all corrected rows hold; of those as stated, Theorem 1 (never a unique argmax under its
own hypothesis), Theorem 3 (both steps at once), Theorem 4 (C can shrink), Lemma 2, eq 20, eq 31
below beta* and four smaller ones fail. Two minutes on 2 cores (max_lambda = 8: four); `fast`: half.
"""

import contextlib
import json
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax

from experiments.theorems import batch_norm, counts, covariance, depth, descent, growth, table
from resnet_dyn import records
from resnet_dyn.plots import style
from resnet_dyn.plots import theorems as pictures

SIZES = range(2, 9)
SAMPLES = (400, 400, 400, 80, 40, 20, 10)  # spin glasses of each mixture, by size
_NOTHING_AROUND = contextlib.nullcontext()


class Result(NamedTuple):
    """The rows of the table and the files that were written."""

    rows: tuple[table.Row, ...]
    files: tuple[pathlib.Path, ...]


class Settings(NamedTuple):
    """How much is done."""

    samples: tuple[int, ...]  # by Lambda = 2, 3, ..
    exact_sizes: tuple[int, ...]
    descent_sizes: tuple[int, ...]
    seeds: int
    steps: int
    starts: int


def settings(max_lambda: int = 4, fast: bool = False) -> Settings:
    """The sizes of a run. ValueError unless max_lambda is one of SIZES."""
    if max_lambda not in SIZES:
        raise ValueError(
            f'max_lambda is {max_lambda}: expected a number of weights from {SIZES[0]} to '
            f'{SIZES[-1]}, beyond which a search takes too long'
        )
    samples = SAMPLES[: max_lambda - 1]
    if fast:
        fewer = tuple(max(8, n // 10) for n in samples)
        return Settings(fewer, (5, 10, 20, 40), (16, 48), 4, 400, 8)
    return Settings(samples, (5, 8, 12, 20, 35, 60, 100), (16, 32, 64), 32, 1500, 64)


def run(
    workdir,
    max_lambda: int = 4,
    fast: bool = False,
    report: Callable[[str], None] = print,
    computing: contextlib.AbstractContextManager = _NOTHING_AROUND,
) -> Result:
    """Computes every row, prints the table, and writes it with pictures and records to `workdir`.

    Args:
      workdir: a folder, made if need be. Written: theorems.txt, .md and .json (the table), and
        counts, finite_sizes and descents as .png, .pdf and .npz (records with provenance).
      max_lambda: the largest number of weights for which critical points are searched, 2 to 8.
      fast: fewer samples, seeds and steps; labelled so in the table's provenance.
      report: takes each line of text.
      computing: a context around all that comes before the first file, entered once.
    """
    chosen, started = settings(max_lambda, fast), time.monotonic()
    workdir = pathlib.Path(workdir)
    records.check_writable(workdir)
    with computing, jax.enable_x64(True):
        rows, found = measure(chosen, fast, report)
    origin = records.provenance(
        {'max_lambda': max_lambda, 'fast': fast, **chosen._asdict()},
        seed=0,
        wall_time=time.monotonic() - started,
    )
    files = [*_write_table(workdir, rows, origin), *_write_pictures(workdir, found, origin)]
    report('')
    report(table.as_text(rows))
    report('\n'.join(map(str, files)))
    return Result(tuple(rows), tuple(files))


def measure(chosen: Settings, fast: bool, report) -> tuple[list[table.Row], dict]:
    """All rows, and the records behind the pictures by name; in float64, if that is switched on."""
    report('depth laws: Lemmas 2 and 4, Theorems 1 and 2')
    rows = list(depth.rows(fast))
    report('batch normalisation: eq 20')
    rows += batch_norm.rows(fast)
    report('growth of gammas and of the scale: Theorems 3 and 4')
    rows += growth.rows(fast)
    report('the spin glass: eqs 26 to 28; critical points: searches against Kac-Rice')
    rows += covariance.rows(fast)
    found = {'counts': counts.count(list(SIZES)[: len(chosen.samples)], chosen.samples, report)}
    rows += counts.count_rows(found['counts'])
    report('exponents of eq 31, Theorem 5')
    found['finite_sizes'] = counts.finite_sizes(chosen.exact_sizes)
    rows += counts.exponent_rows(found['finite_sizes'], 20 if fast else 50)
    rows.append(counts.theorem_5(chosen.starts))
    report('descents')
    found['descents'] = descent.run(chosen.descent_sizes, chosen.seeds, chosen.steps)
    rows += descent.rows(found['descents'])
    return rows, found


def _write_table(workdir: pathlib.Path, rows: Sequence[table.Row], origin) -> list[pathlib.Path]:
    entries = [row._asdict() | {'holds': bool(row.holds), 'verdict': row.verdict} for row in rows]
    texts = {
        'theorems.txt': table.as_text(rows) + '\n',
        'theorems.md': table.as_markdown(rows),
        'theorems.json': json.dumps({'rows': entries, 'provenance': origin}, indent=1) + '\n',
    }
    return [records.write_text(workdir / name, text) for name, text in texts.items()]


def _write_pictures(workdir: pathlib.Path, found: dict, origin) -> list[pathlib.Path]:
    draw = {
        'counts': pictures.draw_counts,
        'finite_sizes': pictures.draw_finite_sizes,
        'descents': pictures.draw_descents,
    }
    files = []
    for name, record in found.items():
        files.append(records.save(workdir / f'{name}.npz', record, origin))
        with style.context():
            files += style.save(draw[name](record), workdir / name)
    return files
