"""An MCP server made with the official SDK, unmodified. Prints its port."""

import asyncio
import socket
import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("official", version="2")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
async def slow(steps: int, ctx: Context) -> str:
    """Takes a while and says how far it is."""
    for step in range(steps):
        await ctx.report_progress(step + 1, steps, f"step {step + 1}")
        await asyncio.sleep(0.05)
    return "done"


@server.tool()
def fail() -> str:
    """Fails."""
    raise ValueError("no such thing")


with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = probe.getsockname()[1]
print(port, flush=True)
server.run("streamable-http", host="127.0.0.1", port=port, json_response=sys.argv[1:] == ["json"])
