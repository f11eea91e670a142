"""Numbers of plans for people."""

_BINARY = ('B', 'KiB', 'MiB', 'GiB', 'TiB')
_DECIMAL = ('', 'k', 'M', 'G', 'T', 'P')


def binary(size: float) -> str:
    """Bytes in three digits: 15.7 GiB."""
    place = 0
    while abs(size) >= 999.5 and place < len(_BINARY) - 1:
        size, place = size / 1024, place + 1
    return f'{_three(size)} {_BINARY[place]}'


def decimal(number: float, unit: str = '') -> str:
    """A number in three digits: 28.3 G, 192 MB."""
    place = 0
    while abs(number) >= 999.5 and place < len(_DECIMAL) - 1:
        number, place = number / 1000, place + 1
    return f'{_three(number)} {_DECIMAL[place]}{unit}'.rstrip()


def seconds(time: float) -> str:
    """A time in three digits: 0.235 ms, 1.2 s."""
    return f'{_three(1000 * time)} ms' if time < 1 else f'{_three(time)} s'


def _three(number: float) -> str:
    if number == 0 or abs(number) >= 100:
        return f'{number:.0f}'
    return f'{number:.3g}'
