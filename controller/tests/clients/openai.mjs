// The official OpenAI client for JavaScript: chat completions, responses, embeddings, models.

import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { BASE, CITY, KEY, MODEL, TEXT, all, eachError, named, raises, run } from './checks.mjs';

const client = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const user = { role: 'user', content: 'What is the weather?' };
const tools = ['look', 'now'].map((name) => ({ type: 'function', function: { name, parameters: CITY } }));
const flat = ['look', 'now'].map((name) => ({ type: 'function', name, parameters: CITY, strict: true }));
const format = { type: 'object', properties: { city: { type: 'string' }, degrees: { type: 'integer' } }, required: ['city', 'degrees'], additionalProperties: false };

async function answer() {
  const done = await client.chat.completions.create({ model: MODEL, messages: [user] });
  assert.equal(done.choices[0].message.content, TEXT);
  assert.deepEqual([done.usage.prompt_tokens, done.usage.completion_tokens, done.usage.prompt_tokens_details.cached_tokens], [100, 12, 40]);
}

async function stream() {
  const chunks = await all(await client.chat.completions.create({ model: MODEL, messages: [user], stream: true, stream_options: { include_usage: true } }));
  assert.equal(chunks.map((chunk) => chunk.choices[0]?.delta?.content ?? '').join(''), TEXT);
  assert.equal(chunks.at(-1).usage.completion_tokens, 12);
}

const results = (calls) => calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: `${call.function.name} ${call.function.arguments}` }));

async function toolsLoop() {
  for (const call of [
    async (messages) => (await client.chat.completions.create({ model: MODEL, messages, tools, reasoning_effort: 'low' })).choices[0].message,
    (messages) => client.chat.completions.stream({ model: MODEL, messages, tools }).finalMessage(),
  ]) {
    const first = await call([user]);
    assert.deepEqual(first.tool_calls.map((one) => [one.function.name, JSON.parse(one.function.arguments)]), [['look', { city: 'Paris' }], ['now', { city: 'Paris' }]]);
    const last = await call([user, first, ...results(first.tool_calls)]);
    assert.match(last.content, /^The tools said: look \{.*\}, now \{.*\}\.$/);
  }
}

async function structured() {
  const done = await client.chat.completions.parse({ model: MODEL, messages: [user], response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: format } } });
  assert.deepEqual(JSON.parse(done.choices[0].message.content), { city: 'Paris', degrees: 7 });
}

async function responses() {
  const done = await client.responses.create({ model: MODEL, input: 'Hello', store: false });
  assert.equal(done.output_text, TEXT);
  assert.deepEqual([done.usage.input_tokens, done.usage.output_tokens], [100, 12]);
  const parsed = await client.responses.parse({ model: MODEL, input: 'Hello', store: false, text: { format: { type: 'json_schema', name: 'place', strict: true, schema: format } } });
  assert.deepEqual(parsed.output_parsed ?? JSON.parse(parsed.output_text), { city: 'Paris', degrees: 7 });
}

async function responsesLoop() {
  const common = { model: MODEL, tools: flat, store: false, include: ['reasoning.encrypted_content'], reasoning: { effort: 'low', summary: 'auto' } };
  for (const call of [(input) => client.responses.create({ ...common, input }), (input) => client.responses.stream({ ...common, input }).finalResponse()]) {
    const first = await call([user]);
    const calls = first.output.filter((item) => item.type === 'function_call');
    assert.deepEqual(calls.map((one) => one.name), ['look', 'now']);
    assert(first.output.find((item) => item.type === 'reasoning').encrypted_content);
    const outputs = calls.map((one) => ({ type: 'function_call_output', call_id: one.call_id, output: `${one.name} ${one.arguments}` }));
    // The client adds `parsed_arguments` to calls of its streams, and refuses them in a request's type only.
    const last = await call([user, ...first.output, ...outputs]);
    const text = last.output.filter((item) => item.type === 'message').flatMap((item) => item.content).map((part) => part.text).join('');
    assert.match(text, /^The tools said: look \{/);
  }
}

async function embeddings() {
  const done = await client.embeddings.create({ model: MODEL, input: ['one', 'two'] });
  assert.deepEqual(done.data.map((one) => one.embedding.length), [8, 8]);
}

async function models() {
  const known = await all(client.models.list());
  assert(known.length > 0);
  assert.equal((await client.models.retrieve(known[0].id)).id, known[0].id);
}

async function errors() {
  await eachError((model, stream) => client.chat.completions.create({ model, messages: [user], stream }));
  await eachError((model, stream) => client.responses.create({ model, input: 'Hello', stream, store: false }));
  const wrong = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: 'sk-refused-0000000000000000', maxRetries: 0 });
  await raises(() => wrong.chat.completions.create({ model: MODEL, messages: [user] }), 'AuthenticationError');
  const short = new OpenAI({ baseURL: `${BASE}/v1`, apiKey: KEY, maxRetries: 0, timeout: 300 });
  await raises(() => short.chat.completions.create({ model: named('trouble.slow.5000'), messages: [user] }), 'APIConnectionTimeoutError');
}

await run([answer, stream, toolsLoop, structured, responses, responsesLoop, embeddings, models, errors]);
