"""Bare limits to compare a server with: what the network library and the database allow when nothing else is done.

``limits.py server --port P`` is a picows WebSocket server that speaks just enough of the sync protocol for loadgen's
``mutate``, ``fanout``, ``wsquery`` and ``idle``: a Mutation is answered with a canned MutationResponse and a Transition, and
a Transition whose value has ``--value-bytes`` bytes goes to every connection subscribed to the same channel. It stores
nothing and finds its fields by byte search in the compact form loadgen writes, so it serves no other client.

``limits.py sqlite --rows N --sync FULL|NORMAL`` commits rows in groups through apsw and prints the rate.

Both print one JSON object: the server one line when it listens, and one with its counts when it ends (SIGTERM, SIGINT).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import signal
import struct
import tempfile
import time

MODIFICATION = re.compile(
    rb'"type":"(Add|Remove)","queryId":(\d+)(?:,"udfPath":"[^"]*","args":\[(.*?)\]\})?'
)
CHANNEL = re.compile(rb'"channel":("[^"]*")')
BODY = re.compile(rb'"body":("(?:[^"\\]|\\.)*")')
VALUE_ENVELOPE = len(
    b'[{"body":,"pad":""}]'
)  # of a value, everything around the body and the padding


def encoded(timestamp: int) -> bytes:
    """A u64 in the protocol's form: eight little-endian bytes in base64."""
    return base64.b64encode(struct.pack("<Q", timestamp))


def serve(port: int, value_bytes: int) -> None:
    """Serve on 127.0.0.1 until SIGTERM or SIGINT."""
    import asyncio

    import uvloop
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    clock = time.time_ns()
    subscribers: dict[bytes, dict[Session, int]] = {}  # channel -> session -> number of its queries
    counts = {"connections": 0, "mutations": 0, "queries": 0, "broadcast_frames": 0}

    def value(body: bytes) -> bytes:
        pad = b"x" * max(0, value_bytes - VALUE_ENVELOPE - len(body))
        return b'[{"body":' + body + b',"pad":"' + pad + b'"}]'

    class Session(WSListener):  # type: ignore[misc]  # picows tells no types
        def on_ws_connected(self, transport: WSTransport) -> None:
            counts["connections"] += 1
            self.transport = transport
            self.query_set = b"0"
            self.timestamp = encoded(0)
            self.queries: dict[bytes, bytes] = {}

        def on_ws_disconnected(self, transport: WSTransport) -> None:
            for channel in self.queries.values():
                subscribers.get(channel, {}).pop(self, None)

        def transition(self, query_set: bytes, timestamp: bytes, modifications: bytes) -> None:
            frame = (
                b'{"type":"Transition","startVersion":{"querySet":%b,"identity":0,"ts":"%b"},'
                b'"endVersion":{"querySet":%b,"identity":0,"ts":"%b"},"modifications":[%b]}'
            ) % (self.query_set, self.timestamp, query_set, timestamp, modifications)
            self.query_set, self.timestamp = query_set, timestamp
            self.transport.send(WSMsgType.TEXT, frame)

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code())
                transport.disconnect()
                return
            if frame.msg_type != WSMsgType.TEXT:
                return
            payload = frame.get_payload_as_bytes()
            if payload.startswith(b'{"type":"Mutation"'):
                self.mutate(payload)
            elif payload.startswith(b'{"type":"ModifyQuerySet"'):
                self.modify(payload)

        def mutate(self, payload: bytes) -> None:
            nonlocal clock
            clock += 1
            counts["mutations"] += 1
            timestamp = encoded(clock)
            start = payload.index(b'"requestId":') + 12
            request = payload[start : payload.index(b",", start)]
            self.transport.send(
                WSMsgType.TEXT,
                b'{"type":"MutationResponse","requestId":%b,"success":true,"result":null,"ts":"%b","logLines":[]}'
                % (request, timestamp),
            )
            channel = CHANNEL.search(payload)
            sessions = subscribers.get(channel[1] if channel else b"", {})
            if sessions:
                self.broadcast(sessions, timestamp, payload)
            if self not in sessions:
                self.transition(self.query_set, timestamp, b"")

        def broadcast(self, sessions: dict[Session, int], timestamp: bytes, payload: bytes) -> None:
            body = BODY.search(payload)
            update = value(body[1] if body else b'""')
            frames: dict[
                tuple[bytes, bytes, int], bytes
            ] = {}  # sessions in the same state share their bytes
            for session, query in sessions.items():
                state = (session.query_set, session.timestamp, query)
                frame = frames.get(state)
                if frame is None:
                    frame = frames[state] = (
                        b'{"type":"Transition","startVersion":{"querySet":%b,"identity":0,"ts":"%b"},'
                        b'"endVersion":{"querySet":%b,"identity":0,"ts":"%b"},"modifications":[{"type":"QueryUpdated",'
                        b'"queryId":%d,"value":%b,"logLines":[],"journal":null}]}'
                    ) % (state[0], state[1], state[0], timestamp, query, update)
                session.timestamp = timestamp
                session.transport.send(WSMsgType.TEXT, frame)
            counts["broadcast_frames"] += len(sessions)

        def modify(self, payload: bytes) -> None:
            start = payload.index(b'"newVersion":') + 13
            query_set = payload[start : payload.index(b",", start)]
            parts = []
            for kind, query, args in MODIFICATION.findall(payload):
                if kind == b"Add":
                    counts["queries"] += 1
                    channel = CHANNEL.search(args)
                    self.queries[query] = key = channel[1] if channel else b""
                    subscribers.setdefault(key, {})[self] = int(query)
                    parts.append(
                        b'{"type":"QueryUpdated","queryId":%b,"value":%b,"logLines":[],"journal":null}'
                        % (query, value(b'""'))
                    )
                else:
                    sessions = subscribers.get(self.queries.pop(query, b""), {})
                    sessions.pop(self, None)
                    parts.append(b'{"type":"QueryRemoved","queryId":%b}' % query)
            self.transition(query_set, encoded(clock), b",".join(parts))

    async def run() -> None:
        server = await ws_create_server(lambda request: Session(), "127.0.0.1", port, backlog=4096)
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        print(json.dumps({"limits": "server", "port": port, "pid": os.getpid()}), flush=True)
        await stop.wait()
        server.close()
        print(json.dumps({"limits": "server", **counts}), flush=True)

    uvloop.run(run())


def measure_sqlite(rows: int, sync: str, group: int, directory: str | None) -> None:
    """Insert rows of about 270 bytes with one secondary index entry each, ``group`` rows per commit."""
    import apsw

    body = "x" * 200
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        connection = apsw.Connection(os.path.join(folder, "limits.db"))
        run = connection.execute
        run("pragma journal_mode = wal")
        run(f"pragma synchronous = {sync}")
        run("create table messages (id blob primary key, value blob) without rowid")
        run(
            "create table by_channel (channel text, time integer, id blob, primary key (channel, time, id)) without rowid"
        )
        commits = []
        started = time.perf_counter()
        for first in range(0, rows, group):
            batch = range(first, min(first + group, rows))
            ids = [struct.pack(">Q", number) for number in batch]
            values = [
                b'{"channel":"c%d","author":"a","body":"%b"}' % (n % 100, body.encode())
                for n in batch
            ]
            begun = time.perf_counter()
            run("begin immediate")
            connection.executemany(
                "insert into messages values (?, ?)", zip(ids, values, strict=True)
            )
            entries = [
                (f"c{number % 100}", number, key) for number, key in zip(batch, ids, strict=True)
            ]
            connection.executemany("insert into by_channel values (?, ?, ?)", entries)
            run("commit")
            commits.append(time.perf_counter() - begun)
        seconds = time.perf_counter() - started
        connection.close()
    commits.sort()

    def at(share: float) -> float:
        return round(commits[int(share * (len(commits) - 1))] * 1000, 3)

    result = {
        "limits": "sqlite",
        "rows": rows,
        "sync": sync,
        "group": group,
        "seconds": round(seconds, 3),
    }
    result |= {
        "rows_per_s": round(rows / seconds, 1),
        "commits_per_s": round(len(commits) / seconds, 1),
    }
    result |= {"commit_ms": {"p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0)}}
    print(json.dumps(result | {"sqlite": apsw.sqlite_lib_version()}))


def main() -> None:
    """Serve, or measure commits."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    server = commands.add_parser("server", help="the bare WebSocket server")
    server.add_argument("--port", type=int, default=3299)
    server.add_argument("--value-bytes", type=int, default=500, help="size of a query's value")
    sqlite = commands.add_parser("sqlite", help="the bare grouped-commit loop")
    sqlite.add_argument("--rows", type=int, default=20000)
    sqlite.add_argument("--sync", choices=["FULL", "NORMAL"], default="FULL")
    sqlite.add_argument("--group", type=int, default=64, help="rows per commit")
    sqlite.add_argument("--dir", help="where to put the temporary database (the disk to measure)")
    options = parser.parse_args()
    if options.command == "server":
        serve(options.port, options.value_bytes)
    elif options.rows < 1 or options.group < 1:
        parser.error("--rows and --group must be at least 1")
    else:
        measure_sqlite(options.rows, options.sync, options.group, options.dir)


if __name__ == "__main__":
    main()
