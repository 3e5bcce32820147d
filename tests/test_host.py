"""What hosts offer that is code of our own."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from camber.host import Threads


@pytest.fixture
def threads():
    threads = Threads("test", 3)
    yield threads
    threads.close()


def test_threads_are_started_as_work_comes_and_used_again(threads):
    def name():
        return threading.current_thread().name

    assert {threads.submit(name).result(5) for _ in range(20)} <= {"test_0", "test_1", "test_2"}
    meet = threading.Barrier(3)
    # Each has a thread at once, however many have been idle: they wait for one another.
    for _ in range(5):
        met = [threads.submit(lambda: (meet.wait(5), name())[1]) for _ in range(3)]
        assert {each.result(5) for each in met} == {"test_0", "test_1", "test_2"}


def test_more_than_there_are_threads_wait_and_all_are_run(threads):
    go_on = threading.Event()
    blocked = [threads.submit(lambda: go_on.wait(5)) for _ in range(3)]
    waiting = [threads.submit(lambda n=n: n) for n in range(10)]
    given_up = waiting.pop()
    assert given_up.cancel()
    assert not any(each.done() for each in waiting)
    go_on.set()
    assert [each.result(5) for each in blocked] == [True] * 3
    assert [each.result(5) for each in waiting] == list(range(9))


def test_whatever_a_call_raises_is_told_and_the_thread_goes_on(threads):
    def leave():
        raise SystemExit(3)

    for _ in range(4):
        with pytest.raises(SystemExit):
            threads.submit(leave).result(5)
    assert threads.submit(lambda: "still here").result(5) == "still here"


def test_closed_threads_cancel_what_has_not_begun_and_take_nothing(threads):
    began, go_on = threading.Barrier(4), threading.Event()
    running = [threads.submit(lambda: (began.wait(5), go_on.wait(5))[1]) for _ in range(3)]
    began.wait(5)
    waiting = threads.submit(lambda: None)
    threads.close()
    assert waiting.cancelled()
    with pytest.raises(RuntimeError, match="closed"):
        threads.submit(lambda: None)
    go_on.set()
    assert [each.result(5) for each in running] == [True] * 3


def test_a_call_that_never_returns_keeps_no_process_from_its_end():
    code = """
        import threading
        from camber.host import Threads

        began = threading.Event()
        Threads("test", 1).submit(lambda: (began.set(), threading.Event().wait()))
        assert began.wait(5)
        print("over")
    """
    ended = subprocess.run(
        [sys.executable, "-c", "\n".join(line.strip() for line in code.splitlines())],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert ended.stdout == "over\n"
