"""Published networks as subjects: one folder, or several as the steps of one training.

What they are looked at with follows from what they take: decoders predict the next token of
sequences; encoders of texts tell sequences apart (`retrieval`); networks of images have labels.
Each folder is opened when its step is looked at, and the one before is let go.
"""

import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resnet_dyn import errors, pretrained
from resnet_dyn.analysis import digests, retrieval, subjects, texts, training_folders
from resnet_dyn.analysis import effort as effort_lib
from resnet_dyn.models import stack as stack_lib

ENCODERS = ('bert',)  # of texts: model_type


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

    `options` are those of `pretrained.open`. A folder that cannot be opened, whichever it is, is a
    step that is lost. Raises AnalysisError where the folders are no trajectory, PretrainedError
    where none of them can be opened.
    """

    def __init__(
        self,
        folders: Sequence[str],
        asked: Asked,
        at_once: int | None = None,
        **options: Any,
    ):
        self.folders = training_folders.steps_of(folders)
        self._options = options
        self.config, self._damage = training_folders.one_config(self.folders)
        self._digests: dict[int, str] = {}
        self._last: tuple[int, subjects.Subject] | None = None
        self._examples: subjects.Examples | None = None
        for step in self.steps:
            with contextlib.suppress(errors.CheckpointError):
                self._begin(step, asked, at_once)
                return
        raise training_folders.none_opens(self.folders, self._damage)

    @property
    def steps(self) -> list[int]:
        """The steps, in order."""
        return sorted(self.folders)

    def facts(self, step: int, looks: bool = True) -> dict[str, Any]:
        """The weights, the config, the examples, and the seed of what is drawn.

        Raises CheckpointError for a folder that is known not to open.
        """
        if step in self._damage:
            raise errors.CheckpointError(self._damage[step])
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
            self._last = step, self._subject(step, self._opened(step))
        return self._last[1]

    def first(self, steps: Sequence[int], looks: bool = True) -> subjects.Subject:
        """The subject of the first of these steps that opens; CheckpointError for none."""
        for step in steps:
            with contextlib.suppress(errors.CheckpointError):
                return self.subject(step, looks)
        raise errors.CheckpointError(self._damage[steps[0]])

    def note(self, settings: Sequence[Mapping[str, Any]]) -> str:
        """What must be said beside the numbers."""
        return f'Data: {self.source}'

    def provenance(self) -> dict[str, Any]:
        """What is kept beside records: the folders and how they were opened."""
        folders = {str(step): str(folder) for step, folder in self.folders.items()}
        return {'folders': folders, 'opened': {k: str(v) for k, v in self._options.items()}}

    def _begin(self, step: int, asked: Asked, at_once: int | None) -> None:
        """Makes the examples by the network of a step, the first that is looked at."""
        opened, folder = self._opened(step), self.folders[step]
        self._examples, self.source, outputs = _examples(opened, folder, asked)
        self.names = subjects.Names((folder.name,), tuple(opened.names))
        self.at_once = at_once or effort_lib.examples_for(outputs, asked.number)
        arrays = jax.tree.leaves((self._examples.inputs, self._examples.labels))
        self._source = digests.of_arrays(arrays)
        self._last = step, self._subject(step, opened)

    def _opened(self, step: int) -> pretrained.Opened:
        if step not in self._damage:
            try:
                return pretrained.open(self.folders[step], **self._options)
            except errors.PretrainedError as error:
                self._damage[step] = str(error)
        raise errors.CheckpointError(self._damage[step])

    def _subject(self, step: int, opened: pretrained.Opened) -> subjects.Subject:
        net = opened.net.to_device()
        if _is_encoder(opened.config):
            net = retrieval.among(net, self._examples.inputs, self.at_once)
        examples = self._examples
        shape = stack_lib.output_shape(net, examples.inputs).shape
        if shape[:-1] != examples.labels.shape:
            self._damage[step] = (
                f'{self.folders[step]} gives outputs of shape {shape} for labels of shape '
                f'{examples.labels.shape}: it is a base model, without the head that makes '
                'classes. Take the folder of the whole network'
            )
            raise errors.CheckpointError(self._damage[step])
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
        network = training_folders.of_the_network(self.config)
        return json.dumps([network, options], sort_keys=True).encode()


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
