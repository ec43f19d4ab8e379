"""A PACS behind a line that is slow to answer: what the server says reaches the client so many seconds later.

python benchmarks/relay.py PORT SERVER_PORT SECONDS     # both on 127.0.0.1; until it is ended
"""

from __future__ import annotations

import asyncio
import contextlib
import sys

_PIECE = 1 << 16


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float) -> None:
    """Writes what is read in its order, each piece `late_s` after it was read."""
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError):
        while piece := await reader.read(_PIECE):
            loop.call_later(late_s, writer.write, piece)
    loop.call_later(late_s, writer.close)


async def _serve(port: int, server_port: int, late_s: float) -> None:
    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", server_port)
        await asyncio.gather(_pass_on(reader, to_server, 0.0), _pass_on(from_server, writer, late_s))

    async with await asyncio.start_server(relay, "127.0.0.1", port) as listening:
        await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])))
