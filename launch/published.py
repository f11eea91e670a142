"""`launch.analyze --pretrained`: networks of others, in folders of Hugging Face's layout."""

import dataclasses
import pathlib
from collections.abc import Sequence

from absl import flags

from launch import flags as config_flags
from launch import following, main, meshes

DEFAULT = ('effective_depth', 'influence', 'singles')

_PRETRAINED = flags.DEFINE_list(
    'pretrained',
    None,
    'folder of a published network (config.json, safetensors, tokenizer.json), or several with '
    'commas between: the steps of one training, by the numbers in their names (step1000, '
    'checkpoint-500), else 0, 1, 2, ...',
)
_BLOCKS = flags.DEFINE_enum(
    'blocks',
    'layers',
    ['layers', 'sublayers'],
    'of --pretrained: what a block is, a whole layer, as in most papers, or attention and MLP '
    'apart',
)
_PARALLEL = flags.DEFINE_enum(
    'parallel',
    None,
    ['one', 'two'],
    'of --blocks=sublayers: what a layer is whose attention and MLP have the same input (Pythia), '
    'one block or two; unset: one',
)
_DTYPE = flags.DEFINE_string(
    'dtype', None, 'of --pretrained: float32, bfloat16, ...; unset: that of the file'
)
_TEXT = flags.DEFINE_string(
    'text',
    None,
    'of --pretrained: a text to cut into sequences by the tokenizer of the folder; unset: the '
    'documentation that comes with Python',
)
_TOKENS = flags.DEFINE_string(
    'tokens',
    None,
    'of --pretrained: a .npy file of token ids instead, (N,) as one long text, or (N, T), where -1 '
    'at the end of a sequence is no token',
)
_IMAGES = flags.DEFINE_string(
    'images',
    None,
    'of --pretrained: a .npz file of x (N, C, H, W), normalised as the reference library does it, '
    'and y (N,), the classes',
)
_LINES = flags.DEFINE_boolean(
    'lines', False, 'of --text: each line that is not blank is a sequence, filled up at its end'
)
_SEQUENCES = flags.DEFINE_integer(
    'sequences', 64, 'of --pretrained: sequences, or images, to look at, at most', lower_bound=1
)
_LENGTH = flags.DEFINE_integer(
    'length', 128, 'of --pretrained: tokens of a sequence, at most', lower_bound=2
)
_PLACES = flags.DEFINE_integer(
    'places', 0, 'of --pretrained: the seed by which places in the text, and draws, are chosen'
)

_OF_PRETRAINED = (
    _BLOCKS,
    _PARALLEL,
    _DTYPE,
    _TEXT,
    _TOKENS,
    _IMAGES,
    _LINES,
    _SEQUENCES,
    _LENGTH,
    _PLACES,
)


def asked() -> bool:
    """Whether published networks are asked for; a flag error for flags of theirs without them."""
    if _PRETRAINED.value is not None:
        return True
    for flag in _OF_PRETRAINED:
        if flag.present:
            raise flags.ValidationError(
                f'--{flag.name}={flag.value} is of published networks: give --pretrained=FOLDER too'
            )
    return False


def analyze(
    workdir: pathlib.Path,
    what: Sequence[str] | None,
    steps: str,
    network: int | None,
    stop: main.Stop,
) -> int:
    """Analyses the network of a folder, or those of several as a training; the exit status."""
    from resnet_dyn import fields
    from resnet_dyn.analysis import dealing, trajectories
    from resnet_dyn.analysis import effort as effort_lib
    from resnet_dyn.models import placement
    from resnet_dyn.reports import selection

    _refuse_flags_of_runs(network)
    what = DEFAULT if what is None else what
    selection.check(what)
    given = config_flags.given_of(effort_lib.Settings, '')
    settings = effort_lib.Settings(**fields.given(effort_lib.Settings, given, 'analyze', '--'))
    source = _source(_BLOCKS.value, question(), given.get('examples_at_once'))
    several = len(source.steps) > 1
    if several:
        folders = ', '.join(f'{step:,}: {source.folders[step]}' for step in source.steps)
        main.say(f'the steps of one training: {folders}')
    main.say(source.source)
    steps = trajectories.choose(source.steps, steps)
    mesh = placement.kernel_mesh(sizes=meshes.given(placement.KERNELS))
    settings = dataclasses.replace(settings, examples_at_once=source.at_once)
    effort = effort_lib.of_settings(settings, mesh=mesh)
    analysis = following.Analysis(
        source=source,
        chosen=selection.choose(what, source.first(steps), effort, following.options(), ()),
        effort=effort,
        steps=steps,
        names=source.names.networks,
        config=source.provenance(),
        seed=_PLACES.value,
        deal=dealing.over_processes(1),
        trained=several,
    )
    return following.follow(analysis, workdir, stop)


def source(blocks: str, sequences: int, length: int, at_once: int | None):
    """The folders of the flags, by these blocks; numbers that were not given as flags are these."""
    if _BLOCKS.present:
        raise flags.ValidationError(f'--blocks: this number is of {blocks}; leave the flag out')
    asked = question()
    if not _SEQUENCES.present:
        asked = asked._replace(number=sequences)
    if not _LENGTH.present:
        asked = asked._replace(length=length)
    return _source(blocks, asked, at_once)


def question():
    """What the networks are to be looked at with, by the flags."""
    from resnet_dyn.analysis import published

    return published.Asked(
        text=_TEXT.value,
        tokens=_TOKENS.value,
        images=_IMAGES.value,
        lines=_LINES.value,
        number=_SEQUENCES.value,
        length=_LENGTH.value,
        seed=_PLACES.value,
    )


def _source(blocks: str, asked, at_once: int | None):
    from resnet_dyn.analysis import published

    options = {'blocks': blocks, 'dtype': _DTYPE.value}
    if _PARALLEL.value is not None:
        if blocks != 'sublayers':
            raise flags.ValidationError(
                f'--parallel={_PARALLEL.value} says what blocks of sublayers are, and blocks are '
                f'{blocks} here: leave it out, or have launch.analyze take --blocks=sublayers'
            )
        options['parallel'] = _PARALLEL.value
    return published.Folders(_PRETRAINED.value, asked, at_once, **options)


def _refuse_flags_of_runs(network: int | None) -> None:
    of_runs = [config_flags.PREFIX + path for path in config_flags.given()]
    of_runs += [name for name in ('examples', 'statistics') if flags.FLAGS[name].present]
    of_runs += ['network'] if network is not None else []
    if of_runs:
        raise flags.ValidationError(
            f'--{of_runs[0]} is of runs: published networks take --sequences, --length and '
            '--places instead'
        )
