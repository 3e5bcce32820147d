"""The faults: where each is planted, and which proof finds it.

A fault replaces a piece of a source that is there exactly once. Where code has changed so that a
fault does not fit any more, the fault changes with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

_SERIAL = "tests/proofs/test_serial_order.py"
_IN_MEMORY = (_SERIAL, "-k", "memory and explains")
_FAILING = (_SERIAL, "-k", "memory and fails")
_ON_DISK = (_SERIAL, "-k", "sqlite and explains")
_FUNCTIONS = ("tests/proofs/test_functions_in_order.py", "-k", "memory")
_WATCHING = ("tests/proofs/test_subscriptions.py", "-k", "memory")
_POWER = ("tests/crashes/test_power_loss.py",)
_SESSION = ("tests/sync/test_session.py",)
_HISTORIES = ("tests/histories/test_histories.py",)
_SCHEDULED = ("tests/proofs/test_scheduled.py", "-k", "memory")
_SEARCHING = ("tests/proofs/test_subscriptions.py", "-k", "memory and pages_of_a_search")
_SEARCHES = ("tests/functions/test_search.py", "-k", "runs_a_search_again")
_SERIAL_VECTORS = (_SERIAL, "-k", "memory and nearest")
_WATCHED_VECTORS = ("tests/proofs/test_subscriptions.py", "-k", "memory and nearest")
_STORED_VECTORS = ("tests/storage/test_vectors.py", "-k", "sqlite and while_commits_go_on")
_SCHEDULER = ("tests/jobs/test_scheduler.py",)
_EXPLAINED = ("tests/explain/test_agreement.py",)
_UPLOADS = ("tests/files/test_files.py", "-k", "abandoned_meanwhile")
_SIMULATED = ("tests/simulation/test_simulation.py", "-k", "whole_platform")


@dataclass(frozen=True, kw_only=True)
class Fault:
    """Something that is wrong: `old` became `new` in a file of `src/camber`.

    `caught_by` is the proof that finds it, as pytest is told.
    """

    name: str
    file: str
    old: str
    new: str
    caught_by: tuple[str, ...]

    def text(self, sources: Path) -> str:
        """Return the file with the fault in it.

        Raises:
            DoesNotFit: it has no such place, or several.
        """
        text = (sources / "camber" / self.file).read_text()
        if text.count(self.old) != 1:
            raise DoesNotFit(self)
        return text.replace(self.old, self.new)


class DoesNotFit(Exception):
    """A fault whose place has changed."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(f"{fault.name!r} does not fit {fault.file} any more: plant it anew")


_COMMITTER = "engine/committer.py"
_TRANSACTION = "engine/transaction.py"
_DATABASE = "functions/database.py"
_QUERIES = "runtime/queries.py"
_SCHEDULED_DOCUMENTS = "engine/scheduled.py"
_LEDGER = "engine/file_ledger.py"
_FILES = "runtime/files.py"

FAULTS = (
    # Which transactions commit.
    Fault(
        name="commits are not checked for conflicts",
        file=_COMMITTER,
        old="        if conflict is not None:\n            self.conflicts += 1\n",
        new="        if conflict is not None and not transaction.changes:\n"
        "            self.conflicts += 1\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="commits are not checked for conflicts, over the network",
        file=_COMMITTER,
        old="        if conflict is not None:\n            self.conflicts += 1\n",
        new="        if conflict is not None and not transaction.changes:\n"
        "            self.conflicts += 1\n",
        caught_by=_HISTORIES,
    ),
    Fault(
        name="commits that wait to be written are not checked",
        file=_COMMITTER,
        old="            transaction.reads, since=transaction.begin_ts\n",
        new="            transaction.reads, since=transaction.begin_ts, upto=self._newest\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="what has read a commit that failed is kept",
        file=_COMMITTER,
        old="            if failed.after < ts <= failed.upto:\n",
        new="            if failed.after < ts < failed.upto:\n",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="a group that failed is published",
        file=_COMMITTER,
        old="        self._make_visible([waiting for waiting in group if waiting.commit.ts <= newest])\n",
        new="        self._make_visible(group)\n",
        caught_by=_FAILING,
    ),
    Fault(
        name="what has landed in spite of a failure is not published",
        file=_COMMITTER,
        old="        self._make_visible([waiting for waiting in group if waiting.commit.ts <= newest])\n",
        new="        self._make_visible([])\n",
        caught_by=_FAILING,
    ),
    Fault(
        name="a group is the newest before it is written",
        file=_COMMITTER,
        old="                await self._flush_one(self._writing)\n",
        new="                self._newest = self._writing[-1].commit.ts\n"
        "                await self._flush_one(self._writing)\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a table is not known at the timestamp that made it",
        file="engine/engine.py",
        old="            if dated.since <= ts:\n",
        new="            if dated.since < ts:\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="timestamps follow the clock alone",
        file=_COMMITTER,
        old="        ts = max(self._assigned + 1, self._host.now_ns())\n",
        new="        ts = self._host.now_ns()\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="timestamps do not go on from those of before a restart",
        file=_COMMITTER,
        old="        self._assigned: Timestamp = self._newest\n",
        new="        self._assigned: Timestamp = 0\n",
        caught_by=_ON_DISK,
    ),
    # What transactions depend on.
    Fault(
        name="a scan depends on what it found, and not on what lies between",
        file=_TRANSACTION,
        old='            return Interval(self._interval.start, self._last + b"\\0")\n'
        "        return Interval(self._last, self._interval.end)\n",
        new='            return Interval(self._last, self._last + b"\\0")\n'
        "        return Interval(self._last, self._interval.end)\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a scan that came to its end depends on what it found alone",
        file=_TRANSACTION,
        old="            self._end(self._interval)\n",
        new="            self._end(self.consumed())\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a descending scan does not depend on its last row",
        file=_TRANSACTION,
        old="        return Interval(self._last, self._interval.end)\n",
        new='        return Interval(self._last + b"\\0", self._interval.end)\n',
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="scans that were left open are not recorded",
        file=_TRANSACTION,
        old="            self._record_scan(scan, scan.consumed())\n",
        new="            self._record_scan(scan, None)\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a search is not recorded",
        file=_TRANSACTION,
        old="        self.reads.record_search(index.id, query)\n",
        new="",
        caught_by=_SEARCHING,
    ),
    Fault(
        name="a search does not find what its transaction wrote",
        file=_TRANSACTION,
        old="window, limit, own) if own else stored\n",
        new="window, limit, ()) if own else stored\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a page of a search goes by the scores of now",
        file="engine/search_scan.py",
        old="            bound = start or end\n",
        new="            bound = None\n",
        caught_by=_SEARCHING,
    ),
    Fault(
        name="what a search deletes while it is read is given nevertheless",
        file=_TRANSACTION,
        old="        packed = self._stored(table, id) if pending is None else pending.after\n"
        "        if packed is not None:\n            self._count_read(1, len(packed))\n        return packed\n\n"
        "    def _own_texts",
        new="        packed = self._stored(table, id) or (pending and pending.after)\n"
        "        if packed is not None:\n            self._count_read(1, len(packed))\n        return packed\n\n"
        "    def _own_texts",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a search that is watched is not told of words that go on",
        file="occ/watched_searches.py",
        old="            cut = words if not length else dict.fromkeys(word[:length] for word in words)\n",
        new="            cut = words\n",
        caught_by=_SEARCHES,
    ),
    Fault(
        name="a search of vectors is not recorded",
        file=_TRANSACTION,
        old="                        self.reads.record_search(index.id, Nearest(query=query, last=hit))\n",
        new="",
        caught_by=_WATCHED_VECTORS,
    ),
    Fault(
        name="a search of vectors that has found fewer than it may is not recorded",
        file=_TRANSACTION,
        old="                self.reads.record_search(index.id, Nearest(query=query, last=None))\n",
        new="",
        caught_by=_SERIAL_VECTORS,
    ),
    Fault(
        name="a search of vectors does not find what its transaction wrote",
        file=_TRANSACTION,
        old="found = overlaid(found, query, wanted, own)\n",
        new="found = found[:wanted]\n",
        caught_by=_SERIAL_VECTORS,
    ),
    Fault(
        name="a watched search of vectors is told of what is nearer than its first hit alone",
        file=_TRANSACTION,
        old="Nearest(query=query, last=hit))\n                        return accepted\n",
        new="Nearest(query=query, last=accepted[0]))\n                        return accepted\n",
        caught_by=_WATCHED_VECTORS,
    ),
    Fault(
        name="a block of vectors that was written is searched as it was",
        file="storage/sqlite/vectors.py",
        old="if block is None or block.changed != changed:\n",
        new="if block is None:\n",
        caught_by=_STORED_VECTORS,
    ),
    Fault(
        name="looking for a document that is not there is not recorded",
        file=_TRANSACTION,
        old="        self.depend_on_document(table.number, id)\n        pending",
        new="        if id in self._pending or self._stored(table, id) is not None:\n"
        "            self.depend_on_document(table.number, id)\n"
        "        pending",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="looking for a table that is not there is not recorded",
        file=_TRANSACTION,
        old="        if table is None:\n            self._record_absent_table(name)\n",
        new="",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a commit tells of the keys that it added, and not of those that it removed",
        file="storage/store.py",
        old="            if removed is not None:\n                keys.add(removed)\n",
        new="",
        caught_by=_IN_MEMORY,
    ),
    # What transactions see.
    Fault(
        name="own writes come after what is stored under the same key",
        file=_TRANSACTION,
        old="        return written <= stored if self._order is Order.ASC else written >= stored\n",
        new="        return written < stored if self._order is Order.ASC else written > stored\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="what a sub-transaction wrote stays in indexes when it fails",
        file=_TRANSACTION,
        old="                previous.take_off(index, overlay)\n",
        new="                pass\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a table that a failed sub-transaction made stays",
        file=_TRANSACTION,
        old="            self._created_tables = tables\n            raise\n",
        new="            raise\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a change leaves the old entry in an index",
        file=_TRANSACTION,
        old="        removed = pending.before_keys.get(index.id)\n",
        new="        removed = None if pending.after else pending.before_keys.get(index.id)\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a write that changes nothing is one",
        file=_TRANSACTION,
        old="            if pending.before != pending.after\n",
        new="",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a commit timestamp is put into documents, and not into the keys of indexes",
        file="engine/stamps.py",
        old="        for key in self.keys:\n",
        new="        for key in self.keys[:0]:\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a unique index is not looked at when a document changes",
        file=_DATABASE,
        old="        self._check_unique(entry, fields, id_)\n        self._access.transaction.replace",
        new="        self._access.transaction.replace",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a string is taken for those that go on after it",
        file="values/keys.py",
        old="    return prefix + GOES_ON if prefix else None\n",
        new='    end = prefix.rstrip(b"\\xff")\n'
        "    return end[:-1] + bytes([end[-1] + 1]) if end else None\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a commit that is not written yet hides nothing",
        file="storage/ahead.py",
        old="                keys[entry.removed] = None\n",
        new="                pass\n",
        caught_by=_IN_MEMORY,
    ),
    # What is kept.
    Fault(
        name="history begins one timestamp too late",
        file="storage/memory.py",
        old="            self._floor = old[-1].ts\n",
        new="            self._floor = old[-1].ts + 1\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="nothing is waited for until it is on the disk",
        file="storage/sqlite/store.py",
        old='f"PRAGMA synchronous = {durability.value}"',
        new='"PRAGMA synchronous = OFF"',
        caught_by=_POWER,
    ),
    Fault(
        name="the record of a request is not part of its commit",
        file="runtime/mutations.py",
        old="                    transaction = self._recorded(executed, session, record_id)\n",
        new="                    pass\n",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="the record of a request is not looked up",
        file="runtime/transactions.py",
        old="            recorded = session_requests.find(transaction, record_id)\n",
        new="            recorded = None\n",
        caught_by=_FUNCTIONS,
    ),
    # Pages.
    Fault(
        name="a page begins with the last document of the one before",
        file=_DATABASE,
        old='            return Interval(position + b"\\0", None)\n        return Interval(b"", position)\n',
        new='            return Interval(position, None)\n        return Interval(b"", position)\n',
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a page that is pinned ends before its last document",
        file=_DATABASE,
        old='            return Interval(b"", position + b"\\0")\n        return Interval(position, None)\n',
        new='            return Interval(b"", position)\n        return Interval(position, None)\n',
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="journals are ignored",
        file=_DATABASE,
        old="        journal = self._access.pagination.journal_in\n",
        new="        journal = None\n",
        caught_by=_WATCHING,
    ),
    # What clients are shown.
    Fault(
        name="of the results that a commit touches one is forgotten",
        file=_QUERIES,
        old="for result in tuple(self._subscriptions.stale(commit.writes)):\n",
        new="for result in tuple(self._subscriptions.stale(commit.writes))[1:]:\n",
        caught_by=_WATCHING,
    ),
    Fault(
        name="those who watch are not told",
        file=_QUERIES,
        old="        watched = [result for result in stale if result.watchers]\n",
        new="        watched = [result for result in stale[1:] if result.watchers]\n",
        caught_by=_WATCHING,
    ),
    Fault(
        name="a result holds one timestamp too long",
        file=_QUERIES,
        old="                self._expire(result, commit.ts)\n",
        new="                self._expire(result, commit.ts + 1)\n",
        caught_by=_WATCHING,
    ),
    Fault(
        name="a result that a commit has touched meanwhile is kept",
        file=_QUERIES,
        old="        if conflict is not None:\n            result.valid_until = conflict.ts\n",
        new="        if conflict is not None and result.failure is not None:\n"
        "            result.valid_until = conflict.ts\n",
        caught_by=_WATCHING,
    ),
    Fault(
        name="results are shared whoever asks",
        file=_QUERIES,
        old="        key: _Key = request if who is None else (request, who)\n        previous",
        new="        key: _Key = request\n        previous",
        caught_by=_WATCHING,
    ),
    Fault(
        name="clients in lock-step are shown what only one of them may see",
        file=_QUERIES,
        old="        shared = landed if isinstance(landed, QueryResult) and who is None else None\n",
        new="        shared = landed if isinstance(landed, QueryResult) else None\n",
        caught_by=_WATCHING,
    ),
    Fault(
        name="who waits for a run gets its result whoever asks",
        file=_QUERIES,
        old="            elif who in {None, asked.who} and landed.holds_at(asked.ts):\n",
        new="            elif landed.holds_at(asked.ts):\n",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="who waits for a run gets its result for any timestamp",
        file=_QUERIES,
        old="            elif who in {None, asked.who} and landed.holds_at(asked.ts):\n",
        new="            elif who in {None, asked.who}:\n",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="a Transition shows a commit before its response is sent",
        file="sync/session.py",
        old="            or self._mutation_visible\n",
        new="",
        caught_by=_SESSION,
    ),
    Fault(
        name="a Transition goes back in time",
        file="sync/session.py",
        old="        if at is None or at < self._sent.ts:\n",
        new="        if at is None:\n",
        caught_by=_SESSION,
    ),
    Fault(
        name="a scheduled mutation ends in a commit of its own",
        file=_SCHEDULED_DOCUMENTS,
        old="    transaction.delete(job.id)\n    _end(transaction, of, _document(transaction, of), State.SUCCESS)\n",
        new="    transaction.delete(job.id)\n",
        caught_by=_SCHEDULED,
    ),
    Fault(
        name="what is scheduled stays when the mutation that does so is undone",
        file="runtime/scheduling.py",
        old='        _warn_of_size(self.log, wanted)\n        return cast("Id[ScheduledFunction]", wanted.on(self.transaction, self.call.job))\n',
        new='        undo, self.transaction._undo = self.transaction._undo, []\n        id_ = wanted.on(self.transaction, self.call.job)\n        self.transaction._undo = undo\n        return cast("Id[ScheduledFunction]", id_)\n',
        caught_by=_SCHEDULED,
    ),
    Fault(
        name="a function that was cancelled runs nevertheless",
        file=_SCHEDULED_DOCUMENTS,
        old="    if job is not None and job.lane is not Lane.RUNNING:\n        transaction.delete(job.id)\n    _end(transaction, id, document, State.CANCELED)\n",
        new="    _end(transaction, id, document, State.CANCELED)\n",
        caught_by=_SCHEDULED,
    ),
    Fault(
        name="whoever cancels does not read the job",
        file=_SCHEDULED_DOCUMENTS,
        old="    job = find_job(transaction, id)\n    if job is not None and job.lane is not Lane.RUNNING:\n        transaction.delete(job.id)\n",
        new="    if _kind(document) == State.PENDING.value:\n        transaction.delete(job_id(id))\n",
        caught_by=_SCHEDULER,
    ),
    Fault(
        name="an action is forgotten whose beginning was made and reported as failed",
        file="jobs/scheduler.py",
        old="            self._unsure = jobs\n",
        new="",
        caught_by=_SCHEDULER,
    ),
    Fault(
        name="a cron job runs again whose commit was made and reported as failed",
        file=_SCHEDULED_DOCUMENTS,
        old="    if current.lane is Lane.COMMITTED:\n        return True\n",
        new="",
        caught_by=_SCHEDULER,
    ),
    Fault(
        name="actions that a killed server was running run again",
        file="jobs/scheduler.py",
        old="                if _has_attempts(job):\n                    await self._postpone(job, _LOST, self._pause_s(job))\n",
        new="                if not job.is_cron:\n                    await self._postpone(job, _LOST, 0.0)\n",
        caught_by=_SCHEDULER,
    ),
    # What is told of what a query has read.
    Fault(
        name="what an explanation ends before is told to be in it",
        file="runtime/explanations.py",
        old="    return Bound(tuple(values), is_inclusive=bool(after))\n",
        new="    return Bound(tuple(values), is_inclusive=True)\n",
        caught_by=_EXPLAINED,
    ),
    Fault(
        name="an action that has failed runs again",
        file="jobs/scheduler.py",
        old="        if ended.error is not None and _has_attempts(job):\n"
        "            await self._postpone(job, ended.error, self._pause_s(job))\n",
        new="        if ended.error is not None and job.attempt < 2:\n"
        "            await self._postpone(job, ended.error, self._backoff_s(job.attempt))\n",
        caught_by=_SIMULATED,
    ),
    # What components have, and what calls between them do.
    Fault(
        name="what a call of another component has written stays when it fails",
        file="runtime/transactions.py",
        old="                transaction.sub_transaction() if is_mutation else nullcontext(),\n",
        new="                transaction.sub_transaction()\n"
        "                if is_mutation and resolved.component.component == self.component.component\n"
        "                else nullcontext(),\n",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="a component reads the tables of another mount",
        file=_DATABASE,
        old="        return self.transaction.table(full_name(self.component, name))\n",
        new='        return self.transaction.table(full_name(self.component and "one", name))\n',
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="the id of another component's document is as good as one's own",
        file=_DATABASE,
        old="        if entry.component != self._access.component and not entry.is_system:\n",
        new="        if entry.component and not self._access.component:\n",
        caught_by=_IN_MEMORY,
    ),
    Fault(
        name="a handle leads into the component that runs it",
        file="runtime/invocation.py",
        old="        component = application.in_component(named.component)\n        if",
        new="        component = application.in_component(named.component)\n"
        "        component = caller if named.path.key in caller.functions else component\n        if",
        caught_by=_FUNCTIONS,
    ),
    Fault(
        name="what a component has scheduled is the application's to see",
        file="runtime/scheduling.py",
        old="        owner=caller.component,\n        component=component,\n",
        new='        owner="",\n        component=component,\n',
        caught_by=_SIMULATED,
    ),
    Fault(
        name="what a component has scheduled runs in another mount",
        file="jobs/scheduler.py",
        old="            component=job.component,\n            # A mutation",
        new='            component=job.component.replace("right", "left"),\n            # A mutation',
        caught_by=_SIMULATED,
    ),
    # Files.
    Fault(
        name="an upload URL is good for two files",
        file=_FILES,
        old="    if there is None:\n        if entry.ticket_ms",
        new="    if there is None or there.was_stored:\n        if entry.ticket_ms",
        caught_by=_SIMULATED,
    ),
    Fault(
        name="that an upload URL was used is forgotten with its file",
        file=_LEDGER,
        old="    if current.was_stored and not current.is_over(transaction):\n",
        new="    if current.was_stored and current.is_over(transaction):\n",
        caught_by=_SIMULATED,
    ),
    Fault(
        name="content of uploads that broke off is not swept",
        file=_FILES,
        old="        broken = [entry for entry in arriving if entry.key not in known]\n",
        new="        broken: list[LedgerEntry] = []\n",
        caught_by=_SIMULATED,
    ),
    Fault(
        name="content is removed while the document of its file stays",
        file=_LEDGER,
        old="    if entry.state is BlobState.STORED:\n        transaction.delete(entry.file)\n"
        "    _put(transaction, replace",
        new="    _put(transaction, replace",
        caught_by=_SIMULATED,
    ),
    Fault(
        name="a file is there before its content is whole",
        file=_FILES,
        old="        await self._thread.run(self._writer.finish)\n        return FileFacts",
        new="        return FileFacts",
        caught_by=_SIMULATED,
    ),
    Fault(
        name="an upload that was given up becomes a file nevertheless",
        file=_LEDGER,
        old="    if current is None or current.key != entry.key or current.state is not BlobState.ARRIVING:\n",
        new="    if current is None or current.key != entry.key:\n",
        caught_by=_UPLOADS,
    ),
    Fault(
        name="files of components are deleted by others",
        file=_LEDGER,
        old="    if entry.component != component:\n",
        new='    if entry.component != component and "nobody" in component:\n',
        caught_by=_SIMULATED,
    ),
)
