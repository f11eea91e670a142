"""One page that compares runs: configs, claims, every number, its trajectory, laws and lesions.

    python -m launch.report --workdir=build/report runs/batch runs/rms
    python -m launch.report --workdir=build/report --what=none build/dynamics
    python -m launch.report --workdir=build/report --what=depth,paths,random runs/shallow runs/deep

Any runs, also such as share nothing; a folder of runs, as launch.sweep and launch.dynamics make it,
is all that are in it. Writes W/report.html, one file that opens in any browser and
asks nothing of a network, and the same numbers to W/report.csv. Runs without any record are
measured first: gammas, depth and singles at every checkpoint, as launch.analyze does. --what
measures the rows that it names in all runs, --what=none in none of them. Records that are there
serve, so that a stopped command goes on where it was.

A run that cannot be read, a record that is damaged and a network that diverged are said and left
out, and the rest is reported: exit status 3. A run that is not at its end is reported as far as it
is, and said.
"""

import functools
import importlib.util
import os
import pathlib
from collections.abc import Sequence

from absl import flags

from launch import flags as config_flags
from launch import main
from resnet_dyn import commands

flags.adopt_module_key_flags(main)

_WHAT = flags.DEFINE_list(
    'what',
    None,
    'what to measure in all runs, with commas between, as in an analysis; none: nothing; '
    'unset: gammas, depth and singles of those without any record',
)
_NOTHING = 'none'
_EXTRA = ('altair', 'vl_convert')


def define() -> str:
    """Defines the flags of the analysis; returns the list of measures for the help."""
    from resnet_dyn.analysis import effort
    from resnet_dyn.reports import measures

    for name in config_flags.define(effort.Settings, ''):
        flags.declare_key_flag(name)
    return f'\nMeasures:\n{measures.listed()}\n'


def report(stop: main.Stop, words: Sequence[str]) -> int:
    main.at_any_moment(stop)
    out, folders = main.workdir(), _folders(words)
    _check_extra()

    from experiments import depth_over_training
    from launch import progress
    from resnet_dyn import errors, records
    from resnet_dyn.reports import claims
    from resnet_dyn.reports.html import comparison, page, reading

    wanted = _wanted()
    records.check_writable(out)
    named, problems = comparison.names(folders), {}
    for name, folder in named.items():
        what = wanted(folder)
        try:
            problems[name] = _measure(name, folder, what, stop) if what else []
        except progress.Stopped:
            main.say('stopped: whole records are saved, start again to go on')
            return main.STOPPED
        except errors.UserError as error:
            problems[name] = [str(error)]
    found = reading.read(named)
    for name, why in found.problems.items():
        problems[name] += [line for line in why if line not in problems[name]]
    problems = {name: why for name, why in problems.items() if why}
    if not found.runs:
        said = '; '.join(f'{name}: {why[0]}' for name, why in problems.items())
        raise errors.RunError(f'there is no run to report. {said}')
    verdicts = claims.judge(depth_over_training.CLAIMS, found.runs)
    files = page.write(out, found._replace(problems=problems), verdicts)
    main.say('\n'.join(map(str, files)))
    lost = [f'{name}: {line}' for name, why in problems.items() for line in why]
    for name, run in found.runs.items():
        lost += [f'{name}: {network} is not finite' for network in comparison.left_out(run)]
    if unfinished := comparison.unfinished(found.runs):
        main.say(f'not at their ends: {", ".join(unfinished)}')
    if lost:
        main.say('\n'.join(('left out:', *lost)))
    return main.DIVERGED if lost else main.DONE


def _folders(words: Sequence[str]) -> list[pathlib.Path]:
    """The folders of the runs; refuses what is none, before anything is measured."""
    if not words:
        raise flags.Error(
            'no run is named: give the folders of the runs, as in '
            f'{commands.said("report")} --workdir=build/report runs/first runs/second'
        )
    folders = [pathlib.Path(os.path.expanduser(word)).absolute() for word in words]
    folders = [folder.resolve() if '..' in folder.parts else folder for folder in folders]
    for folder in folders:
        main.check_folder(folder)

    from resnet_dyn.training import run_folders

    return [run for folder in folders for run in run_folders.runs_of(folder) or [folder]]


def _check_extra() -> None:
    from resnet_dyn import errors

    if missing := [name for name in _EXTRA if importlib.util.find_spec(name) is None]:
        raise errors.UserError(
            f'the report needs {" and ".join(missing)}, which are not installed: pip install '
            "'resnet_dyn[report]' (make env has them)"
        )


def _wanted():
    """wanted(folder): the measures that are to be made of a run, by --what."""
    from resnet_dyn.analysis import archive
    from resnet_dyn.reports import measures, selection

    given = _WHAT.value
    if given == [_NOTHING]:
        return lambda folder: ()
    if given is not None:
        selection.check(given)
        return lambda folder: given
    return lambda folder: () if any(archive.folder(folder).glob('*.npz')) else measures.DEFAULT


def _measure(name: str, folder: pathlib.Path, what: Sequence[str], stop: main.Stop) -> list[str]:
    """Makes the records of a run that are not there yet; what was left out."""
    from launch import progress
    from resnet_dyn import fields, records
    from resnet_dyn.analysis import effort as effort_lib
    from resnet_dyn.analysis import run_subjects, trajectories
    from resnet_dyn.models import placement
    from resnet_dyn.reports import notes, selection

    given = config_flags.given_of(effort_lib.Settings, '')
    settings = effort_lib.Settings(**fields.given(effort_lib.Settings, given, 'report', '--'))
    run = run_subjects.Run(folder, settings)
    effort = effort_lib.of_settings(settings, run.how, mesh=placement.kernel_mesh())
    first = run.first(run.steps, selection.looks(what))
    chosen = selection.choose(what, first, effort, given=tuple(given))
    main.say(f'{name}: {notes.costs(chosen, run.steps)}')
    visits = []
    for visit in trajectories.follow(
        run,
        chosen.requests,
        effort,
        workdir=folder,
        origin=functools.partial(records.provenance, run.config, seed=run.config.seed),
        watch=progress.Lines(main.say, stop),
    ):
        visits.append(visit)
        main.say(f'{name}, {notes.visit(visit)}')
        if stop():
            raise progress.Stopped
    damage = [f'step {visit.step:,}: {visit.damage}' for visit in visits if visit.damage]
    return damage + [visit.unsaved for visit in visits if visit.unsaved][-1:]


if __name__ == '__main__':
    main.run(report, define=define, words=True)
