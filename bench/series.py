"""How each figure is measured: one function for each series of `bench.keys`."""

from __future__ import annotations

import importlib
import json
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.loads import Load, message, without_pad
from bench.same_rows import GROUP, commits_per_s, read_rows
from bench.servers import (
    FOLDER,
    PEERS,
    CouldNotMeasure,
    Http,
    Server,
    alone,
    bare_sockets,
    camber,
    camber_command,
    free_port,
    pocketbase,
    stop,
)
from bench.summary import Measured, Series, ratios
from bench.turns import Turns

_FULL = "FULL: an acknowledged commit survives the loss of power"
_NORMAL = "NORMAL: it survives the end of the process, not the loss of power"
_SHIPPED = "NORMAL, as PocketBase ships"
_NONE = "nothing is stored"
_READS = "FULL, but nothing is written"

_WRITERS = 64
_CHANNELS = 20
_RESULT_BYTES = 500
#: A result holds its creation time, which has some digits more or fewer.
_RESULT_BYTES_OFF_MAX = 8
#: What loadgen puts before the pad of a body that clients look for: a token and a space.
_TOKEN_BYTES = 20
_RECORDS = "/api/collections/messages/records"
_PAGE = f"{_RECORDS}?perPage=50&skipTotal=1&sort=-created&filter=(channel%3D%22{{}}%22)"


def mutations(turns: Turns) -> Series:
    """Insert into a table with one index: Camber, PocketBase, and the rows by themselves."""
    args = message("c1", 200)
    load = Load("mutate", clients=_WRITERS, path="messages:send", args=args)
    peer = Load("pb-create", clients=_WRITERS, args=args)
    for _ in turns.pairs():
        for durability, side, says in (
            ("full", "camber", _FULL),
            ("normal", "camber NORMAL", _NORMAL),
        ):
            with alone(), tempfile.TemporaryDirectory(prefix="camber-bench-") as folder:
                data = Path(folder)
                with camber(durability=durability, data=data) as server:
                    report = load.run(server, turns.scale)
                    answered = report["answered"]
                    _check_rows(server, answered)
                _note_writes(turns, side, says, load.command, report)
                if durability == "full":
                    _commit_bare(turns, data, answered)
        turns.checked(
            "each insert that was answered is one row, none is missing, none is there twice"
        )
        with alone(), pocketbase() as server:
            _note_writes(turns, "pocketbase", _SHIPPED, peer.command, peer.run(server, turns.scale))
    _simple_rows(turns)
    rate, p99 = turns.figures("camber", "rate"), turns.figures("camber", "p99_ms")
    return turns.series(
        mutations_vs_pocketbase=Measured(values=ratios(rate, turns.figures("pocketbase", "rate"))),
        mutations_p99_vs_pocketbase=Measured(
            values=ratios(p99, turns.figures("pocketbase", "p99_ms"))
        ),
        mutations_vs_limit=Measured(values=ratios(rate, turns.figures("limit", "rate"))),
    )


def transfers(turns: Turns) -> Series:
    """Move money between two of 100,000 accounts: any two, and most often the same few."""
    accounts = turns.scale.of(100_000)
    balance = 1e9
    drawn = {
        "uniform": (f"{{rand:0-{accounts - 1}}}", f"{{rand!:0-{accounts - 1}}}"),
        "zipf 1.5": (f"{{zipf:{accounts}:1.5}}", f"{{zipf!:{accounts}:1.5}}"),
    }
    with camber() as server, Http(server) as http:
        for first in range(0, accounts, 1000):
            count = min(1000, accounts - first)
            http.call("mutation", "accounts:seed", first=first, count=count, balance=balance)
        for pair in turns.pairs():
            for side, (source, target) in drawn.items():
                args = f'{{"source":"a{source}","target":"a{target}","amount":{{rand:1-9}}}}'
                load = Load("mutate", clients=_WRITERS, path="accounts:transfer", args=args)
                with alone():
                    report = load.run(server, turns.scale, seed=pair)
                _note_writes(turns, side, _FULL, load.command, report)
            held = http.sum_of_pages("accounts:total")
            if held != accounts * balance:
                raise CouldNotMeasure(f"money was made: {held} instead of {accounts * balance}")
    turns.checked("no client saw an error; the accounts hold what they held before")
    contended = ratios(turns.figures("zipf 1.5", "rate"), turns.figures("uniform", "rate"))
    return turns.series(transfer_contended=Measured(values=contended))


def queries(turns: Turns) -> Series:
    """List 50 documents by an index over HTTP, each request with another argument."""
    load = Load("query", clients=64, path="messages:list", args='{"channel":"c1","fresh":{i}}')
    peer = Load("pb-list", clients=64, path=_PAGE.format("c1") + "&fresh={i}")
    with camber() as ours, pocketbase() as theirs:
        _seed(turns, ours, theirs)
        for _ in turns.pairs():
            with alone():
                _note_reads(turns, "camber", _READS, load, load.run(ours, turns.scale))
                _note_reads(turns, "pocketbase", _SHIPPED, peer, peer.run(theirs, turns.scale))
    rate = turns.figures("camber", "rate")
    return turns.series(
        queries_vs_pocketbase=Measured(values=ratios(rate, turns.figures("pocketbase", "rate")))
    )


def cached_queries(turns: Turns) -> Series:
    """Ask a query again over a socket, against a server that only echoes as many bytes."""
    load = Load("wsquery", clients=64, path="messages:newest", args='{"channel":"c1"}')
    with camber() as ours, Http(ours) as http:
        _send_one(http, "c1", _body_bytes(http))
        size = _result_bytes(http, "c1")
        with bare_sockets(value_bytes=size) as limit:
            for _ in turns.pairs():
                with alone():
                    report = load.run(ours, turns.scale)
                    bare = load.run(limit, turns.scale)
                _note_reads(turns, "camber", _READS, load, report)
                _note_reads(turns, "limit", _NONE, load, bare)
                if not report["mean_value_bytes"] == bare["mean_value_bytes"] == size:
                    raise CouldNotMeasure(f"other values than of {size} bytes: {report}, {bare}")
    turns.checked(f"both send values of {size} bytes")
    rate = turns.figures("camber", "rate")
    return turns.series(
        cached_queries_vs_limit=Measured(values=ratios(rate, turns.figures("limit", "rate")))
    )


def fanout_1000(turns: Turns) -> Series:
    """Push a result of 500 bytes to 1,000 clients: Camber, PocketBase, and a bare broadcast."""
    _fan_out(turns, turns.scale.of(1000))
    rate = turns.figures("camber", "deliveries_per_s")
    peer = turns.figures("pocketbase", "deliveries_per_s")
    bare = turns.figures("limit", "deliveries_per_s")
    return turns.series(
        fanout_1000_vs_pocketbase=Measured(values=ratios(rate, peer)),
        fanout_vs_limit=Measured(values=ratios(rate, bare)),
    )


def fanout_5000(turns: Turns) -> Series:
    """Push a result of 500 bytes to 5,000 clients."""
    _fan_out(turns, turns.scale.of(5000))
    rate = turns.figures("camber", "deliveries_per_s")
    peer = turns.figures("pocketbase", "deliveries_per_s")
    return turns.series(fanout_5000_vs_pocketbase=Measured(values=ratios(rate, peer)))


def last_client(turns: Turns) -> Series:
    """Write ten times a second; when does the last of 1,000 clients see it?"""
    clients, rate = turns.scale.of(1000), 10.0
    for _ in turns.pairs():
        with alone(), camber() as server, Http(server) as http:
            load = fanout_load(http, clients, rate=rate)
            _note_last(turns, "camber", _FULL, load, load.run(server, turns.scale))
        with alone(), pocketbase() as server:
            peer = _pbfanout_load(load, clients, rate=rate)
            _note_last(turns, "pocketbase", _SHIPPED, peer, peer.run(server, turns.scale))

    def against(name: str) -> list[float]:
        return ratios(turns.figures("camber", name), turns.figures("pocketbase", name))

    return turns.series(
        last_client_vs_pocketbase=Measured(values=against("p50_ms"), also=against("p99_ms"))
    )


def unrelated(turns: Turns) -> Series:
    """One writer, one client that it concerns, and 9,999 on other keys."""
    clients = turns.scale.of(10_000)
    args = message("u{c}", 100)
    topic = "messages/*?options=%7B%22query%22%3A%7B%22filter%22%3A%22channel%3D%27u{c}%27%22%7D%7D"

    def load(count: int) -> Load:
        return Load(
            "fanout",
            clients=count,
            query="messages:newest",
            query_args='{"channel":"u{c}"}',
            path="messages:send",
            args=args,
            only_client=0,
        )

    def peer(count: int) -> Load:
        return Load("pb-fanout", clients=count, topic=topic, args=args, only_client=0)

    for _ in turns.pairs():
        for side, count in (("camber alone", 1), ("camber", clients)):
            with alone(), camber() as server:
                report = load(count).run(server, turns.scale)
            turns.note(
                side, durability=_FULL, command=load(count).command, rate=report["write_rate"]
            )
        with alone(), pocketbase() as server:
            report = peer(clients).run(server, turns.scale)
        turns.note(
            "pocketbase",
            durability=_SHIPPED,
            command=peer(clients).command,
            rate=report["write_rate"],
        )
    turns.checked("each write reached the client that it concerns, and no other")
    rate = turns.figures("camber", "rate")
    return turns.series(
        unrelated_vs_pocketbase=Measured(values=ratios(rate, turns.figures("pocketbase", "rate"))),
        unrelated=Measured(values=ratios(rate, turns.figures("camber alone", "rate"))),
    )


def distinct(turns: Turns) -> Series:
    """1,000 clients with 1,000 queries on one table; each write touches one of them."""
    clients = turns.scale.of(1000)
    for _ in turns.pairs():
        for side, count in (("one", 1), ("many", clients)):
            load = Load(
                "fanout",
                clients=count,
                rate=50,
                query="messages:newest",
                query_args='{"channel":"u{c}"}',
                path="messages:send",
                args=message("u{c}", 100),
            )
            with alone(), camber() as server:
                report = load.run(server, turns.scale)
            latency = report["delivery_ms"]
            turns.note(
                side,
                durability=_FULL,
                command=load.command,
                p50_ms=latency["p50"],
                p99_ms=latency["p99"],
            )
    turns.checked("each write reached the client that it concerns, and no other")
    many = turns.figures("many", "p50_ms")
    return turns.series(distinct=Measured(values=ratios(many, turns.figures("one", "p50_ms"))))


def idle(turns: Turns) -> Series:
    """Sessions that hold three subscriptions each, and see nothing happen."""
    return turns.series(idle_kb=_idle(turns, 5000))


def idle_10000(turns: Turns) -> Series:
    """Twice as many, on one server process as well."""
    return turns.series(idle_10000_kb=_idle(turns, 10_000))


def _idle(turns: Turns, sessions: int) -> Measured:
    load = Load(
        "idle",
        clients=turns.scale.of(sessions),
        subs=3,
        query="messages:newest",
        query_args='{"channel":"idle{i}"}',
    )
    for _ in turns.pairs():
        with alone(), camber() as server:
            report = load.run(server, turns.scale)
        turns.note(
            "camber",
            durability=_READS,
            command=load.command,
            rss_kb=report["rss_kb_per_client"],
            pss_kb=report["pss_kb_per_client"],
        )
    turns.checked("memory of the server and of all its executors, pages that they share once each")
    return Measured(values=turns.figures("camber", "rss_kb"))


def start(turns: Turns) -> Series:
    """From `camber start` to the first answer of a function, in a project of 20 modules."""
    with tempfile.TemporaryDirectory(prefix="camber-bench-") as folder:
        project = _project_of_modules(Path(folder) / "project", 20)
        for pair in turns.pairs():
            data = Path(folder) / f"data-{pair}"
            for side in ("fresh", "again"):
                with alone():
                    took_ms = _first_answer_ms(project, data)
                turns.note(
                    side,
                    durability=_FULL,
                    command="camber start PROJECT --port PORT --data DATA",
                    ms=took_ms,
                )
    turns.checked("`fresh` makes its store and its tables; `again` finds them there")
    return turns.series(
        start_ms=Measured(values=turns.figures("fresh", "ms"), also=turns.figures("again", "ms"))
    )


def growth(turns: Turns) -> Series:
    """Inserts and indexed reads in a table of 10 thousand documents, and of 10 million."""
    measured: Series = importlib.import_module("bench.growth").measure(turns)
    return measured


def vectors(turns: Turns) -> Series:
    """The nearest of 100,000 vectors, and of as many in a matrix of numpy's."""
    measured: Series = importlib.import_module("bench.vectors").measure(turns)
    return measured


SERIES: Mapping[str, Callable[[Turns], Series]] = {
    function.__name__: function
    for function in (
        start,
        mutations,
        transfers,
        queries,
        cached_queries,
        fanout_1000,
        fanout_5000,
        last_client,
        unrelated,
        distinct,
        idle,
        idle_10000,
        growth,
        vectors,
    )
}


# Writes.


def _note_writes(
    turns: Turns, side: str, durability: str, command: str, report: Mapping[str, Any]
) -> None:
    latency = report["latency_ms"]
    turns.note(
        side,
        durability=durability,
        command=command,
        rate=report["rate"],
        p50_ms=latency["p50"],
        p99_ms=latency["p99"],
        server_cores=report["server_cpu"],
    )


def _check_rows(server: Server, answered: int) -> None:
    with Http(server) as http:
        found = http.sum_of_pages("messages:count")
    if found != answered:
        raise CouldNotMeasure(f"{answered} inserts were answered, and there are {found:g} rows")


def _commit_bare(turns: Turns, data: Path, mutations: int) -> None:
    rows = read_rows(data / "camber.sqlite")
    turns.note(
        "limit",
        durability=_FULL,
        command=f"every table's rows of that store, {GROUP} mutations to a commit, by a bare loop",
        rate=commits_per_s(rows, mutations, data, synchronous="FULL"),
        rows_per_mutation=rows.count / mutations,
    )


def _simple_rows(turns: Turns) -> None:
    """Note what limits.py's own loop does, whose rows are only a document and an index entry."""
    for sync in ("FULL", "NORMAL"):
        words = ["sqlite", "--rows", str(turns.scale.of(50_000)), "--sync", sync]
        with alone():
            ran = subprocess.run(
                [PEERS / "bin" / "python", FOLDER / "limits.py", *words],
                capture_output=True,
                text=True,
                check=True,
            )
        turns.note(
            f"simple rows {sync}",
            durability=sync,
            command=f"limits.py {' '.join(words)}",
            rate=json.loads(ran.stdout)["rows_per_s"],
        )


# Reads.


def _note_reads(
    turns: Turns, side: str, durability: str, load: Load, report: Mapping[str, Any]
) -> None:
    latency = report["latency_ms"]
    turns.note(
        side,
        durability=durability,
        command=load.command,
        rate=report["rate"],
        p50_ms=latency["p50"],
        p99_ms=latency["p99"],
        server_cores=report["server_cpu"],
    )


def _seed(turns: Turns, ours: Server, theirs: Server) -> None:
    """Put the same messages into both, and see that both list the same ones of a channel."""
    bodies = [f"{number:06} {'x' * 193}" for number in range(_CHANNELS * 100)]
    with Http(ours) as http, Http(theirs) as peer:
        http.call("mutation", "messages:seed", bodies=bodies, channels=_CHANNELS)
        for number, body in enumerate(bodies):
            channel = f"c{number % _CHANNELS}"
            peer.post(_RECORDS, {"channel": channel, "author": "a", "body": body})
        listed = http.call("query", "messages:list", channel="c1")
        records = peer.get(_PAGE.format("c1"))["items"]
    fields = ("channel", "author", "body")
    found, expected = ([[one[f] for f in fields] for one in side] for side in (listed, records))
    if len(found) != 50 or found != expected:
        raise CouldNotMeasure(
            f"Camber lists {len(found)} documents, PocketBase other {len(expected)}"
        )
    turns.checked("both list the same 50 messages, in the same order")


# Fan-out.


def _fan_out(turns: Turns, clients: int) -> None:
    for _ in turns.pairs():
        with alone(), camber() as server, Http(server) as http:
            load = fanout_load(http, clients)
            _note_fanout(turns, "camber", _FULL, load, load.run(server, turns.scale))
            size = _result_bytes(http, "c1")
        if abs(size - _RESULT_BYTES) > _RESULT_BYTES_OFF_MAX:
            raise CouldNotMeasure(f"the result has {size} bytes instead of {_RESULT_BYTES}")
        with alone(), pocketbase() as server:
            peer = _pbfanout_load(load, clients)
            _note_fanout(turns, "pocketbase", _SHIPPED, peer, peer.run(server, turns.scale))
        with alone(), bare_sockets(value_bytes=_RESULT_BYTES) as server:
            _note_fanout(turns, "limit", _NONE, load, load.run(server, turns.scale))
    turns.checked("the query's result has 500 bytes; PocketBase sends the same record")


def _note_fanout(
    turns: Turns, side: str, durability: str, load: Load, report: Mapping[str, Any]
) -> None:
    turns.note(
        side,
        durability=durability,
        command=load.command,
        deliveries_per_s=report["deliveries_per_s"],
        updates_per_delivery=report["updates_received"] / report["deliveries"],
        last_p50_ms=report["last_client_ms"]["p50"],
        server_cores=report["server_cpu"],
        generator_cores=report["generator_cpu"],
    )


def _note_last(
    turns: Turns, side: str, durability: str, load: Load, report: Mapping[str, Any]
) -> None:
    latency = report["last_client_ms"]
    turns.note(
        side,
        durability=durability,
        command=load.command,
        p50_ms=latency["p50"],
        p99_ms=latency["p99"],
        acknowledged_p50_ms=report["ack_ms"]["p50"],
    )


class _FanOut(Load):
    """A load on Camber, and the arguments of its writes."""

    def __init__(self, args: str, **options: Any) -> None:
        super().__init__("fanout", args=args, **options)
        self.args = args


def fanout_load(http: Http, clients: int, *, rate: float = 0.0) -> _FanOut:
    """Return clients of one query whose result has 500 bytes, and a writer."""
    return _FanOut(
        message("c1", _body_bytes(http) - _TOKEN_BYTES),
        clients=clients,
        rate=rate,
        query="messages:newest",
        query_args='{"channel":"c1"}',
        path="messages:send",
    )


def _pbfanout_load(load: _FanOut, clients: int, *, rate: float = 0.0) -> Load:
    return Load("pb-fanout", clients=clients, rate=rate, args=load.args)


def _body_bytes(http: Http) -> int:
    """Return how long a body is whose message makes a result of `_RESULT_BYTES`."""
    _send_one(http, "measured", 10)
    return _RESULT_BYTES - (_result_bytes(http, "measured") - 10)


def _send_one(http: Http, channel: str, body_bytes: int) -> None:
    args = json.loads(without_pad(message(channel, body_bytes)))
    http.call("mutation", "messages:send", **args)


def _result_bytes(http: Http, channel: str) -> int:
    """Return how many bytes the newest message takes up on a socket."""
    found = http.call("query", "messages:newest", channel=channel)
    return len(json.dumps(found, separators=(",", ":")))


# Starting.


def _project_of_modules(project: Path, count: int) -> Path:
    functions = project / "functions"
    functions.mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "modules"\nversion = "1"\n\n[tool.camber]\nfunctions = "functions"\n'
    )
    for number in range(count):
        (functions / f"module{number}.py").write_text(_MODULE.replace("NUMBER", str(number)))
    return project


_MODULE = """
from camber import Id, Index, MutationCtx, QueryCtx, Table, mutation, query


class ThingNUMBER(Table, table="thingsNUMBER"):
    name: str
    count: float = 0

    by_name = Index("name")


@query
def named(ctx: QueryCtx, name: str) -> list[ThingNUMBER]:
    return ctx.db.query(ThingNUMBER).with_index(ThingNUMBER.by_name, name=name).take(10)


@mutation
def add(ctx: MutationCtx, name: str) -> Id[ThingNUMBER]:
    return ctx.db.insert(ThingNUMBER(name=name))
"""


def _first_answer_ms(project: Path, data: Path) -> float:
    """Return how long it takes until a query is answered that was sent as soon as one could be."""
    port = free_port()
    command = camber_command(project, data, port=port, site_port=free_port())
    body = json.dumps({"path": "module7:named", "args": {"name": "a"}})
    head = f"Host: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    request = f"POST /api/query HTTP/1.1\r\n{head}\r\n\r\n{body}".encode()
    began = time.perf_counter()
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        with _connected(process, port) as connection:
            connection.sendall(request)
            answer = b""
            while not answer.endswith(b"}") and (more := connection.recv(4096)):
                answer += more
        took_ms = (time.perf_counter() - began) * 1000
    finally:
        stop(process)
    if not answer.startswith(b"HTTP/1.1 200") or b'"success"' not in answer:
        raise CouldNotMeasure(f"the first answer was {answer[:200]!r}")
    return took_ms


def _connected(process: subprocess.Popen[bytes], port: int) -> socket.socket:
    while process.poll() is None:
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=30)
        except ConnectionRefusedError:
            time.sleep(0.001)
    raise CouldNotMeasure(f"camber start ended with {process.returncode}")
