// process: arguments, environment, streams, exit. There is one process, and no other can be started.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { print, clock, door, exit, memory, read } = K.native;
  const { stringify } = JSON;
  const { EventEmitter } = K;
  const uptime = performance.now.bind(performance);

  // A view of a list of listeners only: no streams of Node's are behind these.
  const output = (fd) => Object.assign(new EventEmitter(), {
    fd, isTTY: false, columns: 80, writable: true,
    write(chunk, encoding, done) {
      print(fd, typeof chunk === "string" ? chunk : chunk instanceof Uint8Array ? chunk : String(chunk));
      const callback = typeof encoding === "function" ? encoding : done;
      if (callback) K.nextTick(callback);
      return true;
    },
    end(chunk, encoding, done) {
      if (chunk !== undefined && typeof chunk !== "function") this.write(chunk);
      const callback = [chunk, encoding, done].find((item) => typeof item === "function");
      if (callback) K.nextTick(callback);
      return this;
    },
    cork() {},
    uncork() {},
    hasColors: () => false,
    getColorDepth: () => 1,
  });

  const readAll = () => {
    const parts = [];
    let total = 0;
    for (;;) {
      const part = new Uint8Array(65536);
      const n = read(0, part, 0, part.length, -1);
      if (n <= 0) break;
      parts.push(part.subarray(0, n));
      total += n;
    }
    const all = new Uint8Array(total);
    let at = 0;
    for (const part of parts) {
      all.set(part, at);
      at += part.length;
    }
    return all;
  };
  K.readStdin = readAll;

  class Stdin extends EventEmitter {
    fd = 0;
    isTTY = false;
    readable = true;
    #encoding;
    #flowing = false;
    #data() {
      const bytes = K.Buffer.from(readAll().buffer);
      return this.#encoding ? bytes.toString(this.#encoding) : bytes;
    }
    setEncoding(encoding) {
      this.#encoding = encoding ?? "utf8";
      return this;
    }
    // All of stdin is there from the start: it comes as one chunk, then the end.
    on(name, listener) {
      super.on(name, listener);
      if (name === "data" || name === "readable") this.resume();
      return this;
    }
    addListener(name, listener) {
      return this.on(name, listener);
    }
    resume() {
      if (!this.#flowing) {
        this.#flowing = true;
        setImmediate(() => {
          const data = this.#data();
          this.#pending = data.length ? data : null;
          if (data.length) this.emit("data", data);
          this.emit("readable");
          this.emit("end");
          this.emit("close");
        });
      }
      return this;
    }
    #pending = null;
    read() {
      const data = this.#pending;
      this.#pending = null;
      return data;
    }
    pause() {
      return this;
    }
    ref() {
      return this;
    }
    unref() {
      return this;
    }
    setRawMode() {
      return this;
    }
    pipe(target) {
      this.on("data", (data) => target.write(data));
      return target;
    }
    async *[Symbol.asyncIterator]() {
      const data = this.#data();
      if (data.length) yield data;
    }
  }

  const process = new EventEmitter();
  let exiting = false;

  const leave = (code) => {
    if (!exiting) {
      exiting = true;
      try {
        process.emit("exit", code);
      } catch { /* the process ends anyway */ }
    }
    door(stringify({ __proto__: null, op: "exit", code }));
    exit();
  };

  const hrtime = (since) => {
    const now = clock();
    let seconds = Math.floor(now / 1e9);
    let nanos = Math.floor(now % 1e9);
    if (since) {
      seconds -= since[0];
      nanos -= since[1];
      if (nanos < 0) {
        seconds--;
        nanos += 1e9;
      }
    }
    return [seconds, nanos];
  };
  hrtime.bigint = () => BigInt(Math.floor(clock()));

  const refused = (what) => () => {
    throw K.coded(Error, "EPERM", `${what}: not permitted in this sandbox`);
  };

  Object.assign(process, {
    title: "cofferdam", pid: 1, ppid: 0, platform: "wasi", arch: "wasm32", execPath: "/usr/local/bin/node", execArgv: [],
    version: "v20.0.0", versions: { node: "20.0.0", quickjs: "0.16.2", cofferdam: "1" }, release: { name: "node" },
    argv: [], argv0: "node", env: {}, exitCode: undefined, stdout: output(1), stderr: output(2), stdin: new Stdin(),
    cwd: () => K.cwd, chdir: (path) => K.chdir(path), umask: () => 0o22,
    exit(code) {
      leave((code === undefined ? Number(process.exitCode ?? 0) : Number(code)) | 0);
    },
    reallyExit: (code) => leave(Number(code ?? 0) | 0),
    abort: () => leave(134),
    kill: refused("process.kill"), setuid: refused("process.setuid"), setgid: refused("process.setgid"),
    dlopen: refused("process.dlopen"), binding: refused("process.binding"),
    getuid: () => 1000, getgid: () => 1000, geteuid: () => 1000, getegid: () => 1000,
    nextTick: K.nextTick, hrtime, uptime: () => uptime() / 1e3,
    memoryUsage: Object.assign(() => {
      const [heap, total] = memory();
      return { rss: total, heapTotal: total, heapUsed: heap, external: 0, arrayBuffers: 0 };
    }, { rss: () => memory()[1] }),
    cpuUsage: () => ({ user: Math.floor(uptime() * 1e3), system: 0 }),
    resourceUsage: () => ({ userCPUTime: Math.floor(uptime() * 1e3), systemCPUTime: 0, maxRSS: memory()[1] >> 10 }),
    emitWarning(warning, options) {
      const type = typeof options === "string" ? options : options?.type ?? warning?.name ?? "Warning";
      console.error(`(node:1) ${type}: ${warning?.message ?? warning}`);
    },
    features: {}, config: { variables: {} }, allowedNodeEnvironmentFlags: new Set(), report: undefined,
  });
  K.expose({ process });
  Object.defineProperty(process, Symbol.toStringTag, { value: "process", configurable: true });
  K.process = process;

  K.handleUncaught = (error) => {
    if (exiting || process.listenerCount("uncaughtException") === 0) return false;
    process.emit("uncaughtException", error, "uncaughtException");
    return true;
  };
  K.handleRejection = (reason, promise) => {
    if (process.listenerCount("unhandledRejection") > 0) {
      process.emit("unhandledRejection", reason, promise);
      return true;
    }
    return K.handleUncaught(reason);
  };

  K.beginProcess = (spec) => {
    exiting = false;
    process.env = { ...spec.env };
    process.argv = ["/usr/local/bin/node", `/home/user/${spec.filename}`, ...spec.args];
    process.exitCode = undefined;
  };
  // The program ran to its end: 0, or 2 after an exit code of its own choice.
  K.endProcess = () => {
    if (process.listenerCount("beforeExit") > 0) {
      process.emit("beforeExit", 0);
      K.loop();
    }
    if (process.listenerCount("exit") > 0) {
      exiting = true;
      process.emit("exit", Number(process.exitCode ?? 0));
      exiting = false;
      process.removeAllListeners("exit");
    }
    const code = Number(process.exitCode ?? 0) | 0;
    if (code === 0) return 0;
    door(stringify({ __proto__: null, op: "exit", code }));
    return 2;
  };
})();
