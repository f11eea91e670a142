"""Steps saved as a training saves them, for tests of checkpoints."""

from collections.abc import Mapping

from resnet_dyn.training import checkpoints


def save(workdir, trees: Mapping, meta: Mapping, keep: int | None = None) -> None:
    """Saves the trees of each step, in turn and with the same meta, by one writer."""
    writer = checkpoints.Writer(workdir, keep)
    for step, values in trees.items():
        writer.save(step, values, meta)
    writer.close()
