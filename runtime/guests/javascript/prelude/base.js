// The first part: what the other parts hang themselves on, and error stacks without the kernel's own frames.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { defineProperty, getOwnPropertyDescriptor } = Object;

  // Globals of a platform are writable, configurable and not enumerable.
  K.expose = (values, target = globalThis) => {
    for (const name of Reflect.ownKeys(values)) {
      defineProperty(target, name, { value: values[name], writable: true, configurable: true, enumerable: false });
    }
  };
  K.lazy = (name, make, target = globalThis) => {
    defineProperty(target, name, {
      configurable: true,
      enumerable: false,
      get() {
        const value = make();
        K.expose({ [name]: value }, target);
        return value;
      },
      set(value) {
        K.expose({ [name]: value }, target);
      },
    });
  };

  // What a class shows itself as, and methods that `for in` and inspect skip.
  K.tag = (constructor, name = constructor.name) =>
    defineProperty(constructor.prototype, Symbol.toStringTag, { value: name, configurable: true });

  const native = getOwnPropertyDescriptor(Error.prototype, "stack");
  const call = Function.prototype.call.bind(Function.prototype.call);
  const split = String.prototype.split;
  const includes = String.prototype.includes;

  const isText = (value) => typeof value === "string";

  // The frames of user code as "f (main.js:1:2)" or "main.js:1:2"; `undefined` for what is no error.
  K.frames = (error) => {
    const raw = call(native.get, error);
    if (!isText(raw)) return undefined;
    const lines = call(split, raw, "\n");
    const kept = [];
    for (let i = 0; i < lines.length; i++) {
      const line = lines[i];
      if (!line || call(includes, line, "(native)") || call(includes, line, "<kernel>")) continue;
      const match = /^ +at <(?:eval|anonymous)> \((.*)\)$/.exec(line);
      kept[kept.length] = match ? match[1] : line.slice(7);
    }
    return kept;
  };

  const header = (error) => {
    let { name, message } = error;
    name = name === undefined ? "Error" : String(name);
    message = message === undefined ? "" : String(message);
    return name && message ? `${name}: ${message}` : name || message;
  };

  defineProperty(Error.prototype, "stack", {
    configurable: true,
    enumerable: false,
    set: native.set,
    get() {
      const frames = this === Error.prototype ? undefined : K.frames(this);
      if (frames === undefined) return undefined;
      let text = header(this);
      for (let i = 0; i < frames.length; i++) text += `\n    at ${frames[i]}`;
      return text;
    },
  });

  const capture = Error.captureStackTrace;
  K.expose({
    // The engine leaves the bare frames; code expects the header above them.
    captureStackTrace(target, skip) {
      const holder = { name: target.name, message: target.message };
      capture(holder, skip ?? K.expose);
      let text = header(target);
      for (const line of holder.stack.split("\n")) {
        if (line && !line.includes("<kernel>") && !line.includes("(native)")) text += `\n${line}`;
      }
      defineProperty(target, "stack", { value: text, writable: true, configurable: true, enumerable: false });
    },
  }, Error);

  // An Error with Node's `code`, without frames of ours.
  K.coded = (Class, code, message) => {
    const error = new Class(message);
    error.code = code;
    return error;
  };
  K.noNetwork = (what) => {
    const error = new TypeError(`${what} failed: there is no network in this sandbox`);
    error.cause = K.coded(Error, "ENETUNREACH", "no network in this sandbox");
    return error;
  };
})();
