"""For every test: four simulated CPU devices, no silent rank promotion, cached compiles."""

import os
import pathlib

os.environ.setdefault('JAX_PLATFORMS', 'cpu')

from resnet_dyn import backend

backend.configure_cpu()

import jax  # noqa: E402

_CACHE = pathlib.Path(__file__).parent.parent / '.jax_cache'

jax.config.update('jax_num_cpu_devices', 4)
jax.config.update('jax_numpy_rank_promotion', 'raise')
jax.config.update('jax_compilation_cache_dir', str(_CACHE))
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0)
jax.config.update('jax_persistent_cache_min_entry_size_bytes', 0)
