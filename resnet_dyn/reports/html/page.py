"""The page: all runs, claims and charts in one file of HTML that asks nothing of any network.

The libraries of the charts stand in it once. Its policy lets the browser fetch nothing and run no
script but the two that are written here, so that text from a config or the name of a folder cannot
do either, wherever it stands.
"""

import base64
import functools
import hashlib
import importlib.resources
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from resnet_dyn import records
from resnet_dyn.reports import claims
from resnet_dyn.reports.html import charts, comparison, long_form, markup, reading, sections
from resnet_dyn.reports.html import data as data_lib
from resnet_dyn.reports.html.markup import Markup, element, text

TITLE = 'Depth over training'


def write(
    folder, found: reading.Reading, verdicts: Sequence[claims.Verdict] = ()
) -> tuple[pathlib.Path, pathlib.Path]:
    """Writes report.html and report.csv into a folder; the two paths.

    Raises RecordError where they cannot be written.
    """
    origin = records.provenance()
    page = render(found, verdicts, (origin['command'], origin['date']))
    page = page.encode('utf-8', 'backslashreplace').decode()  # names of folders may be any bytes
    folder = pathlib.Path(folder)
    return (
        records.write_text(folder / 'report.html', page),
        long_form.write(folder / 'report.csv', found.runs),
    )


def render(
    found: reading.Reading,
    verdicts: Sequence[claims.Verdict] = (),
    made_by: tuple[str, str] = ('', ''),
) -> str:
    """The whole page of at least one run; `made_by` are the command and the date of the page."""
    runs = found.runs
    numbers = data_lib.of(runs)
    specs, chart_sections = _charts(numbers, comparison.shown(runs))
    parts = [
        sections.settings(runs, found.problems),
        *([sections.verdicts(verdicts)] if verdicts else []),
        *chart_sections,
        sections.ends(runs),
        sections.provenance(runs, found.descriptions),
    ]
    scripts = [_bundle(), _resource('report.js')]
    body = [
        element('nav', *_contents(parts, runs)),
        element(
            'main',
            element('h1', TITLE),
            markup.details(f'made {made_by[1]}', element('code', made_by[0])),
            *(
                element('section', element('h2', one.heading), one.content, id=one.id)
                for one in parts
            ),
        ),
        markup.packed('data', numbers),
        markup.data('specifications', specs),
        *(Markup(f'<script>{script}</script>') for script in scripts),
    ]
    return '\n'.join(
        [
            '<!DOCTYPE html>',
            '<html lang="en">',
            '<meta charset="utf-8">',
            _policy(scripts),
            f'<title>{text(TITLE)}: {text(", ".join(list(runs)[:3]))}</title>',
            f'<style>{_resource("report.css")}</style>',
            *body,
            '</html>',
            '',
        ]
    )


def _charts(numbers: Mapping[str, Any], shown: Sequence[str]):
    """The specifications by name, and the sections in which the charts stand."""
    titles = [f'{measure}: {title}' for measure, title, _ in numbers['numbers']]
    steps = numbers['steps']
    specs, places = {}, []
    band = "Lines are means over networks, bands their 95 % intervals (Student's t)."
    specs['trajectories'] = charts.trajectories(titles, _first(numbers['numbers']), shown)
    meaning = element('span', id='meaning')
    places.append(sections.chart('trajectories', 'Over training', band, meaning))
    laws = [title for title, _ in numbers['curves'][: numbers['laws']]]
    if any(row[1] < numbers['laws'] for row in numbers['bands']):
        specs['laws'] = charts.laws(laws, steps, shown)
        places.append(
            sections.chart(
                'laws',
                'The depth law',
                'How much paths through k of the L branches weigh: shares of the gradient '
                '(|G_k|²: what all paths of a length add up to; S_k: what they are each), of the '
                'forward signal (|u_k|²), and the laws predicted from measured power gains '
                '(incoherent, coherent: eq 13) or from gammas alone. Move the checkpoint: each '
                'law is that of its newest record. ' + band + ' Bands of shares end at 0 and 1.',
            )
        )
    if numbers['gammas']:
        scales = 1 + max(row[2] for row in numbers['gammas'])
        names = ['last of the branch', *(f'{n} before the last' for n in range(1, scales))]
        specs['gammas'] = charts.gammas(names, shown)
        places.append(
            sections.chart(
                'gammas',
                'Gammas by block',
                'Mean of |gamma| over channels and networks; a line a block, the stem dashed.',
            )
        )
    if numbers['bands']:
        names, axes = zip(*numbers['curves'], strict=True)
        there = sorted({row[1] for row in numbers['bands']}, key=lambda c: (c < numbers['laws'], c))
        specs['curves'] = charts.curves(names, axes, there, steps, shown)
        places.append(
            sections.chart(
                'curves',
                'Lesions, spectra and interactions',
                'One curve of all runs at a checkpoint. ' + band,
            )
        )
    return specs, places


def _first(numbers: Sequence[Sequence[str]]) -> int:
    """The place of the number that is shown first: one of depth, where there is one."""
    places = [place for place, (measure, *_) in enumerate(numbers) if measure == 'depth']
    return places[0] if places else 0


def _contents(parts: Sequence[sections.Section], runs: comparison.Runs) -> list[Markup]:
    """The table of contents, and the list in which runs are chosen."""
    shown = comparison.shown(runs)
    boxes = [
        element(
            'label',
            element('input', type='checkbox', value=place, checked=name in shown),
            element('span', name),
        )
        for place, name in enumerate(runs)
    ]
    return [
        *(element('a', one.heading, href=f'#{one.id}') for one in parts),
        element('h2', 'Runs that are shown'),
        element('button', 'all', id='all-runs', type='button'),
        element('button', 'none', id='no-runs', type='button'),
        element('div', *boxes, id='choice'),
    ]


def _policy(scripts: Sequence[str]) -> Markup:
    """Nothing is fetched; only these scripts are run, and what Vega makes of its expressions."""
    hashes = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in scripts]
    allowed = ' '.join(f"'sha256-{one}'" for one in hashes)
    content = (
        f"default-src 'none'; script-src {allowed} 'unsafe-eval'; style-src 'unsafe-inline'; "
        'img-src data: blob:'
    )
    return Markup(f'<meta http-equiv="Content-Security-Policy" content="{content}">')


@functools.cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed of the version whose specifications Altair writes.

    Addresses in it, which nothing asks for, are strings as before and do not look like links.
    """
    version = '.'.join(alt.SCHEMA_VERSION.split('.')[:2])
    bundle = vl_convert.javascript_bundle(vl_version=version)
    return bundle.replace('</script', r'<\/script').replace('://', r':\/\/')


def _resource(name: str) -> str:
    return importlib.resources.files(__package__).joinpath(name).read_text('utf-8')
