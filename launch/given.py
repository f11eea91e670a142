"""The config flags that were given on the command line, for launchers whose config comes first."""

from typing import Any

from absl import flags

from launch import flags as config_flags
from resnet_dyn import config


def changes() -> dict[str, Any]:
    """Values by dotted path, as in {'model.depth': 20}, of the config flags that were given."""
    named = {leaf.path: flags.FLAGS[config_flags.PREFIX + leaf.path] for leaf in config.leaves()}
    return {path: flag.value for path, flag in named.items() if flag.present}
