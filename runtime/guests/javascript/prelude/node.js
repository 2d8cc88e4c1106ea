// The small modules of Node: util, os, perf_hooks, readline, querystring, string_decoder, and the table of all names.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { kind } = K.native;

  const promisifyCustom = Symbol.for("nodejs.util.promisify.custom");
  const is = (...names) => (value) => names.includes(kind(value));
  const types = {
    isPromise: is("Promise"), isMap: is("Map"), isSet: is("Set"), isRegExp: is("RegExp"), isDate: is("Date"), isNativeError: is("Error"),
    isWeakMap: is("WeakMap"), isWeakSet: is("WeakSet"), isArrayBuffer: is("ArrayBuffer"), isAnyArrayBuffer: is("ArrayBuffer", "SharedArrayBuffer"),
    isDataView: is("DataView"), isTypedArray: (value) => ArrayBuffer.isView(value) && kind(value) !== "DataView", isUint8Array: is("Uint8Array"),
    isAsyncFunction: is("AsyncFunction", "AsyncGeneratorFunction"), isGeneratorFunction: is("GeneratorFunction", "AsyncGeneratorFunction"),
    isGeneratorObject: is("Generator"), isProxy: (value) => K.native.proxy(value) !== undefined,
    isBoxedPrimitive: is("Number", "String", "Boolean", "Symbol", "BigInt"),
  };
  const styles = { reset: [0, 0], bold: [1, 22], dim: [2, 22], italic: [3, 23], underline: [4, 24], inverse: [7, 27], strikethrough: [9, 29], black: [30, 39],
    red: [31, 39], green: [32, 39], yellow: [33, 39], blue: [34, 39], magenta: [35, 39], cyan: [36, 39], white: [37, 39], gray: [90, 39], grey: [90, 39] };
  K.inspect.colors = styles;

  const util = {
    inspect: K.inspect, format: K.format, formatWithOptions: (options, ...args) => K.format(...args), types,
    isDeepStrictEqual: (a, b) => K.deepEqual(a, b, true),
    promisify(f) {
      if (typeof f !== "function") throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "original" argument must be of type function. Received ${K.inspect(f)}`);
      if (f[promisifyCustom]) return f[promisifyCustom];
      return Object.defineProperty(function (...args) {
        return new Promise((resolve, reject) => f.call(this, ...args, (error, value) => error ? reject(error) : resolve(value)));
      }, "name", { value: f.name });
    },
    callbackify: (f) => function (...args) {
      const done = args.pop();
      f.apply(this, args).then((value) => K.nextTick(done, null, value), (error) => K.nextTick(done, error));
    },
    inherits(Class, parent) {
      Class.super_ = parent;
      Object.setPrototypeOf(Class.prototype, parent.prototype);
    },
    deprecate: (f) => f, debuglog: () => Object.assign(() => {}, { enabled: false }), toUSVString: (text) => String(text).toWellFormed(),
    stripVTControlCharacters: (text) => String(text).replace(/\x1b\[[0-9;?]*[ -/]*[@-~]/g, ""),
    styleText: (format, text) => [].concat(format).reduceRight((s, name) => `\x1b[${styles[name][0]}m${s}\x1b[${styles[name][1]}m`, text),
    parseArgs({ args = process.argv.slice(2), options = {}, allowPositionals = false, strict = true } = {}) {
      const values = { __proto__: null };
      const positionals = [];
      for (const [name, option] of Object.entries(options)) if (option.default !== undefined) values[name] = option.default;
      for (let i = 0; i < args.length; i++) {
        const match = /^--([^=]+)(?:=(.*))?$/s.exec(args[i]) ?? /^-(\w)(.*)$/s.exec(args[i]);
        if (!match || args[i] === "--") {
          if (strict && !allowPositionals) throw K.coded(TypeError, "ERR_PARSE_ARGS_UNEXPECTED_POSITIONAL", `Unexpected argument '${args[i]}'. This command does not take positional arguments`);
          if (args[i] !== "--") positionals.push(args[i]);
          continue;
        }
        const name = args[i].startsWith("--") ? match[1] : Object.keys(options).find((key) => options[key].short === match[1]) ?? match[1];
        const option = options[name];
        if (!option && strict) throw K.coded(TypeError, "ERR_PARSE_ARGS_UNKNOWN_OPTION", `Unknown option '${args[i]}'`);
        const value = option?.type === "string" ? match[2] || args[++i] : match[2] || true;
        if (option?.multiple) (values[name] = Array.isArray(values[name]) ? values[name] : []).push(value);
        else values[name] = value;
      }
      return { values, positionals };
    },
    TextEncoder, TextDecoder, isArray: Array.isArray,
    MIMEType: undefined, aborted: (signal) => new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true })),
  };
  util.promisify.custom = promisifyCustom;
  util.inspect.styles = {};

  const os = {
    EOL: "\n", platform: () => "wasi", type: () => "WASI", arch: () => "wasm32", release: () => "0.1.0", version: () => "Cofferdam", hostname: () => "sandbox",
    homedir: () => "/home/user", tmpdir: () => "/tmp", endianness: () => "LE", cpus: () => [], availableParallelism: () => 1, loadavg: () => [0, 0, 0],
    totalmem: () => K.native.memory()[1], freemem: () => 0, uptime: () => process.uptime(), networkInterfaces: () => ({}), machine: () => "wasm32",
    userInfo: () => ({ username: "user", uid: 1000, gid: 1000, shell: null, homedir: "/home/user" }), devNull: "/dev/null", constants: { signals: {}, errno: {} },
  };

  const marks = new Map();
  const measures = [];
  const entry = (name, entryType, startTime, duration, detail = null) => {
    const made = { name, entryType, startTime, duration, detail };
    measures.push(made);
    return made;
  };
  K.expose({
    mark(name, options) {
      const at = options?.startTime ?? performance.now();
      marks.set(name, at);
      return entry(name, "mark", at, 0, options?.detail);
    },
    measure(name, from, to) {
      const start = typeof from === "object" && from ? from.start : from;
      const end = typeof from === "object" && from ? from.end : to;
      const at = (mark, otherwise) => mark === undefined ? otherwise : typeof mark === "number" ? mark : marks.get(mark) ?? (() => {
        throw new DOMException(`The "${mark}" performance mark has not been set`, "SyntaxError");
      })();
      const begin = at(start, 0);
      return entry(name, "measure", begin, at(end, performance.now()) - begin);
    },
    clearMarks: () => marks.clear(), clearMeasures() {}, getEntries: () => [...measures],
    getEntriesByName: (name) => measures.filter((item) => item.name === name), getEntriesByType: (type) => measures.filter((item) => item.entryType === type),
    timerify: (f) => f, toJSON: () => ({ timeOrigin: performance.timeOrigin }),
  }, performance);

  class Interface extends K.EventEmitter {
    #lines;
    #waiting = [];
    #started = false;
    #closed = false;
    #input;
    #output;
    constructor(options) {
      super();
      this.#input = options.input ?? options;
      this.#output = options.output;
      this.#prompt = options.prompt ?? "> ";
    }
    #prompt;
    async #load() {
      if (this.#lines) return;
      let text = "";
      for await (const chunk of this.#input) text += chunk;
      this.#lines = text === "" ? [] : text.replace(/\r?\n$/, "").split(/\r?\n/);
    }
    on(name, listener) {
      super.on(name, listener);
      if ((name === "line" || name === "close") && !this.#started) {
        this.#started = true;
        setImmediate(async () => {
          await this.#load();
          while (!this.#closed && this.#lines.length) {
            const line = this.#lines.shift();
            if (this.#waiting.length) this.#waiting.shift()(line);
            else this.emit("line", line);
            await null;
          }
          this.close();
        });
      }
      return this;
    }
    question(text, ...rest) {
      const done = rest.at(-1);
      this.#output?.write(text);
      this.#load().then(() => {
        if (this.#lines.length) done(this.#lines.shift());
        else this.close();
      });
    }
    setPrompt(text) {
      this.#prompt = text;
    }
    prompt() {
      this.#output?.write(this.#prompt);
      if (this.listenerCount("line")) return;
    }
    write() {}
    pause() {
      return this;
    }
    resume() {
      return this;
    }
    close() {
      if (this.#closed) return;
      this.#closed = true;
      this.emit("close");
    }
    async *[Symbol.asyncIterator]() {
      await this.#load();
      while (this.#lines.length) yield this.#lines.shift();
      this.close();
    }
  }
  const createInterface = (options) => new Interface(options);
  const asked = (options) => {
    const made = new Interface(options);
    const question = made.question.bind(made);
    made.question = (text) => new Promise((resolve) => question(text, resolve));
    return made;
  };

  const querystring = {
    parse(text) {
      const out = { __proto__: null };
      for (const [name, value] of new URLSearchParams(text)) out[name] = name in out ? [].concat(out[name], value) : value;
      return out;
    },
    stringify: (object) => Object.entries(object ?? {}).flatMap(([name, value]) => [].concat(value).map((v) => `${encodeURIComponent(name)}=${encodeURIComponent(v)}`)).join("&"),
    escape: encodeURIComponent, unescape: decodeURIComponent,
  };
  class StringDecoder {
    #decoder;
    constructor(encoding = "utf8") {
      this.encoding = encoding;
      this.#decoder = /^utf-?(?:8|16le)$|^ucs-?2$|^latin1$/i.test(encoding) ? new TextDecoder(encoding) : undefined;
    }
    write(bytes) {
      return this.#decoder ? this.#decoder.decode(bytes, { stream: true }) : K.Buffer.from(bytes).toString(this.encoding);
    }
    end(bytes) {
      return (bytes ? this.write(bytes) : "") + (this.#decoder?.decode() ?? "");
    }
  }

  const absent = (name, names) => {
    const refuse = (what) => () => {
      throw K.noNetwork(`${name}.${what}`);
    };
    return Object.fromEntries(names.map((what) => [what, refuse(what)]));
  };
  const noProcess = () => {
    throw K.coded(Error, "EPERM", "child_process: no other program can be started in this sandbox");
  };

  const { fs, path } = K;
  const url = { URL, URLSearchParams, fileURLToPath: K.fileURLToPath, pathToFileURL: (p) => new URL(`file://${encodeURI(path.resolve(p))}`),
    parse: (text) => {
      const u = URL.parse(text);
      return u ? { protocol: u.protocol, host: u.host, hostname: u.hostname, port: u.port || null, pathname: u.pathname, search: u.search || null, query: u.search.slice(1) || null, hash: u.hash || null, href: u.href } : { pathname: text, href: text };
    }, format: (u) => typeof u === "string" ? u : u.href ?? `${u.protocol ?? ""}//${u.host ?? u.hostname ?? ""}${u.pathname ?? ""}${u.search ?? ""}`,
    resolve: (from, to) => new URL(to, new URL(from, "resolve://")).href.replace(/^resolve:\/\//, "") };
  const events = K.EventEmitter;
  const builtins = {
    fs, "fs/promises": fs.promises, path, "path/posix": path, process, util, "util/types": types, url, events, os, crypto: K.crypto, assert: K.assert,
    "assert/strict": K.assert?.strict, querystring, string_decoder: { StringDecoder }, console,
    buffer: { Buffer: K.Buffer, Blob, File, atob, btoa, kMaxLength: 2 ** 31 - 1, constants: { MAX_LENGTH: 2 ** 31 - 1 } },
    timers: { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate, promises: K.timersPromises },
    "timers/promises": K.timersPromises, perf_hooks: { performance, PerformanceObserver: class { observe() {} disconnect() {} }, monitorEventLoopDelay: () => ({ enable() {}, disable() {} }) },
    readline: { createInterface, Interface, promises: { createInterface: asked }, clearLine: () => true, cursorTo: () => true }, "readline/promises": { createInterface: asked },
    http: absent("http", ["get", "request", "createServer"]), https: absent("https", ["get", "request", "createServer"]), net: absent("net", ["connect", "createConnection", "createServer", "Socket"]),
    dns: absent("dns", ["lookup", "resolve"]), tls: absent("tls", ["connect"]), dgram: absent("dgram", ["createSocket"]), http2: absent("http2", ["connect", "createServer"]),
    child_process: Object.fromEntries(["exec", "execSync", "execFile", "execFileSync", "spawn", "spawnSync", "fork"].map((name) => [name, noProcess])),
    worker_threads: { isMainThread: true, parentPort: null, workerData: null, threadId: 0, Worker: class {
      constructor() {
        throw K.coded(Error, "ENOSYS", "worker_threads: there are no threads in this sandbox");
      }
    } },
    async_hooks: { AsyncLocalStorage: K.AsyncLocalStorage }, tty: { isatty: () => false }, constants: fs.constants, diagnostics_channel: {}, v8: { getHeapStatistics: () => ({ used_heap_size: K.native.memory()[0], total_heap_size: K.native.memory()[1] }) },
  };
  K.builtins = Object.assign(Object.create(null), builtins);
})();
