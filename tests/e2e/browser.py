"""A headless Chromium, driven over its DevTools protocol."""

import asyncio
import base64
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = "/usr/bin/chromium"
_DEADLINE = 30.0
_FLAGS = (
    "--headless=new",
    "--no-sandbox",  # the tests run as root
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


class BrowserError(Exception):
    """The browser refused a command, or a script in the page failed."""


class Page:
    """One tab."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, session: str) -> None:
        self._socket = socket
        self._session = session
        self._last = 0
        self._answers: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._seen = asyncio.Condition()
        self.events: list[Mapping[str, Any]] = []

    async def read(self) -> None:
        """Take in what the browser sends, until it ends."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._answers[said["id"]].set_result(said)
            elif said.get("sessionId") == self._session:
                async with self._seen:
                    self.events.append(said)
                    self._seen.notify_all()

    async def send(self, method: str, seconds: float = _DEADLINE, **params: Any) -> Any:
        """Give one command and return its result, within so many seconds."""
        self._last += 1
        answer = self._answers[self._last] = asyncio.get_running_loop().create_future()
        command = {"id": self._last, "method": method, "params": params, "sessionId": self._session}
        await self._socket.send_json(command)
        async with asyncio.timeout(seconds):
            said = await answer
        if "error" in said:
            raise BrowserError(f"{method}: {said['error']['message']}")
        return said["result"]

    async def open(self, url: str) -> None:
        """Go to *url* and wait until it is loaded."""
        before = len(self.events)
        result = await self.send("Page.navigate", url=url)
        if "errorText" in result:
            raise BrowserError(f"{url}: {result['errorText']}")
        await self.until_event(lambda event: event["method"] == "Page.loadEventFired", after=before)

    async def until_event(self, wanted: Callable[[Mapping[str, Any]], bool], after: int = 0) -> None:
        """Wait for such an event, of those that came after so many."""
        async with asyncio.timeout(_DEADLINE), self._seen:
            await self._seen.wait_for(lambda: any(map(wanted, self.events[after:])))

    async def run(self, script: str, seconds: float = _DEADLINE) -> Any:
        """The value of a JavaScript expression, awaited for so many seconds if it is a promise."""
        how = {"returnByValue": True, "awaitPromise": True}
        result = await self.send("Runtime.evaluate", seconds, expression=script, **how)
        if "exceptionDetails" in result:
            raise BrowserError(result["exceptionDetails"].get("exception", {}).get("description", script))
        return result["result"].get("value")

    async def until(self, condition: str, seconds: int = 10) -> None:
        """Wait until a JavaScript condition holds; it is looked at with each frame that the page draws."""
        await self.run(
            f"""new Promise((done, fail) => {{
                const never = new Error('never: ' + {json.dumps(condition)});
                const late = setTimeout(() => fail(never), {seconds * 1000});
                const look = () => ({condition}) ? (clearTimeout(late), done()) : requestAnimationFrame(look);
                look();
            }})""",
            seconds + _DEADLINE,
        )

    async def screenshot(self, *, width: int = 1280, scheme: str = "light") -> bytes:
        """Draw the whole page as PNG."""
        await self.look(width=width, scheme=scheme)
        height = await self.run("document.documentElement.scrollHeight")
        clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
        shot = await self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        return base64.b64decode(shot["data"])

    async def look(
        self, *, width: int = 1280, height: int = 900, scheme: str = "light", motion: str = ""
    ) -> None:
        """Change the window's size and what the reader prefers."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        await self.send("Emulation.setDeviceMetricsOverride", **metrics)
        features = [
            {"name": "prefers-color-scheme", "value": scheme},
            {"name": "prefers-reduced-motion", "value": motion},
        ]
        await self.send("Emulation.setEmulatedMedia", features=features)

    def complaints(self) -> list[str]:
        """Errors and warnings of the console, exceptions, and breaches of the content security policy."""
        found = []
        for event in self.events:
            params = event["params"]
            if event["method"] == "Log.entryAdded" and params["entry"]["level"] in {"error", "warning"}:
                found.append(params["entry"]["text"])
            elif event["method"] == "Runtime.exceptionThrown":
                found.append(params["exceptionDetails"]["text"])
            elif event["method"] == "Runtime.consoleAPICalled" and params["type"] in {
                "error",
                "warning",
                "assert",
            }:
                found.append(str(params["args"]))
        return found


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Page]:
    """A new browser with one empty page, its data in *profile*. Both are gone afterwards."""
    async with (
        _chromium(profile) as endpoint,
        aiohttp.ClientSession() as client,
        client.ws_connect(endpoint, max_msg_size=0) as socket,
    ):
        target = await _ask(socket, 1, "Target.createTarget", url="about:blank")
        attached = await _ask(socket, 2, "Target.attachToTarget", targetId=target["targetId"], flatten=True)
        page = Page(socket, attached["sessionId"])
        reading = asyncio.create_task(page.read())
        try:
            for domain in ("Page", "Runtime", "Log", "Network", "Accessibility"):
                await page.send(f"{domain}.enable")
            yield page
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading


async def _ask(socket: aiohttp.ClientWebSocketResponse, number: int, method: str, **params: Any) -> Any:
    await socket.send_json({"id": number, "method": method, "params": params})
    async with asyncio.timeout(_DEADLINE):
        async for message in socket:
            said = json.loads(message.data)
            if said.get("id") == number:
                return said["result"]
    raise BrowserError(f"{method}: the browser hung up")


@asynccontextmanager
async def _chromium(profile: Path) -> AsyncIterator[str]:
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *_FLAGS,
        f"--user-data-dir={profile}",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    draining: asyncio.Task[bytes] | None = None
    try:
        async with asyncio.timeout(_DEADLINE):
            endpoint = await _endpoint(process.stderr)
        draining = asyncio.create_task(process.stderr.read())
        yield endpoint
    finally:
        # Its own group: the processes that it started are ours too, and nobody else's.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if draining is not None:
            await draining


async def _endpoint(stderr: asyncio.StreamReader) -> str:
    async for line in stderr:
        if line.startswith(b"DevTools listening on "):
            return line.rpartition(b" ")[2].strip().decode()
    raise BrowserError("Chromium did not start")
