"""How much more two threads with a book each come to than one.

The two processors of a virtual machine may be two threads of one core at one second and not at the
next. So this is asked in trials of half a second, each of which also asks what two processes come
to, which share nothing but the machine: the trials count in which those had two processors.
"""

import multiprocessing
import statistics
import threading
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from bench.book_cases import Kind, Run, Sample, clock, quiet, touch_of
from bench.stream import Touch
from lob.book import OrderBook
from lob.messages import Array

TRIALS: Final = 5
TRIALS_MAX: Final = 20
TWO_PROCESSORS: Final = 1.9
"""What two processes come to, over one, where the machine has two processors to give."""


class Trial(NamedTuple):
    """Seconds of replays one after another, and the touch that the last one came to.

    Each pair has a single replay of its own: with one for both, trials in which that was slow by
    chance would be taken for good ones, and flatter the threads.
    """

    one_before_processes: float
    two_processes: float
    one_before_threads: float
    two_threads: float
    touch: Touch

    @property
    def processes_over_one(self) -> float:
        """Return what the machine had for two that share nothing."""
        return 2 * self.one_before_processes / self.two_processes

    @property
    def threads_over_one(self) -> float:
        """Return what two threads came to."""
        return 2 * self.one_before_threads / self.two_threads

    @property
    def counts(self) -> bool:
        """Return whether the machine had two processors to give."""
        return self.processes_over_one >= TWO_PROCESSORS


def threaded(kind: Kind, messages: Array, prelude: int, limit: int) -> Run:
    """Prepare the same replay on one thread, then on two with a book each, in several trials."""
    first, body = messages[:prelude], messages[prelude : prelude + limit]
    forks = "fork" in multiprocessing.get_all_start_methods()

    def filled() -> OrderBook:
        book = kind.book()
        book.apply(first)
        return book

    def one() -> float:
        # The book is let go: what follows gets memory for trades that has been written to, too.
        book = filled()
        with quiet():
            started = clock()
            book.apply(body)
            return clock() - started

    def trial() -> Trial:
        before_processes = one()
        processes = _two_processes(filled, body) if forks else before_processes
        before_threads, pair = one(), [filled(), filled()]
        with quiet():
            threads = _two_threads(pair, body)
        return Trial(before_processes, processes, before_threads, threads, touch_of(pair[1]))

    def run() -> Sample:
        trial()  # what comes after the other contestants is slower
        trials: list[Trial] = []
        while sum(done.counts for done in trials) < TRIALS and len(trials) < TRIALS_MAX:
            trials.append(trial())
        return sample_of(trials, len(body))

    return run


def sample_of(trials: Sequence[Trial], messages: int) -> Sample:
    """Return the medians of the trials that count; of all where none does."""
    counted = [trial for trial in trials if trial.counts]
    taken = counted or trials
    seconds = statistics.median(trial.two_threads for trial in taken)
    figures = {
        "messages_per_second": 2 * messages / seconds,
        "two_threads_over_one": statistics.median(trial.threads_over_one for trial in taken),
        "two_processes_over_one": statistics.median(trial.processes_over_one for trial in taken),
        "trials": len(trials),
        "trials_counted": len(counted),
    }
    return Sample(figures, trials[-1].touch)


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
