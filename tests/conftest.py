from __future__ import annotations

import os
import shutil
import signal

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import core as hypothesis_core
from hypothesis.internal.conjecture import engine as hypothesis_engine
from hypothesis.vendor import pretty
from schemathesis.generation import hypothesis as schemathesis_hypothesis

from tests.servers import CHAT, KITCHEN, REPOSITORY, SIGN_IN, Server

# A shell starts what runs in the background deaf to Ctrl-C, and children inherit that: those that tests
# send it to are to hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)
# Schemathesis takes the printer of values away from all of Hypothesis, for its own speed: counterexamples
# were told without what is in them. It does so once.
schemathesis_hypothesis.setup()
vars(hypothesis_core)["RepresentationPrinter"] = pretty.RepresentationPrinter
#: How long a counterexample is made smaller, in seconds: less than `faulthandler_timeout`, after which
#: pytest ends the process and nothing is told. Hypothesis' own 300 outlived it once.
hypothesis_engine.MAX_SHRINKING_SECONDS = int(os.environ.get("SHRINKING_S", "45"))
# No deadlines: machines are noisy. No explanations either: they run the example many times more, without
# a bound on the time that it takes, before it is told. `make soak` runs the property tests for longer.
_PATIENT = settings(
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[phase for phase in Phase if phase is not Phase.explain],
    print_blob=True,
)
settings.register_profile("ours", _PATIENT, max_examples=300)
settings.register_profile("soak", _PATIENT, max_examples=3000)
# A planted fault has to be found, not made smaller.
_FINDING = settings(_PATIENT, phases=[Phase.generate], database=None)
settings.register_profile("faults", _FINDING, max_examples=5000, print_blob=False)
settings.load_profile("ours")


@pytest.fixture(scope="session")
def kitchen(tmp_path_factory):
    """A server of the test application, shared by all tests that keep out of each other's way."""
    with Server(KITCHEN, tmp_path_factory.mktemp("kitchen"), "--test-hooks") as server:
        yield server


@pytest.fixture
def own_kitchen(tmp_path):
    """A server of the test application for one test, on a copy that it may edit."""
    project = tmp_path / "project"
    shutil.copytree(KITCHEN, project, ignore=shutil.ignore_patterns("__pycache__", ".camber"))
    with Server(project, tmp_path / "data", "--test-hooks") as server:
        yield server


@pytest.fixture(scope="session")
def chat_page(built_page):
    """The chat's page, built as `make demo` builds it."""
    return built_page(CHAT / "web")


@pytest.fixture(scope="session")
def sign_in_page(built_page):
    """The page of the example that signs people in."""
    return built_page(SIGN_IN / "web")


@pytest.fixture(scope="session")
def built_page(tmp_path_factory):
    """Builds the page that lies in a folder, and returns where the result is."""
    import subprocess

    def build(folder):
        built = tmp_path_factory.mktemp("page")
        subprocess.run(
            ["npx", "--no-install", "vite", "build", folder, "--outDir", built, "--emptyOutDir"],
            cwd=REPOSITORY,
            env={**os.environ, "VITE_CONVEX_URL": ""},
            check=True,
            capture_output=True,
        )
        return built

    return build


_MISSING_CHROMIUM = "CHROMIUM IS MISSING: the browser tests are skipped (sudo apt install chromium)"


@pytest.fixture(scope="session")
def chromium():
    """The path of Chromium; without it tests are skipped loudly, and fail in CI."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None and os.environ.get("CI"):
        pytest.fail("Chromium is missing, and CI must run the browser tests")
    if path is None:
        pytest.skip(_MISSING_CHROMIUM)
    return path


def pytest_terminal_summary(terminalreporter):
    skipped = terminalreporter.stats.get("skipped", [])
    if any(_MISSING_CHROMIUM in str(report.longrepr) for report in skipped):
        terminalreporter.section(_MISSING_CHROMIUM, sep="!", red=True)
