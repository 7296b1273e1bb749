"""How much more two threads with a book each come to than one.

The two processors of a virtual machine may be two threads of one core, or share one with somebody
else's, and that changes many times a second: one alone has a whole core now and then, two never
have. So two threads are held against two processes, which share nothing but the machine, in trials
of half a second: what these do not lose, two threads lose to each other. Where there are two cores,
one of two processes is as fast as one alone.
"""

import multiprocessing
import statistics
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bench.book_cases import Kind, Ready, Run, Sample, at_once, clock, quiet, touch_of
from bench.stream import Touch
from lob.book import OrderBook
from lob.messages import Array

TRIALS: Final = 7


class Trial(NamedTuple):
    """Seconds of the same replay, one after the other, and the touch that the last came to.

    Without a way to fork, there are no two processes.
    """

    one: float
    two_processes: float | None
    two_threads: float
    touch: Touch

    def figures(self) -> dict[str, float]:
        """Return the ratios."""
        found = {"two_threads_over_one": 2 * self.one / self.two_threads}
        if self.two_processes is not None:
            found["two_processes_over_one"] = 2 * self.one / self.two_processes
            found["two_threads_over_one_of_two"] = 2 * self.two_processes / self.two_threads
        return found


def threaded(kind: Kind, messages: Array, prelude: int, limit: int) -> Run:
    """Prepare the same replay on one thread, then by two processes, then on two threads."""
    first, body = messages[:prelude], messages[prelude : prelude + limit]
    forks = "fork" in multiprocessing.get_all_start_methods()

    def filled() -> OrderBook:
        book = kind.book()
        book.apply(first)
        return book

    def one() -> float:
        # The book is let go: what follows gets memory for trades that has been written to, too.
        book = filled()
        with quiet(at_once):
            started = clock()
            book.apply(body)
            return clock() - started

    def trial() -> Trial:
        alone = one()
        processes = _two_processes(filled, body) if forks else None
        pair = [filled(), filled()]
        with quiet(at_once):
            return Trial(alone, processes, _two_threads(pair, body), touch_of(pair[1]))

    def run(ready: Ready) -> Sample:
        trial()  # what comes after the other contestants is slower
        ready()
        return sample_of([trial() for _ in range(TRIALS)], len(body))

    return run


def sample_of(trials: Sequence[Trial], messages: int) -> Sample:
    """Return the medians over the trials."""
    figures = [trial.figures() for trial in trials]
    seconds = statistics.median(trial.two_threads for trial in trials)
    medians = {name: statistics.median(found[name] for found in figures) for name in figures[0]}
    return Sample({"messages_per_second": 2 * messages / seconds, **medians}, trials[-1].touch)


def _two_threads(pair: Sequence[OrderBook], body: Array) -> float:
    """Return the seconds that two threads with a book each take together."""
    gate = threading.Barrier(len(pair))
    spans: list[tuple[float, float]] = []

    def work(book: OrderBook) -> None:
        gate.wait()
        started = clock()
        book.apply(body)
        spans.append((started, clock()))

    threads = [threading.Thread(target=work, args=(book,)) for book in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return _from_first_to_last(spans)


def _two_processes(filled: Callable[[], OrderBook], body: Array) -> float:
    """Return the seconds that two processes with a book each take together."""
    forked = multiprocessing.get_context("fork")  # the messages are shared, not copied
    gate = forked.Barrier(2)
    spans = forked.SimpleQueue()

    def work() -> None:
        for warming in (True, False):
            book = filled()
            if not warming:
                gate.wait()
            started = clock()
            book.apply(body)
        spans.put((started, clock()))

    processes = [forked.Process(target=work) for _ in range(2)]
    for process in processes:
        process.start()
    found = [spans.get() for _ in processes]
    for process in processes:
        process.join()
    return _from_first_to_last(found)


def _from_first_to_last(spans: Sequence[tuple[float, float]]) -> float:
    """Return the seconds from the first start to the last end."""
    return max(ended for _, ended in spans) - min(started for started, _ in spans)
