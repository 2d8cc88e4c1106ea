// Buffer, after Node's; Blob and File.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { encodeUtf8, encodeUtf16, decodeUtf8, decodeLatin1, decodeUtf16 } = K.native;
  const names = { utf8: "utf8", "utf-8": "utf8", hex: "hex", base64: "base64", base64url: "base64url", latin1: "latin1",
    binary: "latin1", ascii: "ascii", ucs2: "utf16le", "ucs-2": "utf16le", utf16le: "utf16le", "utf-16le": "utf16le" };
  const encodingOf = (name) => {
    const found = name === undefined || name === null ? "utf8" : names[String(name).toLowerCase()];
    if (!found) throw K.coded(TypeError, "ERR_UNKNOWN_ENCODING", `Unknown encoding: ${name}`);
    return found;
  };
  const fromBase64 = (text) => Uint8Array.fromBase64(
    text.replace(/-/g, "+").replace(/_/g, "/").replace(/=[^]*$/, "").replace(/[^A-Za-z0-9+/]/g, "").replace(/^((?:.{4})*).$/s, "$1"));
  const toBytes = (text, encoding) => {
    switch (encodingOf(encoding)) {
      case "utf8": return new Uint8Array(encodeUtf8(text.toWellFormed()));
      case "hex": {
        const digits = /^(?:[0-9a-fA-F]{2})*/.exec(text)[0];
        return Uint8Array.fromHex(digits);
      }
      case "base64": case "base64url": return fromBase64(text);
      case "utf16le": return new Uint8Array(encodeUtf16(text, false));
      default: return new Uint8Array(encodeUtf16(text, true));
    }
  };
  const illegal = (name, value) => K.coded(TypeError, "ERR_INVALID_ARG_TYPE",
    `The ${name} must be of type string or an instance of Buffer, ArrayBuffer, or Array or an Array-like Object. Received ${K.inspect(value)}`);

  class Buffer extends Uint8Array {
    static poolSize = 8192;
    static from(value, a, b) {
      if (typeof value === "string") return wrap(toBytes(value, a));
      if (value instanceof ArrayBuffer || value instanceof SharedArrayBuffer) return new Buffer(value, a, b);
      if (ArrayBuffer.isView(value) || Array.isArray(value)) {
        const buffer = new Buffer(value.length);
        for (let i = 0; i < value.length; i++) buffer[i] = value[i];
        return buffer;
      }
      if (value?.type === "Buffer" && Array.isArray(value.data)) return Buffer.from(value.data);
      const primitive = value?.valueOf?.();
      if (primitive !== undefined && primitive !== null && primitive !== value) return Buffer.from(primitive, a, b);
      if (typeof value === "object" && value !== null && typeof value.length === "number") return Buffer.from(Array.from(value));
      throw illegal("first argument", value);
    }
    static of(...items) {
      return Buffer.from(items);
    }
    static alloc(size, fill, encoding) {
      if (typeof size !== "number") throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "size" argument must be of type number. Received ${K.inspect(size)}`);
      const buffer = new Buffer(size);
      return fill === undefined || fill === 0 ? buffer : buffer.fill(fill, encoding);
    }
    static allocUnsafe(size) {
      return Buffer.alloc(size);
    }
    static allocUnsafeSlow(size) {
      return Buffer.alloc(size);
    }
    static isBuffer(value) {
      return value instanceof Buffer;
    }
    static isEncoding(name) {
      return names[String(name).toLowerCase()] !== undefined;
    }
    static byteLength(value, encoding) {
      return typeof value === "string" ? toBytes(value, encoding).length : value.byteLength;
    }
    static concat(list, total = list.reduce((sum, item) => sum + item.length, 0)) {
      const all = new Buffer(total);
      let at = 0;
      for (const item of list) {
        if (at >= total) break;
        all.set(at + item.length > total ? item.subarray(0, total - at) : item, at);
        at += item.length;
      }
      return all;
    }
    static compare(a, b) {
      const n = Math.min(a.length, b.length);
      for (let i = 0; i < n; i++) if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
      return Math.sign(a.length - b.length);
    }

    get parent() {
      return this.buffer;
    }
    toString(encoding, start = 0, end = this.length) {
      start = Math.max(0, start);
      end = Math.min(this.length, end);
      switch (encodingOf(encoding)) {
        case "utf8": return decodeUtf8(this, start, end, false);
        case "hex": return super.subarray(start, end).toHex();
        case "base64": return super.subarray(start, end).toBase64();
        case "base64url": return super.subarray(start, end).toBase64({ alphabet: "base64url", omitPadding: true });
        case "utf16le": return decodeUtf16(this, start, end);
        case "ascii": return decodeLatin1(this, start, end).replace(/[\x80-\xff]/g, (c) => String.fromCharCode(c.charCodeAt(0) & 0x7f));
        default: return decodeLatin1(this, start, end);
      }
    }
    toLocaleString(encoding) {
      return this.toString(encoding);
    }
    toJSON() {
      return { type: "Buffer", data: Array.from(this) };
    }
    equals(other) {
      return Buffer.compare(this, other) === 0;
    }
    compare(other, from = 0, to = other.length, start = 0, end = this.length) {
      return Buffer.compare(this.subarray(start, end), other.subarray(from, to));
    }
    slice(start, end) {
      return this.subarray(start, end);
    }
    write(text, offset = 0, length, encoding) {
      if (typeof offset === "string") [offset, length, encoding] = [0, undefined, offset];
      else if (typeof length === "string") [length, encoding] = [undefined, length];
      const bytes = toBytes(text, encoding).subarray(0, Math.min(length ?? Infinity, this.length - offset));
      this.set(bytes, offset);
      return bytes.length;
    }
    copy(target, at = 0, start = 0, end = this.length) {
      const part = this.subarray(start, Math.min(end, start + target.length - at));
      target.set(part, at);
      return part.length;
    }
    fill(value, start = 0, end = this.length, encoding) {
      if (typeof start === "string") [start, end, encoding] = [0, this.length, start];
      if (typeof value !== "string" && !(value instanceof Uint8Array)) return super.fill(value, start, end);
      const bytes = typeof value === "string" ? toBytes(value, encoding) : value;
      if (bytes.length === 0) return super.fill(0, start, end);
      for (let i = start; i < end; i++) this[i] = bytes[(i - start) % bytes.length];
      return this;
    }
    indexOf(value, start = 0, encoding) {
      if (typeof value === "number") return super.indexOf(value & 255, start);
      const bytes = typeof value === "string" ? toBytes(value, encoding) : value;
      for (let i = start < 0 ? Math.max(0, this.length + start) : start; i <= this.length - bytes.length; i++) {
        let n = 0;
        while (n < bytes.length && this[i + n] === bytes[n]) n++;
        if (n === bytes.length) return i;
      }
      return -1;
    }
    lastIndexOf(value, start, encoding) {
      if (typeof value === "number") return super.lastIndexOf(value & 255, ...start === undefined ? [] : [start]);
      const bytes = typeof value === "string" ? toBytes(value, encoding) : value;
      for (let i = Math.min(start ?? Infinity, this.length - bytes.length); i >= 0; i--) {
        if (bytes.every((byte, n) => this[i + n] === byte)) return i;
      }
      return -1;
    }
    includes(value, start, encoding) {
      return this.indexOf(value, start, encoding) >= 0;
    }
    swap16() {
      for (let i = 0; i + 1 < this.length; i += 2) [this[i], this[i + 1]] = [this[i + 1], this[i]];
      return this;
    }
    [K.inspect.custom]() {
      const shown = Array.from(super.subarray(0, 50), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
      const more = this.length - 50;
      return `<Buffer${shown ? ` ${shown}` : ""}${more > 0 ? ` ... ${more} more byte${more > 1 ? "s" : ""}` : ""}>`;
    }
  }
  const wrap = (bytes) => new Buffer(bytes.buffer, bytes.byteOffset, bytes.byteLength);

  // readInt32LE, writeDoubleBE and the others, from DataView's methods.
  const kinds = { UInt8: ["Uint8", 1], Int8: ["Int8", 1], UInt16: ["Uint16", 2], Int16: ["Int16", 2], UInt32: ["Uint32", 4],
    Int32: ["Int32", 4], Float: ["Float32", 4], Double: ["Float64", 8], BigUInt64: ["BigUint64", 8], BigInt64: ["BigInt64", 8] };
  const methods = {};
  for (const [name, [view, size]] of Object.entries(kinds)) {
    for (const order of size === 1 ? [""] : ["LE", "BE"]) {
      const bounds = (buffer, offset) => {
        if (!(offset >= 0 && offset + size <= buffer.length)) {
          throw K.coded(RangeError, "ERR_OUT_OF_RANGE", `The value of "offset" is out of range. It must be >= 0 and <= ${buffer.length - size}. Received ${offset}`);
        }
        return new DataView(buffer.buffer, buffer.byteOffset, buffer.byteLength);
      };
      methods[`read${name}${order}`] = function (offset = 0) {
        return bounds(this, offset)[`get${view}`](offset, order === "LE");
      };
      methods[`write${name}${order}`] = function (value, offset = 0) {
        bounds(this, offset)[`set${view}`](offset, value, order === "LE");
        return offset + size;
      };
      const twin = name.replace("UInt", "Uint");
      if (twin !== name) for (const verb of ["read", "write"]) methods[`${verb}${twin}${order}`] = methods[`${verb}${name}${order}`];
    }
  }
  K.expose(methods, Buffer.prototype);

  class Blob {
    #bytes;
    #type;
    constructor(parts = [], { type = "" } = {}) {
      this.#bytes = Buffer.concat(Array.from(parts, (part) => part instanceof Blob ? part.#bytes
        : typeof part === "string" ? Buffer.from(part)
          : ArrayBuffer.isView(part) ? Buffer.from(new Uint8Array(part.buffer, part.byteOffset, part.byteLength))
            : part instanceof ArrayBuffer ? Buffer.from(new Uint8Array(part)) : Buffer.from(String(part))));
      this.#type = /[^\x20-\x7e]/.test(type) ? "" : String(type).toLowerCase();
    }
    get size() {
      return this.#bytes.length;
    }
    get type() {
      return this.#type;
    }
    async text() {
      return this.#bytes.toString();
    }
    async bytes() {
      return new Uint8Array(this.#bytes);
    }
    async arrayBuffer() {
      return new Uint8Array(this.#bytes).buffer;
    }
    slice(start = 0, end = this.size, type = "") {
      return new Blob([Uint8Array.prototype.slice.call(new Uint8Array(this.#bytes), start, end)], { type });
    }
    [K.inspect.custom]() {
      return `${this.constructor.name} { size: ${this.size}, type: '${this.type}' }`;
    }
  }
  K.tag(Blob);
  class File extends Blob {
    #name;
    #lastModified;
    constructor(parts, name, options = {}) {
      super(parts, options);
      this.#name = String(name);
      this.#lastModified = options.lastModified ?? Date.now();
    }
    get name() {
      return this.#name;
    }
    get lastModified() {
      return this.#lastModified;
    }
  }
  K.tag(File);

  K.Buffer = Buffer;
  K.expose({ Buffer, Blob, File });
})();
