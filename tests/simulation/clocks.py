"""Have every default clock of the gateway's code ask the `time` module when it is called.

A signature such as `monotonic: Callable[[], float] = time.monotonic` keeps the function that the
module had when it was imported. Virtual time replaces the module's functions, so such defaults are
replaced once by ones that look there each time; outside a simulation they do what they did.
"""

import inspect
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

OURS: Final = ("services.order_gateway", "touchstone.kit", "touchstone.perps")


def _looked_up(name: str) -> Callable[[], Any]:
    """Return a clock that asks the module at each call."""

    def look_up() -> Any:
        return vars(time)[name]()

    return look_up


_REAL: Final[dict[Callable[[], Any], Callable[[], Any]]] = {
    getattr(time, name): _looked_up(name)
    for name in ("monotonic", "time", "time_ns", "monotonic_ns")
}


def rebind_default_clocks() -> int:
    """Replace the default clocks of all modules imported so far; return how many."""
    count = 0
    for function in _functions():
        defaults = function.__defaults__ or ()
        if any(_known(value) for value in defaults):
            function.__defaults__ = tuple(_REAL[v] if _known(v) else v for v in defaults)
            count += 1
        named = function.__kwdefaults__ or {}
        for name, value in named.items():
            if _known(value):
                named[name] = _REAL[value]
                count += 1
    return count


def _known(value: Any) -> bool:
    return inspect.isbuiltin(value) and value in _REAL


def _functions() -> Iterator[Any]:
    for name, module in list(sys.modules.items()):
        if not name.startswith(OURS):
            continue
        for member in list(vars(module).values()):
            if inspect.isfunction(member):
                yield inspect.unwrap(member)
            elif inspect.isclass(member) and member.__module__ == name:
                functions = (f for f in vars(member).values() if inspect.isfunction(f))
                yield from map(inspect.unwrap, functions)
