"""A number that a paper prints of a published network, measured again: pass or fail.

    python -m launch.reproduce --name=lad_gpt2 --pretrained=gpt2 --workdir=W
    python -m launch.reproduce --name=effective_depth_gsm8k --pretrained=FOLDER --workdir=W \
        --text=gsm8k.txt --lines

Prints the paper's number beside ours, and PASS or FAIL. Exit status 0 for a pass, 1 for a fail, or
where nothing could be measured. Records are kept in W/records, and are not made again. Names, with
what the folder has to be: docs/reproductions.md, or this help.
"""

import pathlib
import textwrap

from absl import flags

from launch import main, meshes, processes, published

flags.adopt_module_key_flags(main)
flags.adopt_module_key_flags(published)
flags.adopt_module_key_flags(meshes)

_NAME = flags.DEFINE_string('name', None, 'the number to measure, of those listed above')
_AT_ONCE = flags.DEFINE_integer(
    'at_once', None, 'sequences in one call; unset: as many as fit well', lower_bound=1
)


def define() -> str:
    """The list of names for the help."""
    from experiments import reproductions

    lines = []
    for name, row in reproductions.REPRODUCTIONS.items():
        said = f'{row.network}: {row.published}. {row.paper}'
        lines += [f'  {name}', textwrap.indent(textwrap.fill(said, 74), ' ' * 6)]
    return '\n'.join(['', 'Numbers:', *lines, ''])


def reproduce(stop: main.Stop) -> int:
    from experiments import reproductions
    from resnet_dyn import fields

    known, name = reproductions.REPRODUCTIONS, _NAME.value
    if name not in known:
        hint = fields.nearest(name or '', known)
        said = '--name is not given' if name is None else f'--name={name} is no number of a paper'
        raise flags.ValidationError(f'{said}: take one of {", ".join(known)}{hint}')
    if not published.asked():
        raise flags.ValidationError(
            f'--pretrained is not given: name the folder of {known[name].network}'
        )
    workdir = main.workdir()
    return processes.run(
        lambda: _reproduce(name, known[name], workdir, stop), stop, workdir, agreed=False
    )


def _reproduce(name: str, row, workdir: pathlib.Path, stop: main.Stop) -> int:
    from launch import following
    from resnet_dyn.analysis import archive, dealing
    from resnet_dyn.analysis import effort as effort_lib
    from resnet_dyn.models import placement
    from resnet_dyn.pretrained import layouts
    from resnet_dyn.reports import measures, selection

    source = published.source(
        blocks=row.blocks, sequences=row.sequences, length=row.length, at_once=_AT_ONCE.value
    )
    if len(source.steps) > 1:
        raise flags.ValidationError('--pretrained names several folders: a number is of one')
    first = source.first(source.steps)
    _check_network(row, first, layouts.kind(source.config))
    main.say(f'{row.paper}, {row.place}; {row.network}. Text: {row.text}')
    main.say(source.source)
    mesh = placement.kernel_mesh(sizes=meshes.given(placement.KERNELS))
    effort = effort_lib.of_settings(effort_lib.Settings(examples_at_once=source.at_once), mesh=mesh)
    chosen = selection.choose((row.measure,), first, effort, {row.measure: dict(row.options)})
    analysis = following.Analysis(
        source=source,
        chosen=chosen,
        effort=effort,
        steps=source.steps,
        names=source.names.networks,
        config=source.provenance(),
        seed=first.examples.seed,
        deal=dealing.over_processes(1),
        trained=False,
    )
    visits: list = []
    status = following.follow(analysis, workdir, stop, visits)
    found: archive.Found | None = visits[-1].found.get(row.measure) if visits else None
    if status == main.STOPPED or found is None:
        return status or main.FAILED
    assert isinstance(found.record, measures.MEASURES[row.measure].record)
    verdict = row.judge(found.record)
    main.say(f'{name}\n    published  {row.published}\n    ours       {verdict.ours}')
    main.say(f'{"PASS" if verdict.passed else "FAIL"}: {row.rule}')
    return status if verdict.passed else main.FAILED


def _check_network(row, subject, kind: str) -> None:
    """Refuses a network of another depth than that of the paper, or of another layout."""
    from resnet_dyn import errors

    groups = subject.stacks[0].groups
    layers = subject.blocks if groups is None else len(groups)
    if row.layers is not None and layers != row.layers:
        raise errors.AnalysisError(
            f'{subject.names.networks[0]} has {layers} layers, and {row.network} has {row.layers}: '
            'give the folder of that network'
        )
    if kind != row.kind:
        raise errors.AnalysisError(
            f'{subject.names.networks[0]} is a {kind}, and {row.network} is a {row.kind}: give the '
            'folder of that network'
        )


if __name__ == '__main__':
    main.run(reproduce, define=define)
