"""absl flags generated from the config tree, one flag a field, and the config read back from them.

The field `model.depth` is `--config.model.depth`, with the help, the range and the default that
`resnet_dyn/config.py` gives it; a launcher shows them all in its `--help` by
`flags.adopt_module_key_flags(config_flags)`.
"""

from absl import flags

from resnet_dyn import config as config_lib

PREFIX = 'config.'


def config() -> config_lib.Config:
    """The validated config of the parsed flags; what cannot run raises a flag error saying why."""
    values = {leaf.path: flags.FLAGS[PREFIX + leaf.path].value for leaf in config_lib.leaves()}
    try:
        return config_lib.validate(config_lib.replace(config_lib.Config(), values))
    except ValueError as error:
        raise flags.IllegalFlagValueError(str(error)) from error


class _Choice(flags.EnumParser):
    """A word of a list; a word that is not on it gets the list and the nearest."""

    def parse(self, argument: str) -> str:
        if argument in self.enum_values:
            return argument
        hint = config_lib.nearest(argument, self.enum_values)
        raise ValueError(f'it must be one of {", ".join(self.enum_values)}{hint}')


def _define(leaf: config_lib.Leaf) -> None:
    meta = leaf.metadata
    if leaf.type is bool:
        flags.DEFINE_boolean(PREFIX + leaf.path, leaf.default, meta['help'])
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
    flags.DEFINE(parser, PREFIX + leaf.path, leaf.default, text, serializer=None)


for _leaf in config_lib.leaves():
    _define(_leaf)
