"""An analysis from its first step to its tables and pictures, of runs and of published networks."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any, NamedTuple

from launch import main


class Analysis(NamedTuple):
    """What is followed, and what is asked of it."""

    source: Any  # `trajectories.Source`, with what it says of its data (`note`)
    chosen: Any  # `selection.Selection`
    effort: Any
    steps: Sequence[int]
    names: tuple[str, ...]  # of the networks
    config: Any  # kept beside records
    seed: int
    deal: Any
    network: int | None = None  # the index of the one that is looked at
    trained: bool = True  # whether it has steps of a training to speak of


def follow(
    analysis: Analysis, workdir: pathlib.Path, stop: main.Stop, visits: list | None = None
) -> int:
    """Visits the steps, says what came of each, then the table; the exit status.

    The visits are put into the list `visits` too.
    """
    from launch import progress
    from resnet_dyn import processes as together
    from resnet_dyn import records
    from resnet_dyn.analysis import trajectories
    from resnet_dyn.reports import closing, notes

    unwritable = together.by_lead(lambda: _unwritable(workdir), 'looking at the workdir')
    if unwritable:
        main.say(f'WARNING: {unwritable}')
    _say_costs(analysis)
    followed = trajectories.follow(
        analysis.source,
        analysis.chosen.requests,
        analysis.effort,
        analysis.steps,
        workdir,
        keep=not unwritable,
        network=analysis.network,
        origin=functools.partial(records.provenance, analysis.config, seed=analysis.seed),
        watch=progress.Lines(main.say, stop, moved=together.moved),
        deal=analysis.deal,
    )
    visits = [] if visits is None else visits
    try:
        for visit in followed:
            visits.append(visit)
            main.say(notes.visit(visit, analysis.trained))
            if stop() and len(visits) < len(analysis.steps):
                raise progress.Stopped
    except progress.Stopped:
        main.say(notes.stopped(visits, analysis.steps))
        return main.STOPPED

    def close() -> int:
        shown = closing.Analysis(
            analysis.chosen,
            analysis.names,
            analysis.source.note,
            analysis.network,
            analysis.trained,
        )
        failed = closing.show(visits, shown, main.say, None if unwritable else workdir)
        failed += [visit.unsaved for visit in visits if visit.unsaved][-1:]
        if lost := '; '.join(filter(None, (notes.losses(visits), unwritable, *failed))):
            main.say(lost)
        if unwritable or failed or any(visit.damage for visit in visits):
            return main.FAILED
        return main.DIVERGED if lost else main.DONE

    return together.by_lead(close, 'waiting for tables and pictures')


def options() -> dict[str, dict[str, Any]]:
    """The options of measures that were given as flags, by measure."""
    from launch import flags as config_flags
    from resnet_dyn.reports import measures

    return {
        name: config_flags.given_of(measure.options, f'{name}.')
        for name, measure in measures.MEASURES.items()
    }


def _say_costs(analysis: Analysis) -> None:
    from resnet_dyn.models import placement
    from resnet_dyn.reports import notes

    main.say(notes.costs(analysis.chosen, analysis.steps if analysis.trained else None))
    mesh = analysis.effort.mesh
    if mesh is not None and mesh.size > 1:
        main.say(f'on {placement.words(mesh, placement.own_devices())}')


def _unwritable(workdir: pathlib.Path) -> str:
    """Why nothing can be kept in the workdir; '' where it can."""
    from resnet_dyn import errors, records

    try:
        for folder in ('records', 'tables', 'pictures'):
            records.check_writable(workdir / folder)
    except errors.RecordError as error:
        return f'{error}. The table is shown all the same, nothing is kept'
    return ''
