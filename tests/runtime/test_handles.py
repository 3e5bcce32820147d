"""Function handles: made by a deployment, and read by no other."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camber.errors import FunctionNotFound
from camber.runtime.handles import Handles, NamedFunction, handles_key
from camber.values.paths import FunctionPath

ours = Handles(handles_key(b"\1" * 32))
theirs = Handles(handles_key(b"\2" * 32))

_names = st.from_regex(r"[a-z][a-z0-9_]{0,5}", fullmatch=True)
named_functions = st.builds(
    NamedFunction,
    st.lists(_names, max_size=3).map("/".join),
    st.builds(FunctionPath, st.lists(_names, min_size=1, max_size=3).map("/".join), _names),
)


def refused(handles, text):
    with pytest.raises(FunctionNotFound) as raised:
        handles.named(text)
    return raised.value.code == "InvalidFunctionHandle"


@given(named_functions)
def test_a_handle_leads_to_its_function_and_another_deployment_knows_it_not(named):
    handle = ours.handle(named)
    assert handle.startswith("function://")
    assert ours.named(handle) == named
    # After a restart too.
    assert Handles(handles_key(b"\1" * 32)).handle(named) == handle
    assert refused(theirs, handle)


@given(named_functions, named_functions)
def test_equal_handles_are_of_one_function(first, second):
    assert (ours.handle(first) == ours.handle(second)) == (first == second)


@given(named_functions, st.data())
def test_a_changed_handle_is_refused(named, data):
    handle = ours.handle(named)
    at = data.draw(st.integers(0, len(handle)))
    changed = (
        handle[:at] + data.draw(st.text(max_size=2)) + handle[data.draw(st.integers(at, at + 2)) :]
    )
    assert changed == handle or refused(ours, changed)


@given(st.text(alphabet=st.characters(exclude_categories=())))
def test_any_other_text_is_refused(text):
    assert refused(ours, text)
    assert refused(ours, "function://" + text)
