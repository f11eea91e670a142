"""Claims about runs, judged by rules that are fixed before anybody looks.

    judge(claims, runs) -> verdicts: of each claim on each task, by its findings

A finding is one interval and its outcome; a claim's outcome is that of its findings where all that
were measured agree, else 'depends on the measure'.
"""

import csv
import io
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from resnet_dyn import records
from resnet_dyn.analysis import intervals
from resnet_dyn.reports import series

HOLDS, FAILS, UNDECIDED = 'holds', 'fails', 'undecided'
DEPENDS, NOT_MEASURED = 'depends on the measure', 'not measured'


class Finding(NamedTuple):
    """One interval of one run, and what it says of a claim."""

    run: str
    other: str  # the control that the run is paired with, '' for none
    measure: str
    title: str
    estimate: float
    low: float
    high: float
    n: int
    method: str
    outcome: str


class Claim(NamedTuple):
    """A sentence, the rule that decides it in words, and the rule itself.

    `judge` sees the runs of one task by name.
    """

    name: str
    sentence: str
    rule: str
    judge: Callable[[Mapping[str, series.RunSeries]], list[Finding]]


class Verdict(NamedTuple):
    """What came of a claim on one task: the runs on one data set."""

    claim: Claim
    outcome: str
    findings: tuple[Finding, ...]
    task: str = ''


def judge(claims: Sequence[Claim], runs: Mapping[str, series.RunSeries]) -> list[Verdict]:
    """The verdict of each claim on each task, claims in their order.

    A task is a data set, where one of its runs is a main one (`mains`); runs without are each
    judged by themselves, under their own names.
    """
    verdicts = []
    for claim in claims:
        for task, some in tasks(runs).items():
            findings = tuple(claim.judge(some))
            verdicts.append(Verdict(claim, overall(findings), findings, task))
    return verdicts


def tasks(runs: Mapping[str, series.RunSeries]) -> dict[str, dict[str, series.RunSeries]]:
    """The runs of each task, by its name."""
    by_data: dict[str, dict[str, series.RunSeries]] = {}
    for name, run in runs.items():
        by_data.setdefault(run.config.data.name, {})[name] = run
    found = {}
    for data, some in by_data.items():
        if any(map(is_main, some)):
            found[data] = some
        else:
            found |= {name: {name: run} for name, run in some.items()}
    return found


def is_main(name: str) -> bool:
    """Whether a run of this name is the main one of its task: main, gaussians-main, other/main."""
    return f'-{name.rpartition("/")[2]}'.endswith('-main')


def mains(runs: Mapping[str, series.RunSeries]) -> dict[str, series.RunSeries]:
    """The main runs among those of a task; all of them where none is called so."""
    return {name: run for name, run in runs.items() if is_main(name)} or dict(runs)


def overall(findings: Sequence[Finding]) -> str:
    """The outcome of a claim by those of its findings."""
    outcomes = {one.outcome for one in findings} - {NOT_MEASURED}
    if len(outcomes) > 1:
        return DEPENDS
    return outcomes.pop() if outcomes else NOT_MEASURED


def above(found: intervals.Interval) -> str:
    """Holds above 0, fails below it."""
    return outside(found, holds=found.low > 0, fails=found.high < 0)


def below(found: intervals.Interval) -> str:
    """Holds below 0, fails above it."""
    return outside(found, holds=found.high < 0, fails=found.low > 0)


def apart(found: intervals.Interval) -> str:
    """Holds on either side of 0, and never fails."""
    return outside(found, holds=found.low > 0 or found.high < 0, fails=False)


def within(found: intervals.Interval, low: float, high: float) -> str:
    """Holds inside [low, high], fails where it has no point of it."""
    inside = low <= found.low and found.high <= high
    return outside(found, holds=inside, fails=found.high < low or found.low > high)


def outside(found: intervals.Interval, holds: bool, fails: bool) -> str:
    """The outcome of an interval, 'not measured' where there is none."""
    if not found.known:
        return NOT_MEASURED
    return HOLDS if holds else FAILS if fails else UNDECIDED


def finding(
    run: str, measure: str, title: str, found: intervals.Interval, outcome: str, other: str = ''
) -> Finding:
    """The finding of an interval."""
    return Finding(run, other, measure, title, *found, outcome)


def measured(verdicts: Sequence[Verdict]) -> int:
    """How many intervals decide the verdicts: findings of what was not measured have none."""
    return sum(found.outcome != NOT_MEASURED for one in verdicts for found in one.findings)


def text(verdicts: Sequence[Verdict]) -> str:
    """The verdicts as lines for people, each with its findings below it, and what they are."""
    lines = []
    for one in verdicts:
        lines.append(f'{one.claim.sentence} [{one.task}]: {one.outcome.upper()}')
        lines += [f'    {_said(found)}' for found in one.findings]
    number, level = measured(verdicts), f'{100 * intervals.LEVEL:.0f} %'
    lines.append(f'{number} intervals over networks, {level} each, not corrected for their number.')
    return '\n'.join(lines)


def write_csv(path, verdicts: Sequence[Verdict]) -> pathlib.Path:
    """A line a finding, with the claim, its rule and its outcome on the task."""
    writer = csv.writer(lines := io.StringIO())
    writer.writerow(('claim', 'task', 'verdict', *Finding._fields, 'rule'))
    for one in verdicts:
        for found in one.findings:
            row = [f'{v:.8g}' if isinstance(v, float) else v for v in found]
            writer.writerow((one.claim.name, one.task, one.outcome, *row, one.claim.rule))
    return records.write_text(path, lines.getvalue())


def _said(found: Finding) -> str:
    where = f'{found.run}{f" less {found.other}" if found.other else ""}'
    what = f'{where}, {found.measure}: {found.title}'
    if found.outcome == NOT_MEASURED:
        return f'{what}: not measured (n = {found.n})'
    numbers = f'{found.estimate:+.4g} [{found.low:+.4g}, {found.high:+.4g}], n = {found.n}'
    return f'{what}: {numbers}: {found.outcome}'
