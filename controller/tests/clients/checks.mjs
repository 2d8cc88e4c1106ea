// What the JavaScript scripts share: settings from the environment, and a runner of checks.

import assert from 'node:assert/strict';

export const { BASE, KEY, MODEL } = process.env;
const ERRORS = JSON.parse(process.env.ERRORS ?? '{}');
const SKIP = new Set((process.env.SKIP ?? '').split(','));
// The most milliseconds that an error may take.
const MAX_ERROR_MS = 10_000;
export const CITY = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
export const TEXT = 'Hello ö there.';

export async function run(checks) {
  let failed = 0;
  for (const check of checks) {
    if (SKIP.has(check.name)) {
      console.log(`skip ${check.name}`);
      continue;
    }
    try {
      await check();
      console.log(`ok ${check.name}`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED ${check.name}\n${error.stack}`);
    }
  }
  process.exit(failed ? 1 : 0);
}

export function named(name) {
  const prefix = MODEL.includes('/') ? MODEL.slice(0, MODEL.lastIndexOf('/') + 1) : '';
  return prefix + name;
}

// Calls it, and checks the class of the error, its parents among them, and its time.
export async function raises(call, names) {
  const started = Date.now();
  try {
    await call();
  } catch (error) {
    const classes = [];
    for (let one = error; one; one = Object.getPrototypeOf(one)) classes.push(one.constructor.name);
    assert(names.split('|').some((name) => classes.includes(name)), `${classes[0]}, not ${names}: ${error}`);
    assert(Date.now() - started < MAX_ERROR_MS, 'it took too long');
    assert(!String(error).includes(KEY), 'the key is in the error');
    return error;
  }
  throw new Error(`no error, but ${names} was expected`);
}

export async function all(stream) {
  const events = [];
  for await (const event of stream) events.push(event);
  return events;
}

// Each error of the settings, without and with a stream. `call` gets the model and whether it streams.
export async function eachError(call) {
  for (const [model, wanted] of Object.entries(ERRORS)) {
    for (const stream of [false, true]) {
      await raises(async () => {
        const done = await call(model, stream);
        return stream ? all(done) : done;
      }, wanted);
    }
  }
}
