"""What a measure sees of anything: networks as stacks, their names, examples, and their origin.

A run yields a `Subject` for each of its checkpoints (`run_subjects`), a network that no run of ours
made is one (`of_networks`). Measures know nothing else, so that both are measured, recorded and
drawn by the same functions.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from resnet_dyn import errors
from resnet_dyn.kernels import metrics
from resnet_dyn.models import stack as stack_lib


class Names(NamedTuple):
    """What tables and errors call the networks and their blocks."""

    networks: tuple[str, ...]  # S
    blocks: tuple[str, ...]  # L, from the input


class Examples(NamedTuple):
    """What the networks are looked at with, as they take it."""

    inputs: Any  # (B, ...), or a tree of arrays led by B
    labels: Any  # (B,), or of tokens (B, T), where -1 does not count
    mask: Any = None  # (B, T), tokens that count in what is said of hidden states; None: all
    seed: int = 0  # what a measure draws at random, it draws from this

    @property
    def number(self) -> int:
        """B."""
        return len(self.labels)

    @property
    def tokens(self) -> bool:
        """Whether examples are sequences of tokens: whole numbers (B, T) are among the inputs."""
        leaves = [leaf for leaf in jax.tree.leaves(self.inputs) if leaf.ndim == 2]
        return any(jnp.issubdtype(leaf.dtype, jnp.integer) for leaf in leaves)

    def first(self, number: int):
        """The inputs of the first examples."""
        return stack_lib.take(self.inputs, slice(number))


class Origin(NamedTuple):
    """Where a subject came from."""

    step: int = 0  # of its training
    facts: Mapping[str, Any] = {}  # what JSON can say, and numbers depend on


class Subject(NamedTuple):
    """S networks of one model at one moment, and the examples that they are measured on."""

    stacks: tuple[stack_lib.ResidualStack, ...]  # S
    names: Names
    examples: Examples | None  # None: a measure of the parameters alone
    origin: Origin

    @property
    def blocks(self) -> int:
        """L."""
        return stack_lib.num_blocks(self.stacks[0])

    @property
    def couples_examples(self) -> bool:
        """Whether examples meet in the networks, so that they may not be looked at in parts."""
        return any(stack.couples_examples for stack in self.stacks)

    @property
    def output(self):
        """Shape and dtype of the head's output."""
        return stack_lib.output_shape(self.stacks[0], self.examples.inputs)

    @property
    def outputs(self) -> int:
        """K, the length of the last axis of the head's output."""
        return self.output.shape[-1]

    def some(self, networks: Sequence[int]) -> 'Subject':
        """The subject of the networks at these indices alone."""
        names = tuple(self.names.networks[s] for s in networks)
        return self._replace(
            stacks=tuple(self.stacks[s] for s in networks),
            names=self.names._replace(networks=names),
        )


def of_networks(
    networks: stack_lib.ResidualStack | Sequence[stack_lib.ResidualStack],
    inputs,
    labels,
    *,
    names: Names | None = None,
    seed: int = 0,
    mask=None,
) -> Subject:
    """The subject of one network or of several of one model, on inputs (B, ...) and labels (B,).

    Inputs may be a tree of arrays led by B. Labels of tokens are (B, T), -1 where one does not
    count, and `mask` (B, T) says which tokens count in what is said of hidden states; None: all.

    Raises TypeError for what is no stack; ValueError for no network, for networks that differ in
    more than parameters, for names of other numbers, and DataError for labels that are not whole
    numbers in 0..K-1, one an example or a token of the output, for an example of which no token
    counts, and for a mask of another form.
    """
    if isinstance(networks, stack_lib.ResidualStack):
        networks = (networks,)
    networks = tuple(networks if networks is not None else ())
    for number, network in enumerate(networks):
        if not isinstance(network, stack_lib.ResidualStack):
            raise TypeError(
                f'network {number} is a {type(network).__name__}: make a ResidualStack of it '
                '(models.stack: from_model, from_functions, or stages of your own)'
            )
    if not networks:
        raise ValueError('no networks: give at least one stack')
    form = jax.tree.structure(networks[0])
    for number, network in enumerate(networks[1:], start=1):
        if jax.tree.structure(network) != form:
            raise ValueError(
                f'network {number} is not of the model of network 0: their blocks or functions '
                'differ. Give networks that differ in their parameters alone'
            )
    S, L = len(networks), stack_lib.check_blocks(networks[0])
    names = names or numbered(S, L, networks[0].names)
    if not isinstance(names, Names):
        raise TypeError(f'names={names!r}: give analysis.subjects.Names(networks, blocks)')
    if (len(names.networks), len(names.blocks)) != (S, L):
        raise ValueError(
            f'{len(names.networks)} names for {S} networks and {len(names.blocks)} for {L} blocks: '
            'give one each'
        )
    inputs = stack_lib.arrays(inputs)
    mask = None if mask is None else jnp.asarray(mask, bool)
    stacks = tuple(stack_lib.on_device(network) for network in networks)
    examples = Examples(inputs, np.asarray(labels), mask, seed)
    subject = Subject(stacks, names, examples, Origin())
    labels = checked(examples, subject)
    return subject._replace(examples=examples._replace(labels=jnp.asarray(labels)))


def checked(examples: Examples, subject: Subject) -> np.ndarray:
    """The labels if they are classes of the examples; DataError saying what is wrong with them."""
    labels, mask = examples.labels, examples.mask
    shapes = [leaf.shape for leaf in jax.tree.leaves(examples.inputs)]
    if (
        not labels.shape[:1]
        or any(shape[:1] != labels.shape[:1] for shape in shapes)
        or not len(labels)
    ):
        said = f'shape {shapes[0]}' if len(shapes) == 1 else f'shapes {shapes}'
        raise errors.DataError(
            f'inputs have {said} and labels {labels.shape}: give at least one '
            'example, and one label an example'
        )
    if mask is not None and (mask.ndim != 2 or len(mask) != len(labels)):
        raise errors.DataError(
            f'the mask has shape {mask.shape}: it says of each token of the {len(labels)} examples '
            'whether it counts, (B, T)'
        )
    h = jax.eval_shape(stack_lib.stem, subject.stacks[0], examples.inputs)
    if mask is not None and (h.ndim < 3 or h.shape[:2] != mask.shape):
        raise errors.DataError(
            f'the mask has shape {mask.shape} and hidden states {h.shape}: there is no token for '
            'each of its places; leave it out, or give one that says of the tokens (B, T) of '
            'hidden states (B, T, ...) whether they count'
        )
    if labels.dtype.kind not in 'iu':
        raise errors.DataError(metrics.no_classes(labels.dtype))
    if why := metrics.reason(labels, subject.output):
        raise errors.DataError(why)
    return labels


def numbered(networks: int, blocks: int, known: Sequence[str] | None = None) -> Names:
    """Names by number alone, of blocks where they are not known."""
    return Names(
        tuple(f'network {s}' for s in range(networks)),
        tuple(known or (f'block {l}' for l in range(blocks))),
    )


def not_finite(stack: stack_lib.ResidualStack) -> str:
    """Why a network cannot be measured, if any of its parameters is NaN or infinite; else ''."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(stack)
    for path, leaf in leaves:
        values = np.asarray(leaf, np.float32)
        if not np.isfinite(values).all():
            count = int((~np.isfinite(values)).sum())
            name = jax.tree_util.keystr(path, simple=True, separator='/')
            return f'{count:,} of its {values.size:,} parameters {name} are NaN or infinite'
    return ''
