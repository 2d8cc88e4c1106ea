"""The official OpenAI client: chat completions, embeddings, models."""

import openai
from pydantic import BaseModel

from checks import BASE, CITY, ERRORS, KEY, MODEL, TEXT, raises, run, same

client = openai.OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=30)
USER = {"role": "user", "content": "What is the weather?"}
TOOLS = [{"type": "function", "function": {"name": name, "description": name, "parameters": CITY}} for name in ("look", "now")]


class Place(BaseModel):
    city: str
    degrees: int


def usage_is(usage, output=12):
    same((usage.prompt_tokens, usage.completion_tokens, usage.total_tokens), (100, output, 100 + output))
    same(usage.prompt_tokens_details.cached_tokens, 40)


def answer():
    done = client.chat.completions.create(model=MODEL, messages=[{"role": "system", "content": "Be short."}, USER])
    same(done.choices[0].message.content, TEXT)
    same((done.choices[0].finish_reason, done.object), ("stop", "chat.completion"))
    usage_is(done.usage)


def stream():
    text, usage, reason, count = "", None, None, 0
    options = {"include_usage": True}
    for chunk in client.chat.completions.create(model=MODEL, messages=[USER], stream=True, stream_options=options):
        count += 1
        usage = chunk.usage or usage
        for choice in chunk.choices:
            text += choice.delta.content or ""
            reason = choice.finish_reason or reason
    same((text, reason), (TEXT, "stop"))
    assert count >= 6, count
    usage_is(usage)


def stream_without_usage():
    chunks = list(client.chat.completions.create(model=MODEL, messages=[USER], stream=True))
    same([chunk.usage for chunk in chunks if chunk.usage], [])
    assert all(chunk.choices for chunk in chunks), "a chunk without a choice, which nobody asked for"


def results(calls):
    return [{"role": "tool", "tool_call_id": call.id, "content": f"{call.function.name} {call.function.arguments}"} for call in calls]


def tools_loop():
    messages = [USER]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
    same(first.finish_reason, "tool_calls")
    calls = first.message.tool_calls
    same([(call.function.name, call.function.arguments.replace(" ", "")) for call in calls], [(n, '{"city":"Paris"}') for n in ("look", "now")])
    messages += [first.message, *results(calls)]
    last = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS).choices[0]
    said = "The tools said: " + ", ".join(one["content"] for one in results(calls)) + "."
    same((last.message.content, last.finish_reason), (said, "stop"))


def tools_loop_stream():
    messages = [USER]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS) as events:
        names = [event.type for event in events]
        first = events.get_final_completion().choices[0]
    assert "tool_calls.function.arguments.done" in names, names
    calls = first.message.tool_calls
    same([call.function.name for call in calls], ["look", "now"])
    messages += [first.message, *results(calls)]
    with client.chat.completions.stream(model=MODEL, messages=messages, tools=TOOLS) as events:
        last = events.get_final_completion().choices[0]
    assert last.message.content.startswith("The tools said: look {"), last.message.content


def one_call():
    done = client.chat.completions.create(model=MODEL, messages=[USER], tools=TOOLS, parallel_tool_calls=False)
    same(len(done.choices[0].message.tool_calls), 1)
    choice = {"type": "function", "function": {"name": "now"}}
    done = client.chat.completions.create(model=MODEL, messages=[USER], tools=TOOLS, tool_choice=choice)
    same([call.function.name for call in done.choices[0].message.tool_calls], ["now"])


def structured():
    done = client.chat.completions.parse(model=MODEL, messages=[USER], response_format=Place)
    same(done.choices[0].message.parsed, Place(city="Paris", degrees=7))
    with client.chat.completions.stream(model=MODEL, messages=[USER], response_format=Place) as events:
        done = events.get_final_completion()
    same(done.choices[0].message.parsed, Place(city="Paris", degrees=7))


def thinking_loop():
    messages = [USER]
    first = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, reasoning_effort="low").choices[0]
    messages += [first.message, *results(first.message.tool_calls)]
    last = client.chat.completions.create(model=MODEL, messages=messages, tools=TOOLS, reasoning_effort="low")
    assert last.choices[0].message.content.startswith("The tools said: look {"), last
    same(last.usage.completion_tokens, 17)


def embeddings():
    done = client.embeddings.create(model=MODEL, input=["one", "two"])
    same([len(one.embedding) for one in done.data], [8, 8])
    assert abs(done.data[1].embedding[0] - 1.0) < 1e-6, done.data[1].embedding
    done = client.embeddings.create(model=MODEL, input="one", encoding_format="float", dimensions=4)
    same((len(done.data[0].embedding), done.usage.prompt_tokens), (4, 100))


def models():
    known = [model.id for model in client.models.list()]
    assert known, "no models"
    same(client.models.retrieve(known[0]).id, known[0])
    raises(lambda: client.models.retrieve("there-is-none"), "NotFoundError")


def errors():
    for model, wanted in ERRORS.items():
        for stream in (False, True):
            def call():
                done = client.chat.completions.create(model=model, messages=[USER], stream=stream)
                return list(done) if stream else done
            error = raises(call, wanted)
            assert KEY not in str(error), "the key is in the error"
    wrong = client.with_options(api_key="sk-refused-0000000000000000")
    raises(lambda: wrong.chat.completions.create(model=MODEL, messages=[USER]), "AuthenticationError")
    raises(lambda: client.chat.completions.create(model=MODEL, messages=[USER], extra_body={"messages": 7}), "BadRequestError|APIStatusError")


def times_out():
    prefix = MODEL.rpartition("/")[0]
    model = f"{prefix}/trouble.slow.5000" if prefix else "trouble.slow.5000"
    short = client.with_options(timeout=0.3)
    raises(lambda: short.chat.completions.create(model=model, messages=[USER]), "APITimeoutError")


run([answer, stream, stream_without_usage, tools_loop, tools_loop_stream, one_call, structured, thinking_loop, embeddings, models, errors, times_out])
