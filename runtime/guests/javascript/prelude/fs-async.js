// The asynchronous faces of fs.js: promises, callbacks, file handles and simple streams.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { fs, Buffer, EventEmitter } = K;
  const promises = { constants: fs.constants };

  for (const name of Object.keys(fs)) {
    if (!name.endsWith("Sync")) continue;
    const plain = name.slice(0, -4);
    const sync = fs[name];
    if (plain === "exists") {
      fs.exists = (path, done) => setImmediate(done, sync(path));
      continue;
    }
    promises[plain] = async (...args) => sync(...args);
    fs[plain] = (...args) => {
      const done = args.pop();
      if (typeof done !== "function") {
        throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "cb" argument must be of type function. Received ${K.inspect(done)}`);
      }
      let result;
      try {
        result = sync(...args);
      } catch (error) {
        setImmediate(done, error);
        return;
      }
      setImmediate(done, null, result);
    };
  }
  for (const name of ["close", "read", "write", "fstat", "ftruncate", "fsync", "fdatasync", "open"]) delete promises[name];

  class FileHandle {
    constructor(fd) {
      this.fd = fd;
    }
    async readFile(options) {
      return fs.readFileSync(this.fd, options);
    }
    async writeFile(data, options) {
      fs.writeFileSync(this.fd, data, options);
    }
    async appendFile(data, options) {
      fs.writeFileSync(this.fd, data, options);
    }
    async read(buffer, offset, length, position) {
      return { bytesRead: fs.readSync(this.fd, buffer, offset, length, position), buffer };
    }
    async write(data, ...rest) {
      return { bytesWritten: fs.writeSync(this.fd, data, ...rest), buffer: data };
    }
    async stat() {
      return fs.fstatSync(this.fd);
    }
    async truncate(length) {
      fs.ftruncateSync(this.fd, length);
    }
    async sync() {}
    async *readLines() {
      yield* (await this.readFile("utf8")).replace(/\n$/, "").split(/\r?\n/);
    }
    async close() {
      if (this.fd >= 0) fs.closeSync(this.fd);
      this.fd = -1;
    }
    async [Symbol.asyncDispose]() {
      await this.close();
    }
  }
  promises.open = async (path, flags) => new FileHandle(fs.openSync(path, flags));
  fs.promises = promises;

  // Streams over a file: enough for pipe, events and `for await`.
  class ReadStream extends EventEmitter {
    #encoding;
    #flowing = false;
    constructor(path, options) {
      super();
      this.path = path;
      this.#encoding = typeof options === "string" ? options : options?.encoding;
      this.options = typeof options === "object" && options ? options : {};
    }
    *#chunks() {
      const { start = 0, end = Infinity, highWaterMark = 65536 } = this.options;
      const data = fs.readFileSync(this.path).subarray(start, end + 1);
      for (let at = 0; at < data.length; at += highWaterMark) {
        const chunk = data.subarray(at, at + highWaterMark);
        yield this.#encoding ? chunk.toString(this.#encoding) : chunk;
      }
    }
    setEncoding(encoding) {
      this.#encoding = encoding;
      return this;
    }
    on(name, listener) {
      super.on(name, listener);
      if (name === "data" && !this.#flowing) {
        this.#flowing = true;
        setImmediate(() => {
          try {
            for (const chunk of this.#chunks()) this.emit("data", chunk);
          } catch (error) {
            this.emit("error", error);
            return;
          }
          this.emit("end");
          this.emit("close");
        });
      }
      return this;
    }
    pipe(target) {
      this.on("data", (chunk) => target.write(chunk));
      this.on("end", () => target.end?.());
      return target;
    }
    async *[Symbol.asyncIterator]() {
      yield* this.#chunks();
    }
    close() {}
    destroy() {
      return this;
    }
  }
  class WriteStream extends EventEmitter {
    #fd;
    bytesWritten = 0;
    constructor(path, options) {
      super();
      this.path = path;
      this.#fd = fs.openSync(path, options?.flags ?? "w");
      setImmediate(() => this.emit("open", this.#fd));
    }
    write(chunk, encoding, done) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk, typeof encoding === "string" ? encoding : "utf8") : chunk;
      fs.writeFileSync(this.#fd, bytes);
      this.bytesWritten += bytes.length;
      const callback = typeof encoding === "function" ? encoding : done;
      if (callback) K.nextTick(callback);
      return true;
    }
    end(chunk, encoding, done) {
      if (chunk !== undefined && typeof chunk !== "function") this.write(chunk, typeof encoding === "string" ? encoding : undefined);
      const callback = [chunk, encoding, done].find((item) => typeof item === "function");
      if (callback) this.once("finish", callback);
      if (this.#fd >= 0) fs.closeSync(this.#fd);
      this.#fd = -1;
      setImmediate(() => {
        this.emit("finish");
        this.emit("close");
      });
      return this;
    }
    close() {
      return this.end();
    }
  }
  Object.assign(fs, { ReadStream, WriteStream,
    createReadStream: (path, options) => new ReadStream(path, options),
    createWriteStream: (path, options) => new WriteStream(path, typeof options === "string" ? {} : options) });
})();
