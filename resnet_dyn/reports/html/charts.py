"""The interactive charts as specifications of Vega-Lite, by Altair: pure functions of labels.

They hold no number: each names the rows that the page's script gives it (`report.js`), of the runs
that are chosen in the list `shown`, whose colours are the same in all charts.
"""

from collections.abc import Sequence

import altair as alt

COLOURS = (  # Okabe & Ito (2008), without yellow, then Tableau's for more than seven runs
    '#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#222222',
    '#9c755f', '#76b7b2', '#e15759', '#b07aa1', '#bab0ac',
)  # fmt: skip
WIDTH, HEIGHT = 760, 320
FACET_WIDTH, FACET_HEIGHT, COLUMNS = 290, 190, 3
_BAND = 0.14
_AT_STEP = "'at step ' + format(steps[at], ',')"
_NUMBER = alt.Tooltip('mean:Q', format='.4g')
_INTERVAL = [
    alt.Tooltip('low:Q', format='.4g', title='95 % from'),
    alt.Tooltip('high:Q', format='.4g', title='to'),
    alt.Tooltip('n:Q', title='networks'),
]


def trajectories(titles: Sequence[str], first: int, shown: Sequence[str]) -> dict:
    """One number over the steps of training, a line a run; it is chosen, `first` to begin with."""
    number = _chosen('number', titles, 'Number', first=first)
    scale = alt.param(
        name='scale',
        value='linear',
        bind=alt.binding_radio(options=['linear', 'log(1 + step)', 'share'], name='Steps '),
    )
    place = {
        'linear': 'datum.step',
        'log(1 + step)': 'log(1 + datum.step) / LN10',
        'share': 'datum.step / datum.last',
    }
    at = (
        f"scale == 'linear' ? {place['linear']} : scale == 'share' ? {place['share']} : "
        + (place['log(1 + step)'])
    )
    label = (
        "scale == 'linear' ? format(datum.value, ',') : scale == 'share' ? "
        "format(datum.value, '.0%') : format(pow(10, datum.value) - 1, ',.0f')"
    )
    base = (
        alt.Chart(alt.NamedData('series'))
        .transform_filter('datum.number == number')
        .transform_calculate(at=at)
        .encode(
            x=alt.X('at:Q', title='step', axis=alt.Axis(labelExpr=label), scale=_fitted()),
            color=_colour(),
            tooltip=['run:N', 'step:Q', _NUMBER, *_INTERVAL],
        )
    )
    chart = _with_band(base, alt.Y('mean:Q', title=None, scale=_fitted()), points=True)
    return _finished(
        chart.properties(width=WIDTH, height=HEIGHT, title=_title('titles[number]')),
        [number, scale, _labels('titles', titles), _shown(shown)],
    )


def laws(titles: Sequence[str], steps: Sequence[int], shown: Sequence[str]) -> dict:
    """The laws over path lengths at one checkpoint, a panel a run; the checkpoint is chosen."""
    base = (
        alt.Chart(alt.NamedData('laws'))
        .transform_filter('datum.from <= at && at < datum.until')
        .encode(
            x=alt.X('x:Q', title='branches used, k', axis=alt.Axis(tickMinStep=1)),
            color=alt.Color(
                'curve:N',
                title=None,
                scale=alt.Scale(domain=list(titles), range=list(COLOURS[: len(titles)])),
                legend=_legend(),
            ),
            tooltip=[
                'run:N',
                'curve:N',
                'step:Q',
                alt.Tooltip('x:Q', title='k'),
                _NUMBER,
                *_INTERVAL,
            ],
        )
    )
    y = alt.Y('mean:Q', title='share', scale=alt.Scale(domainMin=0))
    return _panels(_with_band(base, y), _checkpoint(steps), [_shown(shown)], steps)


def curves(
    titles: Sequence[str],
    axes: Sequence[str],
    there: Sequence[int],
    steps: Sequence[int],
    shown: Sequence[str],
) -> dict:
    """One curve at one checkpoint, a line a run; both are chosen, of the places `there`."""
    base = (
        alt.Chart(alt.NamedData('bands'))
        .transform_filter('datum.number == number && datum.from <= at && at < datum.until')
        .encode(
            x=alt.X('x:Q', title=None, axis=alt.Axis(tickMinStep=1)),
            color=_colour(),
            tooltip=['run:N', 'step:Q', alt.Tooltip('x:Q'), _NUMBER, *_INTERVAL],
        )
    )
    chart = _with_band(base, alt.Y('mean:Q', title=None, scale=_fitted()), points=True)
    title = _title(f"titles[number] + ', over ' + axes[number] + ', ' + {_AT_STEP}")
    return _finished(
        chart.properties(width=WIDTH, height=HEIGHT, title=title),
        [
            _chosen('number', titles, 'Curve', there),
            _checkpoint(steps),
            _labels('titles', titles),
            _labels('axes', axes),
            _labels('steps', steps),
            _shown(shown),
        ],
    )


def gammas(scales: Sequence[str], shown: Sequence[str]) -> dict:
    """|gamma| over training by block, a panel a run; which scale of a branch is chosen."""
    base = alt.Chart(alt.NamedData('gammas')).encode(
        x=alt.X('step:Q', title='step'),
        y=alt.Y('mean:Q', title='mean |gamma|', scale=_fitted()),
        tooltip=['run:N', 'block:Q', 'step:Q', _NUMBER],
    )
    blocks = (
        base.transform_filter('datum.block > 0 && datum.number == number')
        .mark_line(strokeWidth=1.5)
        .encode(
            detail='block:N',
            color=alt.Color('block:Q', title='block', scale=alt.Scale(scheme='viridis')),
        )
    )
    stem = base.transform_filter('datum.block == 0').mark_line(
        strokeDash=[4, 3], strokeWidth=1.5, color='#222222'
    )
    return _panels(alt.layer(blocks, stem), _chosen('number', scales, 'Scale'), [_shown(shown)], ())


def _panels(layers, control, more: list, steps: Sequence[int]) -> dict:
    """A panel a run, each with its own axes: depths, lengths and sizes differ."""
    layers = layers.properties(width=FACET_WIDTH, height=FACET_HEIGHT)
    chart = layers.facet(
        facet=alt.Facet(
            'run:N',
            title=None,
            sort=alt.EncodingSortField('place', op='min'),
            header=alt.Header(labelFontWeight='bold', labelLimit=280),
        ),
        columns=COLUMNS,
    ).resolve_scale(x='independent', y='independent')
    if steps:
        chart = chart.properties(title=_title(_AT_STEP))
        more = [*more, _labels('steps', steps)]
    return _finished(chart, [control, *more])


def _with_band(base, y, points: bool = False):
    """A line of means over its 95 % interval."""
    band = base.mark_area(opacity=_BAND).encode(y=alt.Y('low:Q'), y2='high:Q')
    line = base.mark_line(strokeWidth=1.8, point=alt.OverlayMarkDef(size=22) if points else False)
    return alt.layer(band, line.encode(y=y))


def _colour():
    return alt.Color(
        'run:N',
        title=None,
        scale=alt.Scale(domain=alt.ExprRef('shown'), range=list(COLOURS)),
        legend=_legend(),
    )


def _legend():
    return alt.Legend(
        orient='top',
        columns=4,
        labelLimit=240,
        symbolType='stroke',
        symbolOpacity=1,
        symbolStrokeWidth=2.5,
    )


def _chosen(
    name: str,
    labels: Sequence[str],
    said: str,
    places: Sequence[int] | None = None,
    first: int | None = None,
):
    """The place of one of the labels, chosen from a list: of all, or of those at `places`."""
    places = list(range(len(labels)) if places is None else places)
    bind = alt.binding_select(
        options=places, labels=[labels[place] for place in places], name=f'{said} '
    )
    return alt.param(name=name, value=places[0] if first is None else first, bind=bind)


def _checkpoint(steps: Sequence[int]):
    last = max(len(steps) - 1, 0)
    bind = alt.binding_range(min=0, max=last, step=1, name='Checkpoint ')
    return alt.param(name='at', value=last, bind=bind)


def _labels(name: str, values: Sequence):
    return alt.param(name=name, value=list(values))


def _shown(shown: Sequence[str]):
    return alt.param(name='shown', value=list(shown))


def _title(expression: str):
    return alt.Title(alt.ExprRef(expression), anchor='start', fontSize=13)


def _fitted():
    return alt.Scale(zero=False, nice=True)


def _finished(chart, parameters: list) -> dict:
    spec = chart.add_params(*parameters).configure_view(stroke=None).to_dict()
    spec.pop('$schema')  # an address, which nobody needs to ask
    return spec
