"""The official MCP client asks an agent twice, in one thread. Arguments: the address, a key."""

import asyncio
import sys

from mcp import Client
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client


async def main(url, key):
    async with create_mcp_http_client(headers={"authorization": f"Bearer {key}"}) as http:
        async with Client(streamable_http_client(url, http_client=http)) as client:
            names, cursor = [], None
            while True:
                page = await client.list_tools(cursor=cursor)
                names += [tool.name for tool in page.tools]
                cursor = page.next_cursor
                if cursor is None:
                    break
            assert "ask_helper" in names and len(names) == len(set(names)) == 123, names
            words = []

            async def progress(now, total, message):
                words.append(message)

            answer = await client.call_tool("ask_helper", {"input": "hello"}, progress_callback=progress)
            assert not answer.is_error and answer.content[0].text == "you said hello", answer
            thread = answer.structured_content["thread"]
            answer = await client.call_tool("ask_helper", {"input": "more", "thread": thread})
            assert answer.structured_content["result"] == "you said more", answer
            print("progress:", words)


asyncio.run(main(*sys.argv[1:]))
