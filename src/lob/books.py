"""The order books that are here: the plain Python rulebook, and the native one where built."""

from lob.book import OrderBook as PythonOrderBook


def why_not_native() -> str:
    """Return why the native book cannot be had, or "" where it can."""
    try:
        import lob.native  # noqa: F401, PLC0415 - it is there or it is not
    except ImportError as error:
        return str(error)
    return ""


def available_books() -> tuple[type[PythonOrderBook], ...]:
    """Return the books there are, the rulebook in plain Python first.

    Types say that each is the Python book: they share an interface, not a base.
    """
    if why_not_native():
        return (PythonOrderBook,)
    from lob.native import NativeOrderBook  # noqa: PLC0415 - only where it was built

    return (PythonOrderBook, NativeOrderBook)  # type: ignore[return-value, unused-ignore]
