"""The official clients' other providers: Azure's paths, Anthropic on Bedrock with its frames, Gemini's and Vertex' doors.
Only for the scripted server: the gateway is called by none of these."""

import anthropic
import openai

from checks import BASE, CITY, KEY, MODEL, TEXT, raises, run, same

USER = {"role": "user", "content": "What is the weather?"}


def chat(client):
    done = client.chat.completions.create(model=MODEL, messages=[USER])
    same(done.choices[0].message.content, TEXT)
    chunks = list(client.chat.completions.create(model=MODEL, messages=[USER], stream=True))
    same("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices), TEXT)


def azure():
    client = openai.AzureOpenAI(azure_endpoint=BASE, api_key=KEY, api_version="2024-10-21", max_retries=0)
    chat(client)
    same(len(client.embeddings.create(model=MODEL, input="one").data[0].embedding), 8)
    chat(openai.OpenAI(base_url=f"{BASE}/openai/v1/", api_key=KEY, max_retries=0))


def gemini_and_vertex():
    for path in ("/v1beta/openai/", "/v1/projects/p/locations/global/endpoints/openapi"):
        client = openai.OpenAI(base_url=BASE + path, api_key=KEY, max_retries=0)
        chat(client)
        raises(lambda: client.chat.completions.create(model="trouble.too-many.1", messages=[USER]), "RateLimitError")


def bedrock():
    tools = [{"name": name, "input_schema": CITY} for name in ("look", "now")]
    for keys in ({"aws_access_key": "AKIAFAKE", "aws_secret_key": "secret"}, {"api_key": KEY}):
        client = anthropic.AnthropicBedrock(base_url=BASE, aws_region="eu-central-1", max_retries=0, **keys)
        done = client.messages.create(model=MODEL, max_tokens=100, messages=[USER])
        same((done.content[0].text, done.stop_reason), (TEXT, "end_turn"))
        with client.messages.stream(model=MODEL, max_tokens=100, messages=[USER]) as events:
            same("".join(events.text_stream), TEXT)
        thinking = {"type": "enabled", "budget_tokens": 2000}
        with client.messages.stream(model=MODEL, max_tokens=4000, messages=[USER], tools=tools, thinking=thinking) as events:
            content = events.get_final_message().content
        same([block.type for block in content], ["thinking", "tool_use", "tool_use"])
        raises(lambda: client.messages.create(model="trouble.too-many.1", max_tokens=9, messages=[USER]), "RateLimitError")


run([azure, gemini_and_vertex, bedrock])
