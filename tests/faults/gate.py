"""TCP gate in front of a server: forwards bytes, holds them back, delays them, or closes every connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any


class TcpGate:
    """A gate with four modes: ``open``, ``refuse`` (connections are closed), ``hang`` (no byte passes), ``slow``."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = 0
        self.refusing = False
        self.delay = 0.0
        self.lines: set[asyncio.StreamWriter] = set()
        self.loop = asyncio.new_event_loop()
        self.flowing = asyncio.Event()
        self.flowing.set()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True, name="gate")
        self.thread.start()
        assert self.ready.wait(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        server = self.loop.run_until_complete(asyncio.start_server(self._line, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self.ready.set()
        self.loop.run_forever()

    async def _line(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refusing:
            writer.transport.abort()
            return
        self.lines.add(writer)
        try:
            await self.flowing.wait()
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            self.lines.discard(writer)
            return
        self.lines.add(far_writer)
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self.lines -= {writer, far_writer}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self.flowing.wait()
                if self.delay:
                    await asyncio.sleep(self.delay)
                writer.write(data)
                await writer.drain()
        writer.transport.abort() if self.refusing else writer.close()

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self.loop).result(10)

    def open(self) -> None:
        async def work() -> None:
            self.refusing, self.delay = False, 0.0
            self.flowing.set()

        self._do(work())

    def refuse(self) -> None:
        async def work() -> None:
            self.refusing = True
            self.flowing.set()
            for line in list(self.lines):
                line.transport.abort()

        self._do(work())

    def hang(self) -> None:
        async def work() -> None:
            self.flowing.clear()

        self._do(work())

    def slow(self, seconds: float) -> None:
        async def work() -> None:
            self.delay = seconds

        self._do(work())

    def close(self) -> None:
        self.refuse()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
