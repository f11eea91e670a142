"""absl flags made of dataclasses: one for each field, with its help, its range and its default.

`--config.model.depth=20` and its like set the config of a run; their values, words and bounds are
those of `resnet_dyn/config`. The options of measures become flags in the same way. A
launcher shows them in its `--help` by `flags.adopt_module_key_flags(config_flags)`.
"""

import os
import pathlib
from typing import Any

from absl import flags

from resnet_dyn import config as config_lib
from resnet_dyn import errors, fields

PREFIX = 'config.'

_PATHS = ('data.dir', 'data.cache')


def config() -> config_lib.Config:
    """The config of the flags that were given; what cannot run raises a flag error saying why."""
    try:
        return config_lib.parse(given())
    except errors.ConfigError as error:
        raise flags.IllegalFlagValueError(str(error)) from error


def given() -> dict[str, Any]:
    """Values by dotted path, as in {'model.depth': 20}, of the config flags that were given.

    Paths are absolute: a run goes on from any folder.
    """
    return absolute(given_of(config_lib.Config, PREFIX))


def absolute(values: dict[str, Any]) -> dict[str, Any]:
    """The values with absolute paths for those that are paths."""
    paths = {path: values[path] for path in _PATHS if values.get(path)}
    return values | {name: str(_absolute(path)) for name, path in paths.items()}


def given_of(node: type, prefix: str) -> dict[str, Any]:
    """The same of the flags that `define(node, prefix)` made."""
    named = {leaf.path: flags.FLAGS[prefix + leaf.path] for leaf in fields.leaves(node)}
    return {path: flag.value for path, flag in named.items() if flag.present}


def define(node: type, prefix: str) -> list[str]:
    """Defines a flag `prefix + path` for every leaf of a tree of dataclasses; returns the names.

    One that is there already is left.
    """
    names = []
    for leaf in fields.leaves(node):
        names.append(prefix + leaf.path)
        if names[-1] not in flags.FLAGS:
            _define(leaf, names[-1])
    return names


def _absolute(path: str) -> pathlib.Path:
    return pathlib.Path(os.path.expanduser(path)).absolute()


class _Choice(flags.EnumParser):
    """A word of a list; a word that is not on it gets the list and the nearest."""

    def parse(self, argument: str) -> str:
        if argument in self.enum_values:
            return argument
        hint = fields.nearest(argument, self.enum_values)
        raise ValueError(f'it must be one of {", ".join(self.enum_values)}{hint}')


class _Boolean(flags.BooleanParser):
    """True or false."""

    def parse(self, argument: str | int | bool) -> bool:
        try:
            return super().parse(argument)
        except ValueError:
            raise ValueError('it must be true or false') from None


def _define(leaf: fields.Leaf, name: str) -> None:
    meta = leaf.metadata
    if leaf.type is bool:
        flag = flags.BooleanFlag(name, leaf.default, meta['help'])
        flag.parser = _Boolean()
        flags.DEFINE_flag(flag)
        return
    bounds = {'lower_bound': meta['low'], 'upper_bound': meta['high']}
    text = meta['help']
    if meta['choices'] is not None:
        parser = _Choice(meta['choices'])
        text = f'<{"|".join(meta["choices"])}> {text}'
    elif leaf.type is int:
        parser = flags.IntegerParser(**bounds)
    elif leaf.type is float:
        parser = flags.FloatParser(**bounds)
    else:
        parser = flags.ArgumentParser()
    flags.DEFINE(parser, name, leaf.default, text, serializer=None)


define(config_lib.Config, PREFIX)
