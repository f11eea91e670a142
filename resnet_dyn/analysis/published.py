"""Published networks as subjects: one folder, or several as the steps of one training.

What they are looked at with follows from what they take: decoders predict the next token of
sequences; encoders of texts tell sequences apart (`retrieval`); networks of images have labels.
Each folder is opened when its step is looked at, and the one before is let go.
"""

import json
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_dyn import errors, pretrained
from resnet_dyn.analysis import digests, retrieval, subjects, texts
from resnet_dyn.models import stack as stack_lib
from resnet_dyn.pretrained import reading

ENCODERS = ('bert',)  # of texts: model_type
NOT_THE_NETWORK = (  # entries of config.json in which the steps of a training may differ
    '_name_or_path',
    'transformers_version',
    'torch_dtype',
    'dtype',
    'architectures',
    'use_cache',
)
LOGITS = 2**25  # numbers of outputs in one call, at most, unless told

_STEP = re.compile(r'(?:step|checkpoint|iter|iteration|ckpt)[-_]?(\d+)', re.IGNORECASE)


class Asked(NamedTuple):
    """What networks are to be looked at with."""

    text: str | None = None  # the path of a text; with neither, `texts.default`
    tokens: str | None = None  # the path of a .npy file
    images: str | None = None  # the path of a .npz file of x and y
    lines: bool = False  # each line of the text is a sequence
    number: int = 64  # of sequences, or images
    length: int = 128  # of a sequence
    seed: int = 0  # of places in the text


class Folders:
    """Networks in folders of one config, as a source of subjects, a step each.

    `options` are those of `pretrained.open`. Raises AnalysisError where the folders are no
    trajectory, and what `pretrained.open` raises for what is none at all.
    """

    def __init__(
        self,
        folders: Sequence[str],
        asked: Asked,
        at_once: int | None = None,
        **options: Any,
    ):
        self.folders = steps_of(folders)
        self._asked, self._options = asked, options
        self.config = _one_config(list(self.folders.values()))
        self._digests: dict[int, str] = {}
        self._last: tuple[int, subjects.Subject] | None = None
        self._examples: subjects.Examples | None = None
        first = self.folders[self.steps[0]]
        opened = pretrained.open(first, **options)
        self.names = subjects.Names((first.name,), tuple(opened.names))
        self._examples, self.source, outputs = _examples(opened, first, asked)
        self.at_once = at_once or max(1, min(asked.number, LOGITS // outputs))
        self._source = digests.of_arrays(
            jax.tree.leaves((self._examples.inputs, self._examples.labels))
        )
        self._last = self.steps[0], self._subject(self.steps[0], opened)

    @property
    def steps(self) -> list[int]:
        """The steps, in order."""
        return sorted(self.folders)

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        """The weights, the config, the examples, and the seed of what is drawn."""
        found = {
            'checkpoint': self._digest(step),
            'networks': digests.of_arrays([np.frombuffer(self._said(), np.uint8)]),
            'source': self._source,
        }
        if looks:
            found |= {'examples': self._examples.number, 'seed': self._examples.seed}
        return found

    def subject(self, step: int, looks: bool = True) -> subjects.Subject:
        """The network of a step, and the examples, the same at all steps.

        Raises CheckpointError for a folder that cannot be opened, so that the other steps go on.
        """
        if self._last is None or self._last[0] != step:
            self._last = None  # before the next one takes its memory
            try:
                opened = pretrained.open(self.folders[step], **self._options)
            except errors.PretrainedError as error:
                raise errors.CheckpointError(str(error)) from error
            self._last = step, self._subject(step, opened)
        return self._last[1]

    def first(self, steps: Sequence[int], looks: bool = True) -> subjects.Subject:
        """The subject of the first of these steps."""
        return self.subject(steps[0], looks)

    def note(self, settings: Sequence[Mapping[str, Any]]) -> str:
        """What must be said beside the numbers."""
        return f'Data: {self.source}'

    def provenance(self) -> dict[str, Any]:
        """What is kept beside records: the folders and how they were opened."""
        folders = {str(step): str(folder) for step, folder in self.folders.items()}
        return {'folders': folders, 'opened': {k: str(v) for k, v in self._options.items()}}

    def _subject(self, step: int, opened: pretrained.Opened) -> subjects.Subject:
        net = opened.net.to_device()
        if _is_encoder(opened.config):
            net = retrieval.among(net, self._examples.inputs, self.at_once)
        examples = self._examples
        shape = stack_lib.output_shape(net, examples.inputs).shape
        if shape[:-1] != examples.labels.shape:
            raise errors.AnalysisError(
                f'{self.folders[step]} gives outputs of shape {shape} for labels of shape '
                f'{examples.labels.shape}: it is a base model, without the head that makes '
                'classes. Take the folder of the whole network'
            )
        subject = subjects.Subject((net,), self.names, examples, subjects.Origin(step))
        subjects.checked(examples._replace(labels=np.asarray(examples.labels)), subject)
        return subject

    def _digest(self, step: int) -> str:
        if step not in self._digests:
            folder = self.folders[step]
            files = [folder / 'config.json', *sorted(folder.glob('*.safetensors'))]
            self._digests[step] = digests.of_files(files)
        return self._digests[step]

    def _said(self) -> bytes:
        options = {name: str(value) for name, value in self._options.items()}
        return json.dumps([_of_the_network(self.config), options], sort_keys=True).encode()


def steps_of(folders: Sequence[str]) -> dict[int, pathlib.Path]:
    """{step: folder} by the numbers in the names of folders (step1000), else 0, 1, 2, ...

    Raises AnalysisError for no folder, and for two of one step.
    """
    paths = [pathlib.Path(folder).expanduser() for folder in folders if str(folder).strip()]
    if not paths:
        raise errors.AnalysisError('no folder is given: name one, or several with commas between')
    found = [_STEP.search(path.name) for path in paths]
    if not all(found):
        return dict(enumerate(paths))
    steps: dict[int, pathlib.Path] = {}
    for match, path in zip(found, paths, strict=True):
        step = int(match[1])
        if step in steps:
            raise errors.AnalysisError(
                f'{steps[step]} and {path} are both of step {step} by their names: each step is '
                'one folder'
            )
        steps[step] = path
    return steps


def _one_config(folders: Sequence[pathlib.Path]) -> dict[str, Any]:
    """The config that all folders have; AnalysisError naming the first entry that differs."""
    configs = [reading.Folder(folder).config for folder in folders]
    first = _of_the_network(configs[0])
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        other = _of_the_network(config)
        for name in sorted(first.keys() | other.keys()):
            one, two = first.get(name, 'nothing'), other.get(name, 'nothing')
            if one != two:
                raise errors.AnalysisError(
                    f'{folder} is no step of the training of {folders[0]}: config.json says '
                    f'{name}={two!r} there and {one!r} here. Analyse networks that differ in more '
                    'than their weights each by itself, in a workdir of its own'
                )
    return configs[0]


def _of_the_network(config: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in NOT_THE_NETWORK}


def _is_encoder(config: Mapping[str, Any]) -> bool:
    return config.get('model_type') in ENCODERS


def _takes_tokens(opened: pretrained.Opened) -> bool:
    try:
        opened.inputs(np.zeros((1, 1), int))
    except errors.PretrainedError:
        return False
    return True


def _examples(opened: pretrained.Opened, folder, asked: Asked):
    """(examples, what they are, numbers of outputs an example)."""
    if not _takes_tokens(opened):
        return _images(opened, folder, asked)
    if asked.images is not None:
        raise errors.AnalysisError(
            f'--images={asked.images}: {folder} is a network of texts; give --text or --tokens'
        )
    encodes = _is_encoder(opened.config)
    sequences = _sequences(opened, folder, asked, asked.length + (not encodes))
    if encodes:
        tokens_BT, mask_BT, source = sequences
        labels = np.arange(len(tokens_BT))
        question = (
            'an encoder is asked which of them it is given, by the mean of its last hidden states '
            f'(cosine over {retrieval.TEMPERATURE})'
        )
    else:
        tokens_BT, mask_BT, labels = texts.next_tokens(sequences)
        source = sequences.source
        question = 'every token is asked for the next one'
    source = f'{texts.said(tokens_BT, mask_BT, source)}; {question}'
    inputs = jax.tree.map(jax.numpy.asarray, opened.inputs(tokens_BT, mask_BT))
    mask = None if mask_BT.all() else jax.numpy.asarray(mask_BT)
    labels = jax.numpy.asarray(labels)
    examples = subjects.Examples(inputs, labels, mask, asked.seed)
    one = stack_lib.output_shape(opened.net, examples.first(1))
    return examples, source, int(np.prod(one.shape))


def _sequences(opened, folder, asked: Asked, length: int) -> texts.Sequences:
    if asked.tokens is not None:
        if asked.text is not None:
            raise errors.AnalysisError('--text and --tokens are both given: give one of them')
        return texts.of_file(asked.tokens, asked.number, length, asked.seed)
    if opened.tokenizer is None:
        raise errors.AnalysisError(
            f'{folder} has no tokenizer.json, so no text can be made into its tokens: put that of '
            'the network there, or give token ids by --tokens=FILE.npy'
        )
    text, source = texts.default()
    if asked.text is not None:
        text, source = texts.read(asked.text), str(asked.text)
    elif asked.lines:
        raise errors.AnalysisError('--lines takes the lines of a text: give --text=FILE')
    cut = texts.of_lines if asked.lines else texts.of_text
    return cut(opened.tokenizer, text, source, asked.number, length, asked.seed)


def _images(opened, folder, asked: Asked):
    if asked.text is not None or asked.tokens is not None or asked.images is None:
        raise errors.AnalysisError(
            f'{folder} is a network of images: give --images=FILE.npz with x (N, C, H, W), '
            'normalised as the reference library does it, and y (N,), the classes'
        )
    try:
        with np.load(pathlib.Path(asked.images).expanduser(), allow_pickle=False) as file:
            x, y = file['x'], file['y']
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.DataError(
            f'{asked.images} is no .npz file of x and y ({errors.reason(error)}): save one by '
            'numpy.savez(FILE, x=images, y=classes)'
        ) from error
    if len(x) != len(y) or y.ndim != 1 or y.dtype.kind not in 'iu':
        raise errors.DataError(
            f'{asked.images} holds x {x.shape} and y {y.dtype} {y.shape}: y is a whole number an '
            'image, its class'
        )
    random = np.random.default_rng(asked.seed)
    rows = np.sort(random.choice(len(y), min(asked.number, len(y)), replace=False))
    inputs = jax.numpy.asarray(opened.inputs(x[rows]))
    source = f'{len(rows)} images of {asked.images}'
    return subjects.Examples(inputs, jax.numpy.asarray(y[rows]), seed=asked.seed), source, 10**5
