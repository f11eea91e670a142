"""Which measures are made of networks, with which options, at what cost; and which cannot be."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from resnet_dyn import errors, fields
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.analysis import requirements, subjects, trajectories
from resnet_dyn.reports import measures


class Selection(NamedTuple):
    """The measures of networks and what they cost; what cannot be measured, by name, and why."""

    requests: dict[str, trajectories.Request]
    impossible: dict[str, str]
    costs: dict[str, effort_lib.Cost]  # for one network at one step
    networks: int  # S
    blocks: int  # L
    examples: int  # 0 where none are looked at


def check(names: Sequence[str]) -> None:
    """AnalysisError for a name that is none of a measure, with the nearest, and for no name."""
    if not names:
        raise errors.AnalysisError(f'no measure is named: take {", ".join(measures.MEASURES)}')
    for name in names:
        if name not in measures.MEASURES:
            hint = fields.nearest(name, measures.MEASURES)
            raise errors.AnalysisError(
                f'no measure {name!r}: take {", ".join(measures.MEASURES)}{hint}'
            )


def looks(names: Sequence[str]) -> bool:
    """Whether any of these measures looks at examples."""
    return any(measures.MEASURES[name].examples for name in names)


def choose(
    names: Sequence[str],
    subject: subjects.Subject,
    effort: effort_lib.Effort,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    given: Sequence[str] = (),
) -> Selection:
    """The measures `names` of networks alike to those of `subject`.

    `options` are those given by hand, by measure and field, as in {'random': {'draws': 100}};
    `given` the settings that were ('examples'). Raises AnalysisError for a name that is no
    measure's, ConfigError for options that cannot be, or of measures that are not asked for, and
    AnalysisError where nothing that was asked for can be measured.
    """
    check(names)
    for name, by_hand in (options or {}).items():
        if by_hand and name not in names:
            raise errors.ConfigError(
                f'options of the measure {name!r} are given ({", ".join(by_hand)}), and it is not '
                f'among those that are asked for: {", ".join(names)}'
            )
    requests, impossible = {}, {}
    for name in dict.fromkeys(names):
        measure, by_hand = measures.MEASURES[name], dict((options or {}).get(name, {}))
        made = fields.given(measure.options, by_hand, f'measure {name}', f'{name}.')
        request = trajectories.Request(measure, measure.options(**made), frozenset({*made, *given}))
        why = requirements.reason(measure.requirements, subject, effort, request.options)
        if why:
            impossible[name] = why
        else:
            requests[name] = request
    if not requests:
        reasons = '; '.join(f'{name}: {why}' for name, why in impossible.items())
        raise errors.AnalysisError(f'nothing to measure: {reasons}')
    costs = {name: r.measure.cost(subject.blocks, r.options) for name, r in requests.items()}
    examples = subject.examples.number if looks(requests) and subject.examples else 0
    return Selection(requests, impossible, costs, len(subject.stacks), subject.blocks, examples)
