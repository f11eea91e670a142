"""Which process left a file, in words that tell later whether it lives.

Of a process of this start of this machine the kernel is asked; of others nothing is known here.
"""

import json
import os
import pathlib
import socket
import uuid
from collections.abc import Mapping
from typing import Any

_PROCESSES = pathlib.Path('/proc')


def myself() -> bytes:
    """Who this is: this start of the machine, the process, and a word of its own."""
    boot, namespace = _here()
    who = {
        'host': socket.gethostname(),
        'pid': os.getpid(),
        'boot': boot,
        'pids': namespace,
        'started': _started(os.getpid()),
        'key': uuid.uuid4().hex,
    }
    return f'{json.dumps(who)}\n'.encode()


def is_here(who: Mapping[str, Any]) -> bool:
    """Whether it is a process of this start of this machine, and of our space of numbers."""
    return (who.get('boot'), who.get('pids')) == _here() and isinstance(who.get('pid'), int)


def lives(who: Mapping[str, Any]) -> bool:
    """Whether the process of this machine is there, and not another of its number."""
    try:
        os.kill(who['pid'], 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        pass
    now = _started(who['pid'])
    return not now or now == who.get('started')


def left_by(text: bytes | None) -> dict[str, Any]:
    """What `myself` said, in a file of this text; {} where that is nonsense."""
    try:
        found = json.loads(text or b'')
    except ValueError:  # half written, or of an earlier version
        return {}
    return found if isinstance(found, dict) else {}


def named(text: bytes | None) -> str:
    """The process that left a file of this text, in words."""
    who = left_by(text)
    return f'process {who.get("pid")} on {who.get("host")}' if who else 'another process'


def _here() -> tuple[str, str]:
    """This start of this machine, and the space that its numbers of processes are of."""
    try:
        boot = (_PROCESSES / 'sys/kernel/random/boot_id').read_text().strip()
        return boot, os.readlink(_PROCESSES / 'self/ns/pid')
    except OSError:  # no Linux
        return f'{socket.gethostname()} {uuid.getnode()}', ''


def _started(pid: int) -> str:
    """When a process began, as the kernel counts; '' where it does not say."""
    try:
        return (_PROCESSES / f'{pid}/stat').read_text().rpartition(')')[2].split()[19]
    except (OSError, IndexError):
        return ''
