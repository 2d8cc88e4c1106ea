// The official Anthropic client for JavaScript: messages, counts of tokens, models.

import assert from 'node:assert/strict';
import Anthropic from '@anthropic-ai/sdk';
import { BASE, CITY, KEY, MODEL, TEXT, all, eachError, named, raises, run } from './checks.mjs';

const client = new Anthropic({ baseURL: BASE, apiKey: KEY, maxRetries: 0, timeout: 30_000 });
const user = { role: 'user', content: 'What is the weather?' };
const tools = ['look', 'now'].map((name) => ({ name, input_schema: CITY }));

async function answer() {
  const done = await client.messages.create({ model: MODEL, max_tokens: 100, system: 'Be short.', messages: [user] });
  assert.deepEqual([done.content[0].text, done.stop_reason], [TEXT, 'end_turn']);
  assert.deepEqual([done.usage.input_tokens, done.usage.cache_read_input_tokens, done.usage.output_tokens], [60, 40, 12]);
}

async function stream() {
  const done = await client.messages.stream({ model: MODEL, max_tokens: 100, messages: [user] }).finalMessage();
  assert.deepEqual([done.content[0].text, done.stop_reason, done.usage.output_tokens], [TEXT, 'end_turn', 12]);
  const events = await all(await client.messages.create({ model: MODEL, max_tokens: 100, messages: [user], stream: true }));
  assert.deepEqual([events[0].type, events.at(-1).type], ['message_start', 'message_stop']);
}

async function toolsLoop() {
  for (const thinking of [undefined, { type: 'enabled', budget_tokens: 2000 }]) {
    const common = { model: MODEL, max_tokens: 4000, tools, ...(thinking && { thinking }) };
    for (const call of [(messages) => client.messages.create({ ...common, messages }), (messages) => client.messages.stream({ ...common, messages }).finalMessage()]) {
      const first = await call([user]);
      const calls = first.content.filter((block) => block.type === 'tool_use');
      assert.deepEqual(calls.map((one) => [one.name, one.input]), [['look', { city: 'Paris' }], ['now', { city: 'Paris' }]]);
      const results = calls.map((one) => ({ type: 'tool_result', tool_use_id: one.id, content: `${one.name} ${one.input.city}` }));
      const last = await call([user, { role: 'assistant', content: first.content }, { role: 'user', content: results }]);
      assert.equal(last.content.find((block) => block.type === 'text').text, 'The tools said: look Paris, now Paris.');
    }
  }
}

async function countTokens() {
  assert((await client.messages.countTokens({ model: MODEL, messages: [user] })).input_tokens > 0);
}

async function models() {
  const known = await all(client.models.list());
  assert(known.length > 0);
  assert.equal((await client.models.retrieve(known[0].id)).id, known[0].id);
}

async function errors() {
  await eachError((model, stream) => client.messages.create({ model, max_tokens: 100, messages: [user], stream }));
  const wrong = new Anthropic({ baseURL: BASE, apiKey: 'sk-refused-0000000000000000', maxRetries: 0 });
  await raises(() => wrong.messages.create({ model: MODEL, max_tokens: 9, messages: [user] }), 'AuthenticationError');
  const short = new Anthropic({ baseURL: BASE, apiKey: KEY, maxRetries: 0, timeout: 300 });
  await raises(() => short.messages.create({ model: named('trouble.slow.5000'), max_tokens: 9, messages: [user] }), 'APIConnectionTimeoutError');
}

await run([answer, stream, toolsLoop, countTokens, models, errors]);
