"""The tree of a run: its rooms with their fields, and what is kept and said of it.

The fields of `data`, `model` and `train` stand in a module each: their defaults, help texts,
ranges, and what each is of use with. What a field is filled in with where it is unset, and which
runs cannot be, is said beside them: `config` and `config.checks`. `None` remains where only the
data can tell (their sizes), where a share of the run is meant (cadences), and for what does not
apply.
"""

import dataclasses

from resnet_dyn import fields
from resnet_dyn.config import data_fields, model_fields, train_fields

Data, Model, Train = data_fields.Data, model_fields.Model, train_fields.Train
field = fields.field


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """What is kept of a run."""

    every: int | None = field(
        None,
        'steps between checkpoints, the first of which is step 0; unset: a tenth of the run',
        low=1,
        neutral=True,
    )
    keep: int | None = field(
        None,
        'keep the last N checkpoints, step 0, and the early ones; unset: all',
        low=1,
        neutral=True,
    )
    early: bool = field(
        False,
        'checkpoints also at the steps 1, 2, 4, 8, ... below the first that `every` makes',
        neutral=True,
    )


@dataclasses.dataclass(frozen=True)
class Log:
    """What is said and recorded of a run while it goes."""

    every: int | None = field(
        None, 'steps between training lines; unset: 1/50 of the run', low=1, neutral=True
    )
    record: int | None = field(
        None,
        'steps between records of gammas, weight norms and branch/skip second moments; unset: '
        '1/50 of the run',
        low=1,
        neutral=True,
    )
    evaluate: int | None = field(
        None,
        'steps between evaluations on the test set; unset: a tenth of the run',
        low=1,
        neutral=True,
    )
    tensorboard: bool = field(True, 'write TensorBoard event files', neutral=True)


@dataclasses.dataclass(frozen=True)
class Config:
    """A run: S = `seeds` networks on one data set, network s from the seed `seed + s`."""

    seed: int = field(0, 'seed of the first network', low=0, high=2**31 - 1)
    seeds: int = field(1, 'number of networks trained at once', low=1, high=100_000)
    data: Data = dataclasses.field(default_factory=Data)
    model: Model = dataclasses.field(default_factory=Model)
    train: Train = dataclasses.field(default_factory=Train)
    checkpoint: Checkpoint = dataclasses.field(default_factory=Checkpoint)
    log: Log = dataclasses.field(default_factory=Log)

    def __post_init__(self):
        if self.model.block is None:
            raise TypeError('this config has unset fields: make one by config.parse({...})')
