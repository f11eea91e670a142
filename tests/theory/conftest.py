"""What tests of the theory share."""

import jax
import pytest


@pytest.fixture(scope='module')
def float64():
    """Within, JAX computes in float64."""
    with jax.enable_x64(True):
        yield
