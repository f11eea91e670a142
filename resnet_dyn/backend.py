"""The one place that sets XLA's flags, before JAX starts; launchers, benchmarks and tests call it.

The library itself never sets a global switch. All of it must run before `import jax`.

On jaxlib 0.10.2 XLA:CPU sends convolutions to YNNPACK, which makes a ResNet-20 training step
about 2.2 times slower and the forward pass 1.4 times slower; the flag below turns that path off.
An XLA that does not know a flag aborts, so the flag is set only for versions where it was seen
to work, and never over a value that the user has set.
"""

import importlib.metadata
import importlib.util
import os
import pathlib

_YNN_FLAG = '--xla_cpu_experimental_ynn_fusion_type='
_EMITTERS_FLAG = '--xla_cpu_use_fusion_emitters='
_PARTS_FLAG = '--xla_cpu_parallel_codegen_split_count='
_SEEN_TO_WORK = ('0.10.2',)
_DESCRIBED = {
    'JAX_PLATFORMS': 'cpu',
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'ALLOW_MULTIPLE_LIBTPU_LOAD': '1',
}
_ACCELERATOR_PLUGINS = ('jax_cuda12_plugin', 'jax_cuda13_plugin', 'jax_rocm7_plugin', 'libtpu')


def configure_cpu() -> bool:
    """Turns YNNPACK off for runs on the CPU alone; returns whether this call set the flag."""
    return _set(_YNN_FLAG, '', unless='xla_cpu_experimental_ynn')


def compile_quickly() -> bool:
    """Takes XLA:CPU's older emitters of code, for tests on the CPU alone; whether it set the flags.

    They compile in about two thirds of the time; what they make runs slower and rounds otherwise.
    A program is not cut into parts to be compiled side by side: for small ones the cutting takes
    longer than it saves, about a tenth of all where each core has its own tests.
    """
    return all(
        [
            _set(_EMITTERS_FLAG, 'false', unless=_EMITTERS_FLAG),
            _set(_PARTS_FLAG, '1', unless=_PARTS_FLAG),
        ]
    )


def keep_programs(folder: pathlib.Path) -> None:
    """Keeps compiled programs in a folder, for other runs and starts; what users set wins."""
    os.environ.setdefault('JAX_COMPILATION_CACHE_DIR', str(folder))
    os.environ.setdefault('JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS', '0.1')


def compile_for_tpus() -> None:
    """Lets libtpu describe TPUs that are not there, to compile for; all else is the CPU's.

    It asks no machine of Google's for what it runs on, and minds no other process that does so.
    """
    os.environ.update(_DESCRIBED)
    os.environ.setdefault('TPU_ACCELERATOR_TYPE', 'v5litepod-8')  # any: the topology says which


def _set(flag: str, value: str, unless: str) -> bool:
    flags = os.environ.get('XLA_FLAGS', '')
    if unless in flags or not _cpu_alone():
        return False
    if importlib.metadata.version('jaxlib') not in _SEEN_TO_WORK:
        return False
    os.environ['XLA_FLAGS'] = f'{flags} {flag}{value}'.strip()
    return True


def _cpu_alone() -> bool:
    platforms = os.environ.get('JAX_PLATFORMS', '')
    if platforms:
        return platforms == 'cpu'
    return not any(importlib.util.find_spec(name) for name in _ACCELERATOR_PLUGINS)
