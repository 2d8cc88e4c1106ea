"""The official OpenAI client: responses. Every answer and event is validated by `openresponses-types` as well."""

import openai
import openresponses_types as types
from pydantic import BaseModel, TypeAdapter

from checks import BASE, CITY, ERRORS, KEY, MODEL, TEXT, raises, run, same

client = openai.OpenAI(base_url=BASE + "/v1", api_key=KEY, max_retries=0, timeout=30)
TOOLS = [{"type": "function", "name": name, "description": name, "parameters": CITY, "strict": True} for name in ("look", "now")]
COMMON = {"store": False, "include": ["reasoning.encrypted_content"]}
# Event's type = its class.
EVENTS = {}
for _name in dir(types):
    if _name.endswith("StreamingEvent"):
        _class = getattr(types, _name)
        for _member in TypeAdapter(_class).json_schema()["$defs"].values():
            for _value in _member.get("enum", [_member.get("const")]):
                if isinstance(_value, str) and (_value.startswith("response.") or _value == "error"):
                    EVENTS.setdefault(_value, _class)


class Place(BaseModel):
    city: str
    degrees: int


def valid(response):
    """The package's class of a format with a schema allows no schema but null."""
    data = response if isinstance(response, dict) else response.to_dict()
    data = {**data, "text": {**data["text"], "format": {"type": "text"}}}
    types.ResponseResource.model_validate(data)


def usage_is(usage, output=12):
    same((usage.input_tokens, usage.output_tokens, usage.total_tokens), (100, output, 100 + output))
    same(usage.input_tokens_details.cached_tokens, 40)


def create(**settings):
    """The answer as the client reads it, validated as it came."""
    raw = client.responses.with_raw_response.create(model=MODEL, **COMMON, **settings)
    valid(raw.http_response.json())
    return raw.parse()


def answer():
    done = create(input="Hello", instructions="Be short.")
    same((done.output_text, done.status, done.error), (TEXT, "completed", None))
    usage_is(done.usage)


def stream():
    text, names, numbers, last = "", [], [], None
    for event in client.responses.create(model=MODEL, input="Hello", stream=True, **COMMON):
        names.append(event.type)
        numbers.append(event.sequence_number)
        data = event.to_dict()
        if "response" in data:
            valid(data["response"])
        else:
            EVENTS[event.type].model_validate(data)
        if event.type == "response.output_text.delta":
            text += event.delta
        last = event
    same((text, numbers), (TEXT, list(range(len(numbers)))))
    same((names[0], names[1], names[-1]), ("response.created", "response.in_progress", "response.completed"))
    same(last.response.output_text, TEXT)
    usage_is(last.response.usage)


def results(response):
    calls = [item for item in response.output if item.type == "function_call"]
    same([(call.name, call.arguments.replace(" ", "")) for call in calls], [(name, '{"city":"Paris"}') for name in ("look", "now")])
    return [{"type": "function_call_output", "call_id": call.call_id, "output": f"{call.name} {call.arguments}"} for call in calls]


def tools_loop():
    items = [{"role": "user", "content": "What is the weather?"}]
    for reasoning in (None, {"effort": "low", "summary": "auto"}):
        more = {"reasoning": reasoning} if reasoning else {}
        first = create(input=items, tools=TOOLS, **more)
        if reasoning:
            proofs = [item.encrypted_content for item in first.output if item.type == "reasoning"]
            assert len(proofs) == 1 and proofs[0], "no proof of the thinking"
        history = [*items, *first.output, *results(first)]
        last = create(input=history, tools=TOOLS, **more)
        assert last.output_text.startswith("The tools said: look {"), last.output_text


def tools_loop_stream():
    items = [{"role": "user", "content": "What is the weather?"}]
    more = {"reasoning": {"effort": "low", "summary": "auto"}}
    with client.responses.stream(model=MODEL, input=items, tools=TOOLS, **COMMON, **more) as events:
        for event in events:
            if event.type in EVENTS and "response" not in (data := event.to_dict()):
                # The client adds these itself.
                data.pop("snapshot", None), data.pop("parsed_arguments", None), data.pop("parsed", None)
                EVENTS[event.type].model_validate(data)
        first = events.get_final_response()
    thinking = [item for item in first.output if item.type == "reasoning"]
    same([item.summary[0].text for item in thinking], ["The question is short."])
    history = [*items, *first.output, *results(first)]
    with client.responses.stream(model=MODEL, input=history, tools=TOOLS, **COMMON, **more) as events:
        last = events.get_final_response()
    assert last.output_text.startswith("The tools said: look {"), last.output_text


def structured():
    done = client.responses.parse(model=MODEL, input="Hello", text_format=Place, **COMMON)
    same(done.output_parsed, Place(city="Paris", degrees=7))


def errors():
    for model, wanted in ERRORS.items():
        for stream in (False, True):
            def call():
                done = client.responses.create(model=model, input="Hello", stream=stream, **COMMON)
                return list(done) if stream else done
            error = raises(call, wanted)
            assert KEY not in str(error), "the key is in the error"
    wrong = client.with_options(api_key="sk-refused-0000000000000000")
    raises(lambda: wrong.responses.create(model=MODEL, input="Hello"), "AuthenticationError")


run([answer, stream, tools_loop, tools_loop_stream, structured, errors])
