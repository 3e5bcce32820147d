"""`TestApp`: an application on the real engine, in process, with a store that is its own."""

from __future__ import annotations

import asyncio
import base64
import itertools
import threading
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast, overload

import httpx
import jwt

from camber import limits
from camber.deployment.deployment import Deployment
from camber.deployment.project import Project, load_project
from camber.deployment.settings import MEMORY, DeploymentSettings, Scheduling, TestHooks
from camber.engine.catalog import TableNumbers, tables_of
from camber.errors import AccessDenied, AppError, DeveloperError, FunctionError, RequestError
from camber.functions.application import Application, Resolved
from camber.functions.calls import Callee
from camber.functions.contexts import MutationCtx, QueryCtx
from camber.functions.definition import FunctionKind
from camber.functions.loading import Freshness, load_application
from camber.functions.system_documents import StoredFile
from camber.identity.identity import Anonymous, Identity, User, UserIdentity, user_of
from camber.runtime.executor import Caller, FunctionCall, Origin, Sender
from camber.runtime.invocation import encoded_arguments, resolve
from camber.runtime.release import InProcessRelease
from camber.runtime.results import Failure, QueryResult
from camber.schema.annotations import Id
from camber.schema.table import Table
from camber.server.application import api_application, site_application
from camber.testing.clock import ControlledHost
from camber.testing.probes import Probe, Probes
from camber.values.packed import unpack
from camber.values.timestamp import Timestamp
from camber.values.wire import encode_json

P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D", bound=Table)


class TestApp:
    """An application under test.

    Functions, public and internal, are named as in `ctx.run_query`: by themselves or by path.
    Whatever a function raises arrives as `AppError` with its data, or as `FunctionError`.

    Close it, or use it in a `with` statement.
    """

    __test__ = False

    def __init__(
        self, project: Project | Path | str, *, environment: Mapping[str, str] | None = None
    ) -> None:
        """Load a project's functions and open a store of its own in memory.

        Args:
            project: the project, or its folder.
            environment: deployment variables, for `ctx.env`.

        Raises:
            LoadError: a module does not load.
        """
        found = project if isinstance(project, Project) else load_project(Path(project))
        self._core = _Core(found, environment or {})
        self._identity: Identity = Anonymous()
        self._sender: Sender | None = None

    def query(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a query and return its result."""
        return cast("R", self._run(FunctionKind.QUERY, callee, args, kwargs))

    def mutation(self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a mutation until it has committed and return its result."""
        return cast("R", self._run(FunctionKind.MUTATION, callee, args, kwargs))

    def action(self, callee: Callee[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Run an action and return its result."""
        return self._run(FunctionKind.ACTION, callee, args, kwargs)

    def subscribe(
        self, callee: Callee[P, R], /, *args: P.args, **kwargs: P.kwargs
    ) -> Subscription[R]:
        """Watch a query; see `Subscription`."""
        called, call = self._core.call(callee, args, kwargs, self._identity, self._sender)
        return Subscription(self._core, called, call)

    def fetch(
        self,
        path: str,
        /,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        json: Any = None,
        content: bytes | str | None = None,
    ) -> httpx.Response:
        """Send a request to the site, where HTTP actions are, and return the whole response.

        It comes from the user of `with_identity`, unless it has an Authorization header.
        """
        given = httpx.Headers(headers)
        user = user_of(self._identity)
        if user is not None:
            given.setdefault("Authorization", self._core.authorization(user))
        sender = self._sender
        if sender is not None and sender.user_agent is not None:
            given.setdefault("User-Agent", sender.user_agent)
        ip = None if sender is None else sender.ip
        return self._core.wait(
            self._core.fetch(path, ip, method=method, headers=given, json=json, content=content)
        )

    def with_identity(self, **claims: Any) -> TestApp:
        """Return the same application for a signed-in user.

        Claims have the names of `UserIdentity`; issuer, subject and token identifier are made up
        where they are left out.
        """
        known = {name: v for name, v in claims.items() if name in UserIdentity.__slots__}
        custom = {name: v for name, v in claims.items() if name not in known}
        known.setdefault("issuer", "https://camber.test")
        known.setdefault("subject", f"user-{next(_subjects)}")
        known.setdefault("token_identifier", f"{known['issuer']}|{known['subject']}")
        return self._with(User(UserIdentity(**known, claims=custom)), self._sender)

    def with_request_metadata(
        self, *, ip: str | None = None, user_agent: str | None = None
    ) -> TestApp:
        """Return the same application for a client that calls from there: see `ctx.meta`."""
        return self._with(self._identity, Sender(ip=ip, user_agent=user_agent))

    def _with(self, identity: Identity, sender: Sender | None) -> TestApp:
        app = object.__new__(TestApp)
        app._core, app._identity, app._sender = self._core, identity, sender
        return app

    def with_user(self, user: Id[Any], session: Id[Any] | None = None, /, **claims: Any) -> TestApp:
        """Return the same application for a user of its own tables, signed in as sign-in does it.

        The subject is `"<user>|<session>"`, and the issuer this deployment.
        """
        subject = str(user) if session is None else f"{user}|{session}"
        claims.setdefault("issuer", self._core.deployment.settings.site_url)
        return self.with_identity(subject=subject, **claims)

    def with_token(self, token: str, /) -> TestApp:
        """Return the same application for whoever has just signed in to it, and got this token.

        The token is believed, and what it says does not expire.
        """
        claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
        custom = {name: value for name, value in claims.items() if name not in _STANDARD}
        return self.with_identity(issuer=claims["iss"], subject=claims["sub"], **custom)

    @overload
    def visible(self, table: type[D], /) -> list[D]: ...

    @overload
    def visible(self, table: str, /) -> list[Any]: ...

    def visible(self, table: Any, /) -> list[Any]:
        """Return the rows of a table that functions can read for this identity, oldest first."""

        def ask(ctx: QueryCtx) -> list[Any]:
            declared = getattr(table, "__camber__", None)
            name = table if declared is None else declared.name
            reader = ctx.db.system if str(name).startswith("_") else ctx.db
            return reader.query(table).collect()

        return cast("list[Any]", self._probe(FunctionKind.QUERY, *self._core.probes.reading(ask)))

    def may_insert(
        self, document: Table | type[Table] | str, fields: Mapping[str, Any] | None = None, /
    ) -> bool:
        """Return whether functions may insert a row for this identity. Nothing is inserted.

        Raises:
            SchemaEnforcementError: it does not fit its table.
        """
        insert: Any = (document,) if fields is None else (document, fields)
        return self._may(lambda ctx: ctx.db.insert(*insert))

    def may_patch(
        self, id: str, fields: Mapping[str, Any] | None = None, /, **changes: Any
    ) -> bool:
        """Return whether functions may change a row so. What cannot be read may not be changed."""
        return self._may(lambda ctx: ctx.db.patch(id, fields, **changes))

    def may_replace(self, id: str, document: Table | Mapping[str, Any], /) -> bool:
        """Return whether functions may give a row this body."""
        return self._may(lambda ctx: ctx.db.replace(id, document))

    def may_delete(self, id: str, /) -> bool:
        """Return whether functions may delete a row."""
        return self._may(lambda ctx: ctx.db.delete(id))

    def upload(
        self, url: str, data: bytes, *, content_type: str | None = None, sha256: str | None = None
    ) -> Id[StoredFile]:
        """Upload a file to what `ctx.storage.generate_upload_url` returned; return its id.

        `sha256` is in base64.

        Raises:
            RequestError: the server refused it, with the code that a client gets.
        """
        headers = {} if content_type is None else {"Content-Type": content_type}
        if sha256 is not None:
            headers["Digest"] = f"sha-256={sha256}"
        answer = self._core.wait(self._core.request("POST", url, content=data, headers=headers))
        if answer.status_code != 200:
            failure = answer.json()
            raise RequestError(failure["message"], code=failure["code"])
        return Id(answer.json()["storageId"])

    def download(self, url: str) -> bytes | None:
        """Return the content of a file, given what `ctx.storage.get_url` returned.

        None if the file is not there any more.

        Raises:
            RequestError: the server refused it, with the code that a client gets.
        """
        answer = self._core.wait(self._core.request("GET", url))
        if answer.status_code == 404:
            return None
        if answer.status_code != 200:
            failure = answer.json()
            raise RequestError(failure["message"], code=failure["code"])
        return answer.content

    def advance(
        self, *, seconds: float = 0, minutes: float = 0, hours: float = 0, days: float = 0
    ) -> None:
        """Move the clock, and run what is scheduled until then and what cron jobs are due.

        All of it runs in its order, each at its time, also what that schedules in its turn. Nothing
        scheduled runs but here: `advance()` runs what is due now.
        """
        duration = timedelta(seconds=seconds, minutes=minutes, hours=hours, days=days)
        if duration < timedelta():
            msg = f"advance({duration}): the clock does not go back"
            raise ValueError(msg)
        self._core.wait(self._core.advance(duration.total_seconds()))

    def close(self) -> None:
        """Close the store and end the threads."""
        self._core.close()

    def __enter__(self) -> TestApp:
        """Return the application itself."""
        return self

    def __exit__(self, *exc: object) -> None:
        """Close it."""
        self.close()

    def _may(self, write: Callable[[MutationCtx], Any]) -> bool:
        try:
            self._probe(FunctionKind.MUTATION, *self._core.probes.writing(write))
        except AccessDenied:
            return False
        except DeveloperError as error:
            if error.code != "NonexistentDocument":
                raise
            return False
        return True

    def _probe(self, kind: FunctionKind, path: str, name: str, probe: Probe) -> Any:
        _, call = self._core.call(path, (), {"probe": name}, self._identity, self._sender)
        self._core.wait(self._core.deployment.runtime.run(call, kind))
        return probe.result()

    def _run(
        self,
        kind: FunctionKind,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Any:
        called, call = self._core.call(callee, args, kwargs, self._identity, self._sender)
        done = self._core.wait(self._core.deployment.runtime.run(call, kind))
        return self._core.value(called, done.value, done.failure)


_subjects = itertools.count(1)
#: Claims of a token that are about the token.
_STANDARD = frozenset({"iss", "sub", "aud", "iat", "nbf", "exp", "jti"})


class _Core:
    """What all identities of one `TestApp` share."""

    def __init__(self, project: Project, environment: Mapping[str, str]) -> None:
        self._host = ControlledHost()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="camber-test", daemon=True
        )
        self._thread.start()
        settings = DeploymentSettings(
            root=project.root,
            functions=project.functions,
            name=project.name,
            data=project.root / ".camber",
            store=MEMORY,
            test_hooks=TestHooks.ON,
            scheduling=Scheduling.WHEN_ASKED,
            environment=dict(environment),
        )
        try:
            self.probes = Probes()
            self.application = self.probes.beside(
                load_application(project.root, project.functions, Freshness.SHARED)
            )
            self.deployment = self.wait(self._open(settings, self.application))
        except BaseException:
            self._end()
            raise

    async def _open(self, settings: DeploymentSettings, application: Application) -> Deployment:
        deployment = await Deployment.open(settings, self._host)
        await deployment.push_release(InProcessRelease(application))
        return deployment

    async def advance(self, seconds: float) -> None:
        """Move the clock from one job to the next, up to so many seconds from now."""
        scheduler = self.deployment.scheduler
        end_ns = self._host.now_ns() + int(seconds * 1e9)
        at_once = 0
        while (job := scheduler.next_due()) is not None and job.due * 1e6 <= end_ns:
            if self._host.move_to(int(job.due * 1e6)):
                at_once = 0
            at_once += await scheduler.run_due()
            if at_once > limits.test_runs_at_once_max:
                msg = (
                    f"{at_once} scheduled functions have run and none had to wait, and it goes on "
                    f"with {job.path}: does it schedule itself again and again without a delay?"
                )
                raise AssertionError(msg)
        self._host.move_to(end_ns)

    def wait(self, coroutine: Coroutine[Any, Any, R]) -> R:
        """Run a coroutine on the application's loop and return its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    def authorization(self, user: UserIdentity) -> str:
        """Return the header of an admin who acts as a user."""
        acting = base64.b64encode(encode_json(user.to_dict())).decode()
        return f"Convex {self.deployment.admin_keys.key}:{acting}"

    async def fetch(self, path: str, ip: str | None, **request: Any) -> httpx.Response:
        """Send a request to the site, from an address or from this machine."""
        transport = httpx.ASGITransport(
            site_application(self.deployment), client=(ip or "127.0.0.1", 123)
        )
        url = self.deployment.settings.site_url
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            return await client.request(request.pop("method"), path, **request)

    def call(
        self,
        callee: Callee[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        identity: Identity,
        sender: Sender | None = None,
    ) -> tuple[Resolved, FunctionCall]:
        """Return the function that is named, and the call of it."""
        handles, application = self.deployment.handles, self.application
        resolved = resolve(handles, application, application, callee)
        function, component = resolved.function, resolved.component.component
        call = FunctionCall(
            path=function.path,
            component=component,
            arguments=encoded_arguments(function, args, kwargs, self._tables(component)),
            identity=identity,
            caller=Caller.APPLICATION,
            origin=Origin.TESTER,
            sender=sender,
            request_id=self.deployment.runtime.new_request_id(),
        )
        return resolved, call

    def _tables(self, component: str) -> TableNumbers:
        return tables_of(self.deployment.engine.catalog, component)

    def value(self, called: Resolved, packed: bytes | None, failure: Failure | None) -> Any:
        """Return what a function returned, or raise what it raised."""
        if failure is not None and failure.data is not None:
            raise AppError(unpack(failure.data))
        if failure is not None:
            raise FunctionError(f"{called.display} failed: {failure.message.strip()}")
        assert packed is not None
        tables = self._tables(called.component.component)
        return called.function.returns.decode(unpack(packed), tables)

    async def request(self, method: str, url: str, **more: Any) -> httpx.Response:
        """Send a request to the API, as a client does."""
        transport = httpx.ASGITransport(api_application(self.deployment))
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, url, **more)

    def close(self) -> None:
        """Close the deployment and end the loop."""
        self.wait(self.deployment.close())
        self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Subscription(Generic[R]):
    """A watched query, at the newest timestamp whenever it is looked at."""

    def __init__(self, core: _Core, called: Resolved, call: FunctionCall) -> None:
        self._core = core
        self._called = called
        self._call = call
        self._stale = threading.Event()
        self._result: QueryResult | None = None
        self._values: list[R] = []
        self._refresh()

    @property
    def value(self) -> R:
        """Return the query's result now, or raise what it raises."""
        self._refresh()
        assert self._result is not None
        return cast("R", self._core.value(self._called, self._result.packed, self._result.failure))

    @property
    def values(self) -> list[R]:
        """Return the results seen so far, in order, those that are equal in a row once.

        A result is seen when `value` or `values` is asked for.
        """
        self._refresh()
        return list(self._values)

    @property
    def is_stale(self) -> bool:
        """Return whether a commit has touched what the query read since it was looked at."""
        return self._stale.is_set()

    def invalidated(self, result: QueryResult) -> None:
        """Note that a result does not hold any more."""
        if result is self._result:
            self._stale.set()

    def renew(self, at: Timestamp | None = None, landed: object = None) -> None:
        """Do nothing: the query is run again when somebody looks."""

    def close(self) -> None:
        """Stop watching."""
        self._core.wait(self._unwatch())

    def _refresh(self) -> None:
        if self._result is not None and not self._stale.is_set():
            return
        previous, result = self._result, self._core.wait(self._run())
        if previous is not None and previous.comparable == result.comparable:
            return
        if result.failure is None:
            self._values.append(cast("R", self._core.value(self._called, result.packed, None)))

    async def _run(self) -> QueryResult:
        await self._unwatch()
        self._stale.clear()
        result = await self._core.deployment.runtime.query(self._call)
        self._result = result
        result.watch(self)
        if result.valid_until is not None:
            self._stale.set()
        return result

    async def _unwatch(self) -> None:
        if self._result is not None:
            self._core.deployment.runtime.queries.unwatch(self._result, self)
