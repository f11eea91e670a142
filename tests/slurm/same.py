"""Whether two runs ended in the same parameters, to the bit: same.py WORKDIR WORKDIR."""

import sys

import numpy as np

from resnet_dyn.training import checkpoints


def ends(workdir):
    """The step and the leaves of the newest checkpoint."""
    import jax

    step, trees, _ = checkpoints.restore_training(workdir)
    return step, [np.asarray(leaf) for leaf in jax.tree.leaves(trees)]


(step, ours), (other_step, others) = (ends(workdir) for workdir in sys.argv[1:])
same = step == other_step and len(ours) == len(others)
same = same and all(a.tobytes() == b.tobytes() for a, b in zip(ours, others, strict=True))
print(f'step {step}: {"the same" if same else "OTHER"} bits in {len(ours)} arrays')
sys.exit(not same)
