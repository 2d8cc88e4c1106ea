"""The official Anthropic client: messages, counts of tokens, models."""

import anthropic
from pydantic import BaseModel

from checks import BASE, CITY, ERRORS, KEY, MODEL, TEXT, raises, run, same

client = anthropic.Anthropic(base_url=BASE, api_key=KEY, max_retries=0, timeout=30)
USER = {"role": "user", "content": "What is the weather?"}
TOOLS = [{"name": name, "description": name, "input_schema": CITY} for name in ("look", "now")]


class Place(BaseModel):
    city: str
    degrees: int


def usage_is(usage, output=12):
    same((usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens), (60, 40, output))


def answer():
    done = client.messages.create(model=MODEL, max_tokens=100, system="Be short.", messages=[USER])
    same((done.content[0].text, done.stop_reason, done.type), (TEXT, "end_turn", "message"))
    usage_is(done.usage)


def stream():
    with client.messages.stream(model=MODEL, max_tokens=100, messages=[USER]) as events:
        text = "".join(events.text_stream)
        done = events.get_final_message()
    same((text, done.content[0].text, done.stop_reason), (TEXT, TEXT, "end_turn"))
    usage_is(done.usage)


def raw_stream():
    names = [event.type for event in client.messages.create(model=MODEL, max_tokens=100, messages=[USER], stream=True)]
    same((names[0], names[1], names[-2], names[-1]), ("message_start", "content_block_start", "message_delta", "message_stop"))


def results(content):
    calls = [block for block in content if block.type == "tool_use"]
    same([(call.name, call.input) for call in calls], [(name, {"city": "Paris"}) for name in ("look", "now")])
    return {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call.id, "content": f"{call.name} {call.input['city']}"} for call in calls]}


def loop(first, second, **more):
    messages = [USER]
    done = first(messages, **more)
    same(done.stop_reason, "tool_use")
    messages += [{"role": "assistant", "content": done.content}, results(done.content)]
    last = second(messages, **more)
    texts = [block.text for block in last.content if block.type == "text"]
    same((texts, last.stop_reason), (["The tools said: look Paris, now Paris."], "end_turn"))
    return done


def create(messages, **more):
    return client.messages.create(model=MODEL, max_tokens=4000, tools=TOOLS, messages=messages, **more)


def streamed(messages, **more):
    with client.messages.stream(model=MODEL, max_tokens=4000, tools=TOOLS, messages=messages, **more) as events:
        return events.get_final_message()


def tools_loop():
    loop(create, create)
    loop(streamed, streamed)


def thinking_loop():
    for thinking in ({"type": "enabled", "budget_tokens": 2000}, {"type": "adaptive"}):
        for call in (create, streamed):
            done = loop(call, call, thinking=thinking)
            thoughts = [block for block in done.content if block.type == "thinking"]
            if thoughts:
                same(thoughts[0].thinking, "The question is short.")
                assert thoughts[0].signature, "no signature"


def signed():
    """Thinking has a signature, and a changed one is refused."""
    thinking = {"type": "enabled", "budget_tokens": 2000}
    done = create([USER], thinking=thinking)
    block = next(block for block in done.content if block.type == "thinking")
    changed = [{**one.to_dict(), "thinking": "I was told otherwise."} if one is block else one for one in done.content]
    history = [USER, {"role": "assistant", "content": changed}, results(done.content)]
    raises(lambda: create(history, thinking=thinking), "BadRequestError")


def one_call():
    done = create([USER], tool_choice={"type": "auto", "disable_parallel_tool_use": True})
    same(len([block for block in done.content if block.type == "tool_use"]), 1)
    done = create([USER], tool_choice={"type": "tool", "name": "now"})
    same([block.name for block in done.content if block.type == "tool_use"], ["now"])


def structured():
    done = client.messages.parse(model=MODEL, max_tokens=100, messages=[USER], output_format=Place)
    same(done.parsed_output, Place(city="Paris", degrees=7))


def cached():
    part = {"type": "text", "text": "long", "cache_control": {"type": "ephemeral"}}
    done = client.messages.create(model=MODEL, max_tokens=100, system=[part], messages=[USER])
    usage_is(done.usage)


def count_tokens():
    count = client.messages.count_tokens(model=MODEL, messages=[USER]).input_tokens
    assert count > 0, count


def models():
    known = [model.id for model in client.models.list()]
    assert known, "no models"
    same(client.models.retrieve(known[0]).id, known[0])
    raises(lambda: client.models.retrieve("there-is-none"), "NotFoundError")


def errors():
    for model, wanted in ERRORS.items():
        for stream in (False, True):
            def call():
                done = client.messages.create(model=model, max_tokens=100, messages=[USER], stream=stream)
                return list(done) if stream else done
            error = raises(call, wanted)
            assert KEY not in str(error), "the key is in the error"
    wrong = client.with_options(api_key="sk-refused-0000000000000000")
    raises(lambda: wrong.messages.create(model=MODEL, max_tokens=9, messages=[USER]), "AuthenticationError")


def times_out():
    prefix = MODEL.rpartition("/")[0]
    model = f"{prefix}/trouble.slow.5000" if prefix else "trouble.slow.5000"
    short = client.with_options(timeout=0.3)
    raises(lambda: short.messages.create(model=model, max_tokens=9, messages=[USER]), "APITimeoutError")


run([answer, stream, raw_stream, tools_loop, thinking_loop, signed, one_call, structured, cached, count_tokens, models, errors, times_out])
