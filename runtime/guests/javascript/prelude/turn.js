// The last part: a turn, from the spec to the status. What it uses at every turn is captured here, out of reach of what user
// code does to the globals; afterwards only `turn` is left of the kernel's own objects.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { door, run, birth, collect, promise, kind, starved } = K.native;
  const { parse, stringify } = JSON;
  const { isArray } = Array;
  const { getPrototypeOf } = Object;
  const objectPrototype = Object.prototype;
  const finite = Number.isFinite;
  const includes = Function.prototype.call.bind(String.prototype.includes);
  const MOST_JSON = 256 << 10;
  const MOST_VALUES = 20_000;

  const send = (request) => door(stringify(request));

  // Plain JSON data is sent as data too, where it is not large: `undefined` for what is not.
  const plain = (value) => {
    let left = MOST_VALUES;
    const seen = [];
    const check = (v) => {
      if (--left < 0) return false;
      switch (typeof v) {
        case "string": return (left -= v.length / 64) > 0;
        case "number": return finite(v);
        case "boolean": return true;
        case "object": break;
        default: return false;
      }
      if (v === null) return true;
      if (seen.length > 64 || K.native.proxy(v) !== undefined) return false;
      const list = isArray(v);
      const prototype = getPrototypeOf(v);
      if (!list && prototype !== objectPrototype && prototype !== null) return false;
      if (!list && kind(v) !== "Object" || typeof v.toJSON === "function" || seen.includes(v)) return false;
      seen[seen.length] = v;
      const good = list ? v.every(check) && Object.keys(v).length === v.length
        : Object.entries(v).every(([, item]) => check(item));
      seen.length--;
      return good;
    };
    if (!check(value)) return undefined;
    const text = stringify(value);
    return text !== undefined && text.length <= MOST_JSON ? value : undefined;
  };

  const mimes = { html: "text/html", svg: "image/svg+xml", markdown: "text/markdown", latex: "text/latex", text: "text/plain",
    json: "application/json", png: "image/png", jpeg: "image/jpeg", gif: "image/gif" };
  const base64 = (value) => typeof value === "string" ? value.replace(/^data:[^,]*,/, "")
    : new Uint8Array(value.buffer ?? value, value.byteOffset ?? 0, value.byteLength).toBase64();
  const entry = (mime, value) => /^image\/(?!svg)/.test(mime) ? base64(value) : mime === "application/json" ? value : String(value);

  const bundle = (value) => {
    if (typeof value === "object" && value !== null) {
      const own = value[Symbol.for("Jupyter.display")] ?? value.toMimeBundle;
      if (typeof own === "function") {
        const data = { __proto__: null };
        for (const [mime, item] of Object.entries(own.call(value))) data[mime] = entry(mime, item);
        return data;
      }
    }
    const data = { __proto__: null, "text/plain": K.inspect(value) };
    const json = plain(value);
    if (json !== undefined) data["application/json"] = json;
    return data;
  };

  const show = (data) => {
    send({ __proto__: null, op: "result", main: false, data });
  };
  const display = (...values) => {
    for (const value of values) {
      const keys = typeof value === "object" && value !== null && getPrototypeOf(value) === objectPrototype ? Object.keys(value) : [];
      if (keys.length > 0 && keys.every((key) => Object.hasOwn(mimes, key) || /^\w+\/[\w.+-]+$/.test(key))) {
        const data = { __proto__: null };
        for (const key of keys) data[mimes[key] ?? key] = entry(mimes[key] ?? key, value[key]);
        show(data);
      } else {
        show(bundle(value));
      }
    }
  };
  for (const name of ["html", "svg", "markdown", "latex"]) display[name] = (text) => show({ __proto__: null, [mimes[name]]: String(text) });
  display.json = (value) => show({ __proto__: null, "text/plain": K.inspect(value), "application/json": value });
  display.image = (bytes, mime = "image/png") => show({ __proto__: null, [mime]: entry(mime, bytes) });
  K.expose({ display });

  let script = { name: "", source: "", typed: false };

  const excerpt = (frame) => {
    const match = /(?:^|\()([^()]*):(\d+):(\d+)\)?$/.exec(frame ?? "");
    if (!match) return "";
    const source = match[1] === script.name ? script.source : K.sources.get(match[1]);
    const line = source?.split("\n", Number(match[2]))[Number(match[2]) - 1];
    if (line === undefined || line.length > 300) return "";
    const caret = match[1].endsWith("ts") ? "" : `${line.slice(0, Number(match[3]) - 1).replace(/[^\t]/g, " ")}^\n`;
    return `${match[1]}:${match[2]}\n${line}\n${caret}\n`;
  };

  const report = (error) => {
    let name = "Uncaught";
    let message = "";
    let traceback = "";
    try {
      if (error === null && starved()) {
        // There was not even memory for the error.
        name = "InternalError";
        message = "out of memory";
      } else if (kind(error) === "Error" || error instanceof Error) {
        const constructor = error.constructor?.name;
        name = String(error.name === "Error" && constructor ? constructor : error.name ?? "Error") || "Error";
        message = String(error.message ?? "");
        const frames = typeof error.stack === "string" ? [...error.stack.matchAll(/^ {4}at (.*)$/gm)].map((m) => m[1]) : [];
        traceback = excerpt(frames[0]) + K.inspect(error);
      } else {
        message = K.inspect(error);
        traceback = `Uncaught ${message}`;
      }
    } catch {
      message ||= "an error that cannot be shown";
    }
    send({ __proto__: null, op: "error", name, message, traceback: traceback || `${name}: ${message}` });
  };

  const isModule = (code) => (includes(code, "import") || includes(code, "export")) &&
    /(?:^|[;}\n*/])\s*(?:import\s*["'{*\w$]|export[\s{*])|\bimport\s*\.\s*meta\b/.test(code);

  const compiles = (code, filename) => {
    try {
      run(code, filename, includes(code, "await"), true);
      return true;
    } catch {
      return false;
    }
  };

  // Runs the source to the end of everything it started; the value of its last expression.
  const execute = (spec) => {
    const { filename } = spec;
    let { code } = spec;
    script = { name: filename, source: code };
    if (spec.language === "typescript") code = K.stripTypes(code, filename);
    if (isModule(code) && !compiles(code, filename)) code = K.moduleToScript(code, filename);
    const waits = includes(code, "await");
    let value = run(code, filename, waits);
    if (waits) {
      const outer = value;
      K.loop();
      const [state, result] = promise(outer);
      if (state === 2) throw result;
      if (state === 0) {
        const error = new Error("the top-level await was never resolved: nothing is left that could do it");
        error.name = "UnsettledAwait";
        throw error;
      }
      value = result.value;
    } else {
      K.loop();
    }
    const settled = promise(value);
    return settled?.[0] === 1 ? settled[1] : value;
  };

  const turn = (text) => {
    const spec = parse(text);
    if (spec.birth !== null) birth(spec.birth);
    K.resetLoop();
    K.resetConsole();
    K.beginProcess(spec);
    let value;
    try {
      value = execute(spec);
    } catch (error) {
      report(error);
      return 1;
    }
    try {
      if (value !== undefined && !K.isTimer(value)) send({ __proto__: null, op: "result", main: true, data: bundle(value) });
      return K.endProcess();
    } catch (error) {
      report(error);
      return 1;
    }
  };

  let open = true;
  const kernel = {
    turn,
    // The end of the image: garbage out, so that no run has to look for it.
    seal() {
      if (!open) return;
      open = false;
      collect();
      collect();
    },
  };
  const global = globalThis;
  Object.defineProperty(global, "__cofferdam", { value: Object.freeze(kernel), writable: false, enumerable: false, configurable: false });
})();
