"""Asked to stop, in this process: handlers are real, signals are raised by hand."""

import signal
import subprocess
import sys
import threading

import pytest

from recolor_fast.machine.signals import NUMBERS, Stopped, stoppable

TWICE = """
import signal, sys, time
from recolor_fast.machine.signals import Stopped, stoppable
with stoppable() as signals, signals.held():
    signal.raise_signal(signal.SIGTERM)
    print("held", flush=True)
    signal.raise_signal(signal.SIGINT)
    print("not reached", flush=True)
"""


def interrupted(work) -> Stopped:
    with pytest.raises(Stopped) as stopped, stoppable() as signals:
        work(signals)
    return stopped.value


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_stops_at_once(number):
    done = []

    def work(signals):
        signal.raise_signal(number)
        done.append("after")

    before = signal.getsignal(number)
    stop = interrupted(work)
    assert (stop.code, stop.signal, done) == (128 + number, signal.Signals(number).name, [])
    assert signal.getsignal(number) == before


def test_a_held_block_is_finished_first():
    done = []

    def work(signals):
        with signals.held():
            done.append("before")
        with signals.held():
            signal.raise_signal(signal.SIGTERM)
            done.append("during")
        done.append("after")

    interrupted(work)
    assert done == ["before", "during"]


@pytest.mark.parametrize(
    ("when", "signalled", "expected"),
    [
        (True, "before", ["before"]),
        (True, "inside", ["before", "inside"]),
        (True, "after", ["before", "inside", "rest", "after"]),
        (False, "before", ["before", "inside", "rest", "after"]),
        (False, "inside", ["before", "inside", "rest", "after"]),
    ],
)
def test_a_released_part_of_a_held_block_is_interrupted(when, signalled, expected):
    done = []

    def work(signals):
        def reach(place):
            done.append(place)
            if place == signalled:
                signal.raise_signal(signal.SIGTERM)

        with signals.held():
            reach("before")
            with signals.released(when):
                reach("inside")
                done.append("rest")
            reach("after")
        done.append("past the block")

    assert interrupted(work).code == 128 + signal.SIGTERM
    assert done == expected


def test_the_second_signal_ends_the_process_even_when_held():
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "held\n", "")


def test_what_is_ignored_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with stoppable():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_in_another_thread_nothing_is_handled():
    handlers = []

    def work() -> None:
        with stoppable():
            handlers.extend(signal.getsignal(number) for number in NUMBERS)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(number) for number in NUMBERS]


IMPORTING = """
import signal
from recolor_fast.machine import signals
before = signal.getsignal(signal.SIGINT)
signals.importing()
signals.imported()
assert signal.getsignal(signal.SIGINT) is before
signals.importing()
signal.raise_signal(signal.SIGINT)
"""


def test_an_interrupt_while_a_verb_is_imported_is_one_line():
    done = subprocess.run([sys.executable, "-c", IMPORTING], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted before it began\n")
