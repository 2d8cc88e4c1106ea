// crypto: the host's randomness, digests and HMAC; web and node:crypto faces. No ciphers and no keys.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { random, digest } = K.native;
  const { Buffer } = K;

  const integers = ["Int8Array", "Uint8Array", "Uint8ClampedArray", "Int16Array", "Uint16Array", "Int32Array", "Uint32Array",
    "BigInt64Array", "BigUint64Array"];
  const getRandomValues = (array) => {
    if (!integers.includes(K.native.kind(array))) throw new DOMException("The data argument must be an integer-type TypedArray", "TypeMismatchError");
    if (array.byteLength > 65536) throw new DOMException(`The requested length exceeds 65,536 bytes`, "QuotaExceededError");
    random(array);
    return array;
  };
  const randomUUID = () => {
    const bytes = new Uint8Array(16);
    random(bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    const hex = bytes.toHex();
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  };
  const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
  K.randomText = (length) => Array.from(randomBytes(length), (byte) => letters[byte % letters.length]).join("");

  const toBytes = (data, encoding) => typeof data === "string" ? Buffer.from(data, encoding)
    : data instanceof ArrayBuffer ? new Uint8Array(data) : new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  const named = (name) => String(name).toLowerCase().replace(/^sha-?(\d+)$/, "sha$1").replace(/^rsa-/, "");
  const blocks = { md5: 64, sha1: 64, sha256: 64, sha384: 128, sha512: 128 };
  const hashOf = (name, data) => {
    const result = digest(name, data);
    if (result === undefined) throw K.coded(Error, "ERR_CRYPTO_INVALID_DIGEST", `Invalid digest: ${name}`);
    return new Uint8Array(result);
  };
  const hmac = (name, key, data) => {
    const size = blocks[name];
    if (!size) hashOf(name, new Uint8Array(0));
    const padded = new Uint8Array(size);
    padded.set(key.length > size ? hashOf(name, key) : key);
    const inner = Buffer.concat([padded.map((byte) => byte ^ 0x36), data]);
    return hashOf(name, Buffer.concat([padded.map((byte) => byte ^ 0x5c), hashOf(name, inner)]));
  };

  class Hash {
    #name;
    #key;
    #parts = [];
    #done = false;
    constructor(name, key) {
      this.#name = named(name);
      this.#key = key;
      if (!blocks[this.#name]) hashOf(this.#name, new Uint8Array(0));
    }
    update(data, encoding) {
      if (this.#done) throw K.coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
      if (typeof data !== "string" && !ArrayBuffer.isView(data)) {
        throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "data" argument must be of type string or an instance of Buffer, TypedArray, or DataView. Received ${K.inspect(data)}`);
      }
      this.#parts.push(Buffer.from(toBytes(data, encoding)));
      return this;
    }
    digest(encoding) {
      if (this.#done) throw K.coded(Error, "ERR_CRYPTO_HASH_FINALIZED", "Digest already called");
      this.#done = true;
      const data = Buffer.concat(this.#parts);
      const result = Buffer.from(this.#key ? hmac(this.#name, this.#key, data) : hashOf(this.#name, data));
      return encoding && encoding !== "buffer" ? result.toString(encoding) : result;
    }
    copy() {
      const twin = new Hash(this.#name, this.#key);
      twin.#parts = [...this.#parts];
      return twin;
    }
  }

  const randomBytes = (size, done) => {
    const bytes = Buffer.alloc(size);
    random(bytes);
    if (!done) return bytes;
    setImmediate(done, null, bytes);
  };
  const randomInt = (low, high, done) => {
    if (high === undefined || typeof high === "function") [low, high, done] = [0, low, high];
    const range = high - low;
    if (!(range > 0 && range <= 2 ** 48)) throw K.coded(RangeError, "ERR_OUT_OF_RANGE", `The value of "max" is out of range. It must be greater than the value of "min" (${low}). Received ${high}`);
    const limit = 2 ** 48 - 2 ** 48 % range;
    let value;
    do value = randomBytes(6).readUInt16LE(0) + randomBytes(4).readUInt32LE(0) * 65536; while (value >= limit);
    if (!done) return low + value % range;
    setImmediate(done, null, low + value % range);
  };
  const pbkdf2Sync = (password, salt, turns, length, name = "sha1") => {
    const key = toBytes(password);
    const out = [];
    for (let block = 1; out.length * 1 < length; block++) {
      const index = Buffer.alloc(4);
      index.writeUInt32BE(block);
      let last = hmac(named(name), key, Buffer.concat([toBytes(salt), index]));
      const sum = last.slice();
      for (let i = 1; i < turns; i++) {
        last = hmac(named(name), key, last);
        for (let k = 0; k < sum.length; k++) sum[k] ^= last[k];
      }
      out.push(...sum);
    }
    return Buffer.from(out.slice(0, length));
  };
  const timingSafeEqual = (a, b) => {
    if (a.byteLength !== b.byteLength) throw K.coded(RangeError, "ERR_CRYPTO_TIMING_SAFE_EQUAL_LENGTH", "Input buffers must have the same byte length");
    let difference = 0;
    for (let i = 0; i < a.length; i++) difference |= a[i] ^ b[i];
    return difference === 0;
  };

  const unsupported = (what) => async () => {
    throw new DOMException(`crypto.subtle.${what} is not available in this sandbox`, "NotSupportedError");
  };
  const subtle = {
    async digest(algorithm, data) {
      const name = named(algorithm?.name ?? algorithm);
      if (name === "md5" || !blocks[name]) throw new DOMException("Unrecognized algorithm name", "NotSupportedError");
      return hashOf(name, toBytes(data)).buffer;
    },
  };
  for (const name of ["encrypt", "decrypt", "sign", "verify", "generateKey", "deriveKey", "deriveBits", "importKey", "exportKey", "wrapKey", "unwrapKey"]) {
    subtle[name] = unsupported(name);
  }
  const web = { getRandomValues, randomUUID, subtle };
  K.expose({ crypto: web });
  Object.defineProperty(web, Symbol.toStringTag, { value: "Crypto", configurable: true });

  K.crypto = {
    createHash: (name) => new Hash(name), createHmac: (name, key) => new Hash(name, Buffer.from(toBytes(key))),
    hash: (name, data, encoding = "hex") => new Hash(name).update(data).digest(encoding),
    getHashes: () => Object.keys(blocks), randomBytes, randomInt, randomUUID, getRandomValues, timingSafeEqual, pbkdf2Sync,
    randomFillSync: (buffer) => (random(buffer), buffer), webcrypto: web, subtle, Hash,
    pbkdf2(password, salt, turns, length, name, done) {
      setImmediate(done, null, pbkdf2Sync(password, salt, turns, length, name));
    },
  };
})();
