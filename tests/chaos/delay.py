"""A TCP proxy that holds back all it carries: `python3 delay.py PORT HOST HOSTPORT SECONDS`.

Runs on a test host, on the standard library alone.
"""

import asyncio
import contextlib
import sys


async def carry(source: asyncio.StreamReader, target: asyncio.StreamWriter, seconds: float) -> None:
    """Write each piece so many seconds after it was read, in order; nothing waits for another."""
    loop = asyncio.get_running_loop()
    pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(10_000)

    async def read() -> None:
        while piece := await source.read(65_536):
            await pieces.put((loop.time() + seconds, piece))
        await pieces.put((loop.time() + seconds, b""))

    reading = asyncio.create_task(read())
    try:
        while True:
            due, piece = await pieces.get()
            await asyncio.sleep(due - loop.time())
            if not piece:
                break
            target.write(piece)
            await target.drain()
    except OSError:
        pass  # one end is gone, and so the other is to go
    finally:
        reading.cancel()
        target.close()


async def main(port: int, host: str, host_port: int, seconds: float) -> None:
    """Serve until killed."""

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            far_reader, far_writer = await asyncio.open_connection(host, host_port)
            await asyncio.gather(
                carry(reader, far_writer, seconds), carry(far_reader, writer, seconds)
            )

    server = await asyncio.start_server(connect, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
