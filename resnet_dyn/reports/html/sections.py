"""The sections of the page: each a heading for the table of contents, and what stands below it."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from resnet_dyn import fields
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import claims, series
from resnet_dyn.reports.html import comparison, markup
from resnet_dyn.reports.html.markup import Markup, element, paragraph, table, text

LEVEL = f'{100 * intervals.LEVEL:.0f} %'


class Section(NamedTuple):
    """A part of the page; `id` is its anchor."""

    id: str
    heading: str
    content: Markup


def settings(runs: comparison.Runs, problems: Mapping[str, Sequence[str]]) -> Section:
    """What was run, how the runs differ, and what is left out of the page."""
    differ, common = comparison.settings(runs)
    head = ['run', *differ, 'networks', 'last step', 'test accuracy', 'left out']
    rows = [
        [
            name,
            *(_value(differ[path][place]) for path in differ),
            len(run.seeds),
            comparison.place(run),
            _accuracy(run),
            _left_out(run),
        ]
        for place, (name, run) in enumerate(runs.items())
    ]
    parts = [
        paragraph(
            f'{len(runs)} runs. A column for each field of the config in which they differ; '
            'accuracy is that of the last evaluation, mean ± half of its '
            f'{LEVEL} interval over networks.'
            if len(runs) > 1
            else 'One run.'
        ),
        table(head, rows, class_='settings'),
    ]
    if problems:
        lines = [
            element('li', element('b', name), f': {"; ".join(why)}')
            for name, why in problems.items()
        ]
        parts.append(
            element('div', paragraph('Left out:'), element('ul', *lines), class_='problems')
        )
    rows = [[path, _value(value)] for path, value in common.items()]
    parts.append(markup.details('Fields that all have in common', table(['field', 'value'], rows)))
    return Section('runs', 'What was run', _together(parts))


def verdicts(found: Sequence[claims.Verdict]) -> Section:
    """The outcome of each claim on each task, and the intervals that decide it."""
    tasks = list(dict.fromkeys(one.task for one in found))
    by_claim: dict[str, dict[str, claims.Verdict]] = {}
    for one in found:
        by_claim.setdefault(one.claim.sentence, {})[one.task] = one
    rows = [
        [sentence, *(_outcome(by_task[task]) for task in tasks)]
        for sentence, by_task in by_claim.items()
    ]
    said = (
        f'Each rule was fixed before anybody looked. A claim holds or fails where the {LEVEL} '
        'interval over networks lies wholly on one side of what its rule names, is undecided where '
        'it does not, and depends on the measure where intervals disagree; in brackets, how many '
        f'of those that were measured hold. {claims.measured(found)} intervals, not corrected for '
        'their number; each with its n and its method below.'
    )
    judged = [one for one in found if one.outcome != claims.NOT_MEASURED]
    parts = [
        paragraph(said),
        table(['claim', *tasks], rows),
        markup.details('Intervals, one by one', *map(_findings, judged)),
    ]
    return Section('claims', 'Claims', _together(parts))


def ends(runs: comparison.Runs) -> Section:
    """The numbers of all runs side by side: at the end, their change, less another run."""
    numbers = comparison.numbers(runs)
    compared = comparison.references(runs)
    found = {key: comparison.ends(runs, key, compared) for key in numbers}
    sizes = {name: f'{name}, n = {len(run.seeds)}' for name, run in runs.items()}
    pairs = {name: f'{name} less {other}' for name, other in compared.items()}

    def sheet(field: str, sign: str, head: Mapping[str, str] = sizes) -> Markup:
        rows = []
        for key, one in numbers.items():
            cells = [
                _interval(found[key].get(name), field, one.form, sign, len(run.seeds))
                for name, run in runs.items()
            ]
            if any(cells):
                rows.append([_named(one), *cells])
        return table(['', *(head.get(name, name) for name in runs)], rows, class_='by-run')

    parts = [
        paragraph(
            f"Mean over networks ± half of its {LEVEL} interval (Student's t; of differences by "
            "networks of equal seeds, or Welch's t where runs share none). (n) where fewer "
            'networks are finite. Hold the pointer over a name for what it means.'
        ),
        markup.details('At the last step that was measured', sheet('last', ''), open=True),
        markup.details('Change from the first to the last step', sheet('change', '+')),
    ]
    if compared:
        differences = sheet('difference', '+', pairs)
        summary = 'Differences between runs, at the last step'
        parts.append(markup.details(summary, differences, open=len(runs) <= 4))
    return Section('numbers', 'Numbers side by side', _together(parts))


def chart(id: str, heading: str, *said: Any) -> Section:
    """A place for a chart, and how to read it."""
    place = element('div', id=f'chart-{id}', class_='chart')
    return Section(id, heading, _together([*map(paragraph, said), place]))


def provenance(runs: comparison.Runs, descriptions: Mapping[str, Mapping[str, Any]]) -> Section:
    """Where each number comes from: the command that trained, the commands that measured."""
    parts = [
        paragraph(
            'Of each run the commands that trained it, and of each measure those that made its '
            'records, with their settings and versions. The records themselves are in the '
            'folder of the run, under records.'
        )
    ]
    for name, run in runs.items():
        starts = _starts(descriptions.get(name, {}))
        made = list(_made(run))
        heads = ['measured', 'records at steps', 'code and versions', 'device', 'date', 'seconds']
        parts.append(
            markup.details(
                name,
                paragraph(element('code', run.workdir)),
                table(['trained', 'steps', 'code', 'device', 'date'], starts),
                table(heads, made) if made else paragraph('No records.'),
            )
        )
    return Section('provenance', 'Where the numbers come from', _together(parts))


def _together(parts: Iterable[Markup]) -> Markup:
    return Markup('\n'.join(parts))


def _value(value: Any) -> str:
    return 'unset' if value is None else str(value)


def _accuracy(run: series.RunSeries) -> str:
    one = run.series.get((series.TRAINING, 'test accuracy'))
    return '' if one is None else _number(intervals.mean(one.values_ST[:, -1]), '.4f')


def _left_out(run: series.RunSeries) -> str:
    found = comparison.left_out(run).items()
    return '; '.join(f'{network}, not finite from step {step:,}' for network, step in found)


def _named(one: series.Series) -> Markup:
    return element('span', f'{one.measure}: {one.title}', title=one.meaning)


def _interval(
    ends: comparison.Ends | None, field: str, form: str, sign: str, networks: int
) -> Markup:
    found = None if ends is None else getattr(ends, field)
    if found is None or not found.n:
        return Markup('')
    fewer = f' ({found.n})' if found.n < networks else ''
    return text(_number(found, form, sign) + fewer)


def _number(found: intervals.Interval, form: str, sign: str = '') -> str:
    said = f'{found.estimate:{sign}{form}}'
    return f'{said} ± {found.high - found.estimate:{form}}' if found.known else said


def _outcome(one: claims.Verdict) -> Markup:
    known = [found.outcome for found in one.findings if found.outcome != claims.NOT_MEASURED]
    counts = f' ({known.count(claims.HOLDS)} of {len(known)})' if len(known) > 1 else ''
    return _badge(one.outcome, counts)


def _badge(outcome: str, more: str = '') -> Markup:
    return element('span', outcome, more, class_=f'outcome {outcome.split()[0]}')


def _findings(one: claims.Verdict) -> Markup:
    rows = [
        [
            f'{found.run}{f" less {found.other}" if found.other else ""}',
            f'{found.measure}: {found.title}',
            f'{found.estimate:+.4g}' if found.n else '',
            element('span', _bounds(found), class_='whole'),
            found.n,
            found.method,
            _badge(found.outcome),
        ]
        for found in one.findings
    ]
    head = ['run', 'number', 'estimate', f'{LEVEL} interval', 'n', 'method', 'outcome']
    summary = [element('b', one.claim.sentence), f' — {one.task}: ', _outcome(one)]
    return markup.details(
        _together(map(text, summary)), paragraph('Rule: ', one.claim.rule, '.'), table(head, rows)
    )


def _bounds(found: claims.Finding) -> str:
    return f'[{found.low:+.4g}, {found.high:+.4g}]' if np.isfinite(found.low) else ''


def _starts(description: Mapping[str, Any]) -> list[list[Any]]:
    """A row for each start of the training, as config.json has them."""
    steps = [0, description.get('total_steps', '')]
    starts = description.get('segments') or [{**description, 'steps': steps}]
    return [
        [
            element('code', start.get('command', '')),
            ' to '.join(map(str, start.get('steps', ()))),
            _code(start),
            _device(start),
            start.get('date', ''),
        ]
        for start in starts
    ]


def _made(run: series.RunSeries) -> Iterable[list[Any]]:
    """A row for all records of a run that one command made."""
    by_command: dict[tuple[str, str], list[tuple[str, int, Mapping[str, Any]]]] = {}
    for measure, found in run.records.items():
        for step, _, origin in found:
            key = (origin.get('command', ''), _code(origin))
            by_command.setdefault(key, []).append((measure, step, origin))
    for (command, code), some in by_command.items():
        steps: dict[tuple[str, str], list[str]] = {}
        for measure, step, origin in some:
            steps.setdefault((measure, _settings(origin)), []).append(f'{step:,}')
        lines = [
            element('li', f'{measure} at {", ".join(at)}{f": {settings}" if settings else ""}')
            for (measure, settings), at in steps.items()
        ]
        date = max(str(origin.get('date', '')) for *_, origin in some)
        seconds = sum(origin.get('wall_time') or 0 for *_, origin in some)
        records = element('ul', *lines)
        yield [
            element('code', command),
            records,
            code,
            _device(some[-1][2]),
            date,
            f'{seconds:.1f}',
        ]


def _settings(origin: Mapping[str, Any]) -> str:
    left = ('checkpoint', 'source')
    found = dict(fields.flatten(origin.get('settings') or {}))
    return ', '.join(f'{name} {value}' for name, value in found.items() if name not in left)


def _code(origin: Mapping[str, Any]) -> str:
    code = origin.get('code') or {}
    commit = str(code.get('commit') or '')
    short = commit[:12] + ('-dirty' if commit.endswith('-dirty') else '')
    versions = [f'{name} {version}' for name, version in (origin.get('versions') or {}).items()]
    return ', '.join(filter(None, (f'{code.get("version", "")} {short}'.strip(), *versions)))


def _device(origin: Mapping[str, Any]) -> str:
    device = origin.get('device') or {}
    return ', '.join(f'{name} {value}' for name, value in device.items())
