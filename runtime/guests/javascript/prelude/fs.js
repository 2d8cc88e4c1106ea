// node:fs and node:fs/promises over the WASI calls: everything is synchronous underneath.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { native, Buffer } = K;

  const pathOf = (path, name = "path") => {
    if (typeof path === "string") {
      if (path.includes("\0")) throw K.coded(TypeError, "ERR_INVALID_ARG_VALUE", `The argument '${name}' must be a string without null bytes`);
      return path;
    }
    if (path instanceof Uint8Array) return Buffer.from(path).toString();
    if (path instanceof URL) return K.fileURLToPath(path);
    throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "${name}" argument must be of type string or an instance of Buffer or URL. Received ${K.inspect(path)}`);
  };
  const check = (result, syscall, path, dest) => {
    if (typeof result !== "number" || result >= 0) return result;
    const [code, text] = native.error(-result);
    const error = new Error(`${code}: ${text}, ${syscall}${path === undefined ? "" : ` '${path}'`}${dest === undefined ? "" : ` -> '${dest}'`}`);
    Object.assign(error, { errno: result, code, syscall });
    if (path !== undefined) error.path = path;
    if (dest !== undefined) error.dest = dest;
    throw error;
  };
  const encodingOf = (options) => typeof options === "string" ? options : options?.encoding;
  const decoded = (buffer, options) => {
    const encoding = encodingOf(options);
    return encoding && encoding !== "buffer" ? buffer.toString(encoding) : buffer;
  };
  const bytesOf = (data, encoding) => typeof data === "string" ? Buffer.from(data, encoding)
    : ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
      : (() => {
        throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView. Received ${K.inspect(data)}`);
      })();

  class Stats {
    constructor([mode, size, mtimeMs, atimeMs, ctimeMs, ino, nlink, dev]) {
      const birthtimeMs = ctimeMs;
      Object.assign(this, { dev, mode, nlink, uid: 1000, gid: 1000, rdev: 0, blksize: 4096, ino, size,
        blocks: Math.ceil(size / 512), atimeMs, mtimeMs, ctimeMs, birthtimeMs });
      for (const name of ["atime", "mtime", "ctime", "birthtime"]) this[name] = new Date(this[`${name}Ms`]);
    }
    #is(type) {
      return (this.mode & 0o170000) === type;
    }
    isFile() {
      return this.#is(0o100000);
    }
    isDirectory() {
      return this.#is(0o040000);
    }
    isSymbolicLink() {
      return this.#is(0o120000);
    }
    isFIFO() {
      return false;
    }
    isSocket() {
      return false;
    }
    isBlockDevice() {
      return false;
    }
    isCharacterDevice() {
      return this.#is(0o020000);
    }
  }
  class Dirent {
    #kind;
    constructor(name, parentPath, kind) {
      Object.assign(this, { name, parentPath, path: parentPath });
      this.#kind = kind;
    }
    isFile() {
      return this.#kind === "file";
    }
    isDirectory() {
      return this.#kind === "directory";
    }
    isSymbolicLink() {
      return this.#kind === "link";
    }
  }

  const isStdin = (path) => path === 0 || path === "/dev/stdin" || path === "/dev/fd/0" || path === "/proc/self/fd/0";
  const outputs = { "/dev/stdout": 1, "/dev/stderr": 2, "/dev/fd/1": 1, "/dev/fd/2": 2 };

  const readHandle = (fd) => {
    const st = check(native.stat(fd, true), "fstat");
    let bytes = new Uint8Array(st[1] > 0 ? st[1] + 1 : 8192);
    let length = 0;
    for (;;) {
      const n = check(native.read(fd, bytes, length, bytes.length - length, -1), "read");
      if (n === 0) return Buffer.from(bytes.buffer, 0, length);
      length += n;
      if (length === bytes.length) {
        const larger = new Uint8Array(bytes.length * 2);
        larger.set(bytes);
        bytes = larger;
      }
    }
  };
  const writeHandle = (fd, bytes) => {
    for (let at = 0; at < bytes.length;) at += check(native.write(fd, bytes, at, bytes.length - at, -1), "write");
  };
  const withFile = (path, flags, work) => {
    const fd = check(native.open(path, flags), "open", path);
    try {
      return work(fd);
    } finally {
      native.close(fd);
    }
  };

  const fs = {
    constants: { F_OK: 0, X_OK: 1, W_OK: 2, R_OK: 4, COPYFILE_EXCL: 1, O_RDONLY: 0, O_WRONLY: 1, O_RDWR: 2 },
    Stats, Dirent,
    readFileSync(path, options) {
      if (isStdin(path)) return decoded(Buffer.from(K.readStdin().buffer), options);
      if (typeof path === "number") return decoded(readHandle(path), options);
      path = pathOf(path);
      return decoded(withFile(path, options?.flag ?? "r", readHandle), options);
    },
    writeFileSync(path, data, options) {
      const bytes = bytesOf(data, encodingOf(options));
      if (typeof path === "number") return writeHandle(path, bytes);
      path = pathOf(path);
      if (outputs[path]) return writeHandle(outputs[path], bytes);
      withFile(path, options?.flag ?? "w", (fd) => writeHandle(fd, bytes));
    },
    appendFileSync: (path, data, options) =>
      fs.writeFileSync(path, data, { ...typeof options === "string" ? { encoding: options } : options, flag: "a" }),
    openSync: (path, flags = "r") => check(native.open(pathOf(path), typeof flags === "number" ? ["r", "w", "r+"][flags & 3] : flags), "open", path),
    closeSync: (fd) => void check(native.close(fd), "close"),
    readSync(fd, buffer, offset = 0, length, position) {
      if (typeof offset === "object" && offset !== null) ({ offset = 0, length, position } = offset);
      const bytes = new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.byteLength);
      return check(native.read(fd, bytes, offset, length ?? bytes.length - offset, Number(position ?? -1)), "read");
    },
    writeSync(fd, data, offset, length, position) {
      if (typeof data === "string") {
        const bytes = Buffer.from(data, length);
        return check(native.write(fd, bytes, 0, bytes.length, offset ?? -1), "write");
      }
      const bytes = bytesOf(data);
      return check(native.write(fd, bytes, offset ?? 0, length ?? bytes.length - (offset ?? 0), position ?? -1), "write");
    },
    statSync(path, { throwIfNoEntry = true } = {}) {
      const st = native.stat(pathOf(path), true);
      return st === -44 && !throwIfNoEntry ? undefined : new Stats(check(st, "stat", path));
    },
    lstatSync(path, { throwIfNoEntry = true } = {}) {
      const st = native.stat(pathOf(path), false);
      return st === -44 && !throwIfNoEntry ? undefined : new Stats(check(st, "lstat", path));
    },
    fstatSync: (fd) => new Stats(check(native.stat(fd, true), "fstat")),
    existsSync(path) {
      try {
        return typeof native.stat(pathOf(path), true) !== "number";
      } catch {
        return false;
      }
    },
    accessSync: (path) => void check(native.stat(pathOf(path), true), "access", path),
    readdirSync(path, options) {
      path = pathOf(path);
      const found = [];
      const walk = (folder, lead) => {
        const list = check(native.list(folder), "scandir", folder);
        const entries = [];
        for (let i = 0; i < list.length; i += 2) entries.push([list[i], list[i + 1]]);
        entries.sort(([a], [b]) => a < b ? -1 : 1);
        for (const [name, kind] of entries) {
          found.push(options?.withFileTypes ? new Dirent(name, folder, kind) : lead + name);
          if (options?.recursive && kind === "directory") walk(`${folder}/${name}`, `${lead}${name}/`);
        }
      };
      walk(path, "");
      return found;
    },
    mkdirSync(path, options) {
      path = pathOf(path);
      if (!options?.recursive) return void check(native.mkdir(path), "mkdir", path);
      let first;
      let at = path.startsWith("/") ? "/" : "";
      for (const part of path.split("/").filter(Boolean)) {
        at += at && !at.endsWith("/") ? `/${part}` : part;
        const st = native.stat(at, true);
        if (typeof st === "number") {
          check(native.mkdir(at), "mkdir", path);
          first ??= K.path.resolve(at);
        } else if ((st[0] & 0o170000) !== 0o040000) {
          check(-20, "mkdir", path);
        }
      }
      return first;
    },
    mkdtempSync(lead) {
      const path = lead + K.randomText(6);
      fs.mkdirSync(path);
      return path;
    },
    rmdirSync(path, options) {
      return options?.recursive ? fs.rmSync(path, { recursive: true }) : void check(native.rmdir(pathOf(path)), "rmdir", path);
    },
    unlinkSync: (path) => void check(native.unlink(pathOf(path)), "unlink", path),
    rmSync(path, { recursive = false, force = false } = {}) {
      path = pathOf(path);
      const st = native.stat(path, false);
      if (typeof st === "number") return force ? undefined : void check(st, "rm", path);
      if ((st[0] & 0o170000) !== 0o040000) return fs.unlinkSync(path);
      if (!recursive) {
        throw K.coded(Error, "ERR_FS_EISDIR", `Path is a directory: rm returned EISDIR (is a directory) ${path}`);
      }
      for (const name of fs.readdirSync(path)) fs.rmSync(`${path}/${name}`, { recursive: true });
      fs.rmdirSync(path);
    },
    renameSync: (from, to) => void check(native.rename(pathOf(from), pathOf(to)), "rename", from, to),
    linkSync: (from, to) => void check(native.link(pathOf(from), pathOf(to)), "link", from, to),
    symlinkSync: (target, path) => void check(native.symlink(pathOf(target), pathOf(path)), "symlink", target, path),
    readlinkSync: (path) => check(native.readlink(pathOf(path)), "readlink", path),
    realpathSync(path) {
      let at = K.path.resolve(pathOf(path));
      for (let turns = 0; turns < 32; turns++) {
        const parts = at.split("/");
        const link = parts.findIndex((_, i) => i > 0 && typeof native.readlink(parts.slice(0, i + 1).join("/")) === "string");
        if (link < 0) {
          check(native.stat(at, true), "realpath", path);
          return at;
        }
        const target = native.readlink(parts.slice(0, link + 1).join("/"));
        at = K.path.resolve(parts.slice(0, link).join("/") || "/", target, ...parts.slice(link + 1));
      }
      return check(-32, "realpath", path);
    },
    copyFileSync(from, to, mode = 0) {
      const data = fs.readFileSync(from);
      fs.writeFileSync(to, data, { flag: mode & 1 ? "wx" : "w" });
    },
    cpSync(from, to, options) {
      if (!fs.statSync(from).isDirectory()) return fs.copyFileSync(from, to);
      if (!options?.recursive) throw K.coded(Error, "ERR_FS_EISDIR", `Recursive option not enabled, cannot copy a directory: ${from}`);
      fs.mkdirSync(to, { recursive: true });
      for (const name of fs.readdirSync(from)) fs.cpSync(`${from}/${name}`, `${to}/${name}`, options);
    },
    truncateSync: (path, length = 0) => withFile(pathOf(path), "r+", (fd) => void check(native.truncate(fd, length), "ftruncate", path)),
    ftruncateSync: (fd, length = 0) => void check(native.truncate(fd, length), "ftruncate"),
    utimesSync(path, atime, mtime) {
      const ms = (time) => time instanceof Date ? time.getTime() : Number(time) * 1000;
      check(native.utimes(pathOf(path), ms(atime), ms(mtime)), "utime", path);
    },
    chmodSync: (path) => fs.accessSync(path), chownSync: (path) => fs.accessSync(path), fsyncSync() {}, fdatasyncSync() {},
    watch: () => {
      throw K.coded(Error, "ENOSYS", "fs.watch: not available in this sandbox");
    },
  };
  fs.watchFile = fs.watch;
  K.fs = fs;
  K.readText = (path) => fs.readFileSync(path, "utf8");
  K.chdir = (path) => {
    const to = K.path.resolve(pathOf(path, "directory"));
    check(native.chdir(to), "chdir", K.cwd, path);
    K.cwd = to;
  };
})();
