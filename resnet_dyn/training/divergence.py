"""Networks whose loss becomes NaN or Inf: each is said once and taken out, the others go on.

From that step on all of such a network is NaN: its values in lines and records, and its arrays in
checkpoints. Where all networks of a run have diverged there is nothing to go on with.
"""

import numpy as np

from resnet_dyn import config, errors
from resnet_dyn.models import placement
from resnet_dyn.training import program, progress, runs, totals


class Watch:
    """What is known of the divergence of a run's networks; `say` takes lines for people."""

    def __init__(self, run: runs.Run, programs: program.Program, say: progress.Report):
        self._run, self._programs, self._say = run, programs, say
        self._known_S = np.full(run.config.seeds, totals.NEVER)

    def begin(self, networks: program.Networks) -> None:
        """Says which networks had diverged before the checkpoint that is restored."""
        sums = placement.gather(networks.totals)
        self._known_S = np.array(sums.first_bad)
        for s in np.flatnonzero(self._known_S != totals.NEVER):
            self._say(f'WARNING: {name(self._run, s)} diverged at step {self._known_S[s] + 1}')
        self._check_any_left('', np.isfinite(sums.last_finite))

    def after_steps(self, networks: program.Networks, last_line: dict | None) -> program.Networks:
        """The networks without those whose training loss was not finite.

        `last_line` is the last training line with its `step`. Raises NotFiniteError where none is
        left, as `after_evaluation`.
        """
        sums = placement.gather(networks.totals)
        first_bad_S, finite_S = np.array(sums.first_bad), np.array(sums.last_finite)

        def reason(s):
            before = f'the last finite one is {finite_S[s]:.4g}'
            if not np.isfinite(finite_S[s]):
                before = 'none was finite'
            if last_line is not None:
                before += (
                    f', and the last line, at step {last_line["step"]}, has for it the loss '
                    f'{last_line["loss"][s]:.4g} and the accuracy '
                    f'{last_line["train_accuracy"][s]:.4f}'
                )
            return f'its loss became NaN or Inf at step {first_bad_S[s] + 1}; {before}'

        return self._take_out(networks, first_bad_S, reason, np.isfinite(finite_S))

    def after_evaluation(
        self, networks: program.Networks, step: int, loss_S: np.ndarray
    ) -> program.Networks:
        """The networks without those whose test loss, at `step`, is not finite."""
        bad_S = ~np.isfinite(loss_S) & (self._known_S == totals.NEVER)
        first_bad_S = np.where(bad_S, step - 1, self._known_S)
        trained_S = np.full(len(bad_S), step > 0)
        return self._take_out(
            networks,
            first_bad_S,
            lambda s: f'its test loss at step {step} is not finite',
            trained_S,
        )

    def _take_out(self, networks, first_bad_S, reason, trained_S) -> program.Networks:
        new = np.flatnonzero(first_bad_S < self._known_S)
        if not new.size:
            return networks
        self._known_S = np.array(first_bad_S)
        said = [f'{name(self._run, s)} diverged: {reason(s)}' for s in new]
        self._check_any_left('; '.join(said), trained_S)
        for s, line in zip(new, said, strict=True):
            self._say(
                f'WARNING: {line}. The others go on; for this one {self._mend(trained_S[s])}, in '
                'another workdir'
            )
        return self._programs.take_out(networks, first_bad_S)

    def _check_any_left(self, said: str, trained_S: np.ndarray) -> None:
        if (self._known_S == totals.NEVER).any():
            return
        networks = len(self._known_S)
        all_of_them = f'all {networks} networks of the run have diverged' if networks > 1 else ''
        raise errors.NotFiniteError(
            f'{"; ".join(filter(None, (said, all_of_them)))}. To mend it, '
            f'{self._mend(trained_S.any())}, in another workdir; what was saved before stays in '
            f'{self._run.workdir}'
        )

    def _mend(self, trained: bool) -> str:
        """What to do; where no loss was ever finite, no rate has had a part in it."""
        cfg = self._run.config
        if trained:
            rate = cfg.train.learning_rate
            return (
                f'take a lower config.train.learning_rate (it is {rate}) or a config.train.warmup'
            )
        gamma = f'config.model.gamma (it is {cfg.model.gamma}) or '
        gamma = (
            gamma
            if cfg.model.norm != 'none'
            else f'config.model.norm={config.PRESETS[cfg.model.family]["model.norm"]}, '
        )
        return (
            f'take other initial values, by {gamma}fewer blocks, or look for inputs of huge values'
        )


def name(run: runs.Run | runs.Start, s: int) -> str:
    """How a network of a run is called: by its index and its seed."""
    return f'network {s} (seed {run.config.seed + s})'
