// node:assert and the deep equality behind it.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { kind } = K.native;

  const equal = (a, b, strict, seen) => {
    if (strict ? Object.is(a, b) : a == b || Number.isNaN(a) && Number.isNaN(b)) return true;
    if (typeof a !== "object" || typeof b !== "object" || a === null || b === null) return false;
    if (kind(a) !== kind(b) || strict && Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
    if (seen.some(([x, y]) => x === a && y === b)) return true;
    const next = [...seen, [a, b]];
    const same = (x, y) => equal(x, y, strict, next);
    switch (kind(a)) {
      case "Date": if (a.getTime() !== b.getTime()) return false; break;
      case "RegExp": if (String(a) !== String(b)) return false; break;
      case "Error": if (a.message !== b.message || a.name !== b.name) return false; break;
      case "Number": case "String": case "Boolean": if (!Object.is(a.valueOf(), b.valueOf())) return false; break;
      case "Set":
        if (a.size !== b.size) return false;
        for (const item of a) if (!b.has(item) && ![...b].some((other) => same(item, other))) return false;
        break;
      case "Map":
        if (a.size !== b.size) return false;
        for (const [key, value] of a) {
          const found = b.has(key) ? [key, b.get(key)] : [...b].find(([other]) => same(key, other));
          if (!found || !same(value, found[1])) return false;
        }
        break;
      case "ArrayBuffer": return same(new Uint8Array(a), new Uint8Array(b));
    }
    const keys = Object.keys(a);
    if (keys.length !== Object.keys(b).length || Array.isArray(a) && a.length !== b.length) return false;
    return keys.every((key) => Object.hasOwn(b, key) && same(a[key], b[key]));
  };
  K.deepEqual = (a, b, strict) => equal(a, b, strict, []);

  class AssertionError extends Error {
    constructor({ message, actual, expected, operator }) {
      super(message ?? `${K.inspect(actual)} ${operator} ${K.inspect(expected)}`);
      this.generatedMessage = message === undefined;
      Object.assign(this, { code: "ERR_ASSERTION", actual, expected, operator });
      this.generatedMessage = message === undefined;
    }
    get name() {
      return "AssertionError";
    }
  }
  const fail = (actual, expected, operator, message, usual) => {
    if (message instanceof Error) throw message;
    const error = new AssertionError({ message: message ?? usual, actual, expected, operator });
    error.generatedMessage = message === undefined;
    throw error;
  };
  const shown = (actual, expected) => `+ actual - expected\n\n+ ${K.inspect(actual).replaceAll("\n", "\n+ ")}\n- ${K.inspect(expected).replaceAll("\n", "\n- ")}`;
  const assert = (value, message) => {
    if (!value) fail(value, true, "==", message, "The expression evaluated to a falsy value");
  };

  const matches = (error, expected) => {
    if (expected === undefined) return true;
    if (expected instanceof RegExp) return expected.test(String(error));
    if (typeof expected === "function") {
      if (expected.prototype !== undefined && error instanceof expected) return true;
      return !(expected === Error || Error.isPrototypeOf(expected)) && expected.call({}, error) === true;
    }
    return Object.keys(expected).every((key) => expected[key] instanceof RegExp && typeof error[key] === "string"
      ? expected[key].test(error[key]) : K.deepEqual(error[key], expected[key], true));
  };
  const unless = (error, expected, message) => {
    if (matches(error, expected)) return;
    if (expected instanceof RegExp) fail(error, expected, "throws", message, `The input did not match the regular expression ${K.inspect(expected)}. Input:\n\n${K.inspect(String(error))}\n`);
    if (typeof expected === "function" && Error.isPrototypeOf(expected)) {
      fail(error, expected, "throws", message, `The error is expected to be an instance of "${expected.name}". Received "${error?.constructor?.name}"\n\nError message:\n\n${error?.message}`);
    }
    throw error;
  };
  const split = (expected, message) => typeof expected === "string" ? [undefined, expected] : [expected, message];

  Object.assign(assert, {
    AssertionError, ok: assert,
    fail: (message = "Failed") => fail(undefined, undefined, "fail", message),
    equal: (a, b, message) => a == b || Number.isNaN(a) && Number.isNaN(b) || fail(a, b, "==", message, `${K.inspect(a)} == ${K.inspect(b)}`),
    notEqual: (a, b, message) => a != b || fail(a, b, "!=", message, `${K.inspect(a)} != ${K.inspect(b)}`),
    strictEqual: (a, b, message) => Object.is(a, b) || fail(a, b, "strictEqual", message, `Expected values to be strictly equal:\n${
      typeof a === "object" || typeof b === "object" ? shown(a, b) : `\n${K.inspect(a)} !== ${K.inspect(b)}\n`}`),
    notStrictEqual: (a, b, message) => !Object.is(a, b) || fail(a, b, "notStrictEqual", message, `Expected "actual" to be strictly unequal to: ${K.inspect(b)}`),
    deepEqual: (a, b, message) => K.deepEqual(a, b, false) || fail(a, b, "deepEqual", message, `Expected values to be loosely deep-equal:\n\n${K.inspect(a)}\n\nshould loosely deep-equal\n\n${K.inspect(b)}`),
    deepStrictEqual: (a, b, message) => K.deepEqual(a, b, true) || fail(a, b, "deepStrictEqual", message, `Expected values to be strictly deep-equal:\n${shown(a, b)}`),
    notDeepEqual: (a, b, message) => !K.deepEqual(a, b, false) || fail(a, b, "notDeepEqual", message),
    notDeepStrictEqual: (a, b, message) => !K.deepEqual(a, b, true) || fail(a, b, "notDeepStrictEqual", message),
    match: (text, pattern, message) => pattern.test(text) || fail(text, pattern, "match", message, `The input did not match the regular expression ${K.inspect(pattern)}. Input:\n\n${K.inspect(text)}\n`),
    doesNotMatch: (text, pattern, message) => !pattern.test(text) || fail(text, pattern, "doesNotMatch", message),
    ifError(value) {
      if (value !== null && value !== undefined) throw value;
    },
    throws(f, expected, message) {
      [expected, message] = split(expected, message);
      try {
        f();
      } catch (error) {
        return unless(error, expected, message);
      }
      fail(undefined, expected, "throws", message, "Missing expected exception.");
    },
    doesNotThrow(f, expected, message) {
      try {
        f();
      } catch (error) {
        fail(error, expected, "doesNotThrow", message, `Got unwanted exception.\nActual message: "${error?.message}"`);
      }
    },
    async rejects(promise, expected, message) {
      [expected, message] = split(expected, message);
      try {
        await (typeof promise === "function" ? promise() : promise);
      } catch (error) {
        return unless(error, expected, message);
      }
      fail(undefined, expected, "rejects", message, "Missing expected rejection.");
    },
    async doesNotReject(promise) {
      try {
        await (typeof promise === "function" ? promise() : promise);
      } catch (error) {
        fail(error, undefined, "doesNotReject", undefined, `Got unwanted rejection.\nActual message: "${error?.message}"`);
      }
    },
  });
  assert.strict = Object.assign((value, message) => assert(value, message), assert, { equal: assert.strictEqual, notEqual: assert.notStrictEqual,
    deepEqual: assert.deepStrictEqual, notDeepEqual: assert.notDeepStrictEqual });
  assert.strict.strict = assert.strict;
  K.assert = assert;

  // Context that follows plain calls only: QuickJS has no hook on await.
  K.AsyncLocalStorage = class AsyncLocalStorage {
    #store;
    run(store, f, ...args) {
      const before = this.#store;
      this.#store = store;
      try {
        return f(...args);
      } finally {
        this.#store = before;
      }
    }
    exit(f, ...args) {
      return this.run(undefined, f, ...args);
    }
    getStore() {
      return this.#store;
    }
    enterWith(store) {
      this.#store = store;
    }
    disable() {
      this.#store = undefined;
    }
  };
})();
