"""kumo.http: real requests over real sockets, timeouts on the node's clock, errors as kumod words them."""

import asyncio
import contextlib
import http.client
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import aiohttp
from yarl import URL

from tests.lua.kumo_sim.errors import KumoError, NotSimulated
from tests.lua.kumo_sim.formats import problem, seconds_of
from tests.lua.kumo_sim.records import Field, record
from tests.lua.kumo_sim.values import Userdata, bytes_of, lua_kind, text_of

if TYPE_CHECKING:
    from tests.lua.kumo_sim.context import Context
    from tests.lua.kumo_sim.process import Process

# How many requests servers keep without an answer on purpose, by URL, or by origin if all: nobody waits for these in real time.
HOLDING: Counter[str] = Counter()

OPTIONS = {
    "user_agent": Field("text"),
    "connection_verbose": Field("bool"),
    "pool_idle_timeout": Field("duration"),
    "timeout": Field("duration"),
    "accept_invalid_certs": Field("bool"),
}
_UNSENT = ("User-Agent", "Accept-Encoding", "Content-Type")


class Headers(Userdata):
    """The headers of a response."""

    def __init__(self, headers: Any) -> None:
        self._headers = headers

    def field(self, name: object) -> Any:
        return self._headers.get(text_of(name))

    def items(self) -> Iterator[tuple[Any, Any]]:
        return ((name.lower(), value) for name, value in self._headers.items())


class Response(Userdata):
    """A response, usable until its body is read."""

    sync = (
        "status_code", "status_reason", "status_is_success", "status_is_client_error", "status_is_server_error",
        "headers", "content_length",
    )  # fmt: skip
    awaiting = ("text", "bytes")
    elsewhere = ("status_is_redirection", "status_is_informational")

    def __init__(
        self, process: "Process", response: aiohttp.ClientResponse, limit: asyncio.Future[None]
    ) -> None:
        self._process = process
        self._status = response.status
        self._response: aiohttp.ClientResponse | None = response
        self._limit = limit

    def status_code(self) -> int:
        return self._status

    def status_reason(self) -> str | None:
        return http.client.responses.get(self._status)

    def status_is_success(self) -> bool:
        return 200 <= self._status < 300

    def status_is_client_error(self) -> bool:
        return 400 <= self._status < 500

    def status_is_server_error(self) -> bool:
        return 500 <= self._status < 600

    def headers(self) -> Headers:
        return Headers(self._unread().headers)

    def content_length(self) -> int | None:
        return self._unread().content_length

    async def text(self) -> bytes:
        return (await self._body()).decode(errors="replace").encode()

    async def bytes_(self) -> bytes:
        return await self._body()

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None
        self._limit.cancel()

    def _unread(self) -> aiohttp.ClientResponse:
        if self._response is None:
            raise KumoError("broken response wrapper")
        return self._response

    async def _body(self) -> bytes:
        response, self._response = self._unread(), None
        reading = asyncio.ensure_future(response.read())
        try:
            await waited(self._process, str(response.url), reading, self._limit)
            if not reading.done():
                raise KumoError("error decoding response body")
            return reading.result()
        except (aiohttp.ClientError, OSError):
            raise KumoError("error decoding response body") from None
        finally:
            reading.cancel()
            response.close() if not reading.done() or reading.cancelled() else response.release()
            self._limit.cancel()


class Request(Userdata):
    """A request being built; what is wrong with its address or headers shows when it is sent."""

    sync = ("header", "headers", "timeout", "basic_auth", "bearer_auth", "body", "form_url_encoded")
    awaiting = ("send",)
    elsewhere = ("form_multipart_data", "aws_sign_v4")

    def __init__(self, client: "Client", method: str, url: str) -> None:
        self._client = client
        self._method = method
        self._url = url
        self._headers: list[tuple[str, str]] = []
        self._body: bytes | None = None
        self._timeout: float | None = None
        self._sent = False

    def header(self, name: Any, value: Any) -> "Request":
        self._headers.append((text_of(name), text_of(value)))
        return self

    def headers(self, headers: Any) -> "Request":
        if lua_kind(headers) != "table":
            raise KumoError(f"error converting Lua {lua_kind(headers)} to HashMap")
        for name, value in headers.items():
            self.header(name, value)
        return self

    def timeout(self, duration: Any) -> "Request":
        if isinstance(duration, int) or duration is None or not isinstance(duration, float | bytes):
            raise KumoError("invalid timeout duration")
        if (wrong := problem("duration", duration)) is not None:
            raise KumoError(wrong)
        self._timeout = seconds_of(duration)
        return self

    def basic_auth(self, username: Any, password: Any = None) -> "Request":
        auth = aiohttp.BasicAuth(text_of(username), text_of(password) if password is not None else "")
        return self.header(b"Authorization", auth.encode().encode())

    def bearer_auth(self, token: Any) -> "Request":
        return self.header(b"Authorization", b"Bearer " + text_of(token).encode())

    def body(self, body: Any) -> "Request":
        self._body = text_of(body).encode()
        return self

    def form_url_encoded(self, params: Any) -> "Request":
        pairs = [(bytes_of(name), bytes_of(value)) for name, value in params.items()]
        self._body = urlencode(pairs).encode()
        return self.header(b"Content-Type", b"application/x-www-form-urlencoded")

    async def send(self) -> Response:
        if self._sent:
            raise KumoError("broken request builder")
        self._sent = True
        parts = urlsplit(self._url)
        if parts.scheme not in {"http", "https"} or not parts.hostname or any(map(_is_bad, self._headers)):
            raise KumoError("builder error")
        client = self._client
        limit = client.process.clock.timer(client.timeout if self._timeout is None else self._timeout)
        try:
            response = await self._answered(self._url, limit)
        except (aiohttp.ClientError, OSError, ValueError):
            limit.cancel()
            raise KumoError(f"error sending request for url ({self._url})") from None
        answer = Response(client.process, response, limit)
        client.context.closing[answer] = answer.close
        return answer

    async def _answered(self, url: str, limit: asyncio.Future[None]) -> aiohttp.ClientResponse:
        """The response's head; a long-poll is answered by the server when the node's clock says that its wait is over."""
        process, wait = self._client.process, _wait_of(url)
        over = process.clock.timer(wait) if wait else None
        asking = asyncio.ensure_future(self._ask(url))
        try:
            await waited(process, url, asking, limit, *([over] if over else []))
            if asking.done():
                return asking.result()
        finally:
            if not asking.done():
                asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
            if over is not None:
                over.cancel()
        if limit.done() or over is None:
            raise TimeoutError
        return await self._answered(_without_wait(url), limit)

    async def _ask(self, url: str) -> aiohttp.ClientResponse:
        headers = [("Accept", "*/*"), *self._headers]
        return await self._client.session().request(
            self._method, url, headers=headers, data=self._body, allow_redirects=True
        )


class Client(Userdata):
    """An HTTP client; there is no DELETE, PATCH or HEAD."""

    sync = ("get", "post", "put", "close")

    def __init__(self, context: "Context", options: dict[str, Any]) -> None:
        self.process = context.process
        self.context = context
        self.timeout = seconds_of(options.get("timeout", 60))
        self._agent = options.get("user_agent", b"").decode()
        self._session: aiohttp.ClientSession | None = None
        self._closed = False
        context.closing[self] = self._shut

    def get(self, url: Any) -> Request:
        return self._request("GET", url)

    def post(self, url: Any) -> Request:
        return self._request("POST", url)

    def put(self, url: Any) -> Request:
        return self._request("PUT", url)

    def close(self) -> tuple[()]:
        self._closed = True
        return ()

    def _request(self, method: str, url: Any) -> Request:
        if self._closed:
            raise KumoError("client was closed")
        return Request(self, method, text_of(url))

    def session(self) -> aiohttp.ClientSession:
        """The connections of this client."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None),
                skip_auto_headers=_UNSENT,
                headers={"User-Agent": self._agent} if self._agent else None,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _shut(self) -> None:
        self._closed = True
        if self._session is not None:
            cleaning = self.process.cleaning
            task = asyncio.ensure_future(self._session.close())
            cleaning.add(task)
            task.add_done_callback(cleaning.discard)


def build_client(context: "Context", options: Any = None) -> Client:
    """kumo.http.build_client: what it does not know, it ignores."""
    return Client(context, record("ClientOptions", OPTIONS, options, lenient=True))


async def waited(
    process: "Process", url: str, work: asyncio.Future[Any], *timers: asyncio.Future[None]
) -> None:
    """Wait for a server's work or the first of the timers."""
    with process.in_flight(url, may_be_held=_may_be_held(url)):
        await asyncio.wait({work, *timers}, return_when=asyncio.FIRST_COMPLETED)


def _is_bad(header: tuple[str, str]) -> bool:
    name, value = header
    return not name or any((ord(c) < 32 and c != "\t") or ord(c) == 127 for c in name + value)


def _wait_of(url: str) -> float:
    with contextlib.suppress(ValueError):
        return float(dict(parse_qsl(urlsplit(url).query)).get("wait", 0))
    return 0.0


def _without_wait(url: str) -> str:
    parts = urlsplit(url)
    query = [(name, "0" if name == "wait" else value) for name, value in parse_qsl(parts.query)]
    return urlunsplit(parts._replace(query=urlencode(query)))


def _may_be_held(url: str) -> Callable[[], bool]:
    parsed, is_poll = URL(url), _wait_of(url) > 0
    origin = str(parsed.origin())
    asked = origin + parsed.raw_path_qs
    return lambda: is_poll or HOLDING[asked] > 0 or HOLDING[origin] > 0


def connect_websocket(*_: Any) -> Any:
    raise NotSimulated(
        "kumo.http.connect_websocket is not simulated: it cannot carry a token, and a Ping ends kumod"
    )
