// TextEncoder and TextDecoder: UTF-8, UTF-16LE, Latin-1.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { encodeUtf8, decodeUtf8, decodeLatin1, decodeUtf16 } = K.native;

  K.encode = (text) => new Uint8Array(encodeUtf8(text.toWellFormed()));

  class TextEncoder {
    get encoding() {
      return "utf-8";
    }
    encode(text = "") {
      return K.encode(`${text}`);
    }
    encodeInto(text, target) {
      let read = 0;
      let written = 0;
      for (const c of `${text}`) {
        const bytes = K.encode(c);
        if (written + bytes.length > target.length) break;
        target.set(bytes, written);
        written += bytes.length;
        read += c.length;
      }
      return { read, written };
    }
  }
  K.tag(TextEncoder);

  const labels = {
    "utf-8": "utf-8", utf8: "utf-8", "unicode-1-1-utf-8": "utf-8", "utf-16le": "utf-16le", "utf-16": "utf-16le", utf16le: "utf-16le",
    "ucs-2": "utf-16le", "iso-8859-1": "windows-1252", latin1: "windows-1252", ascii: "windows-1252", "us-ascii": "windows-1252",
    "windows-1252": "windows-1252",
  };
  // What windows-1252 has at 0x80 to 0x9f (WHATWG Encoding, index-windows-1252).
  const high = "€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ";

  // How many bytes at the end belong to a sequence that is not complete yet.
  const openUtf8 = (bytes) => {
    for (let back = 1; back <= Math.min(3, bytes.length); back++) {
      const byte = bytes[bytes.length - back];
      if (byte < 0x80) return 0;
      if (byte >= 0xc0) return (byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2) > back ? back : 0;
    }
    return 0;
  };

  class TextDecoder {
    #encoding;
    #fatal;
    #ignoreBOM;
    #rest = new Uint8Array(0);
    #started = false;
    constructor(label = "utf-8", { fatal = false, ignoreBOM = false } = {}) {
      this.#encoding = labels[String(label).trim().toLowerCase()];
      if (!this.#encoding) {
        throw K.coded(RangeError, "ERR_ENCODING_NOT_SUPPORTED", `The "${label}" encoding is not supported`);
      }
      this.#fatal = Boolean(fatal);
      this.#ignoreBOM = Boolean(ignoreBOM);
    }
    get encoding() {
      return this.#encoding;
    }
    get fatal() {
      return this.#fatal;
    }
    get ignoreBOM() {
      return this.#ignoreBOM;
    }
    decode(input = new Uint8Array(0), { stream = false } = {}) {
      let bytes = ArrayBuffer.isView(input) ? new Uint8Array(input.buffer, input.byteOffset, input.byteLength) : new Uint8Array(input);
      if (this.#rest.length) {
        const joined = new Uint8Array(this.#rest.length + bytes.length);
        joined.set(this.#rest);
        joined.set(bytes, this.#rest.length);
        bytes = joined;
      }
      const open = !stream ? 0 : this.#encoding === "utf-8" ? openUtf8(bytes) : this.#encoding === "utf-16le" ? bytes.length % 2 : 0;
      this.#rest = bytes.slice(bytes.length - open);
      bytes = bytes.subarray(0, bytes.length - open);
      let text;
      if (this.#encoding === "utf-8") {
        text = decodeUtf8(bytes, 0, bytes.length, this.#fatal);
        if (text === undefined) throw K.coded(TypeError, "ERR_ENCODING_INVALID_ENCODED_DATA", "The encoded data was not valid for encoding utf-8");
      } else if (this.#encoding === "utf-16le") {
        text = decodeUtf16(bytes);
        if (this.#fatal && !text.isWellFormed()) throw new TypeError("The encoded data was not valid for encoding utf-16le");
        text = text.toWellFormed();
      } else {
        text = decodeLatin1(bytes).replace(/[\x80-\x9f]/g, (c) => high[c.charCodeAt(0) - 0x80]);
      }
      if (!this.#started && !this.#ignoreBOM && text.startsWith("\ufeff")) text = text.slice(1);
      this.#started = stream && (this.#started || text.length > 0);
      return text;
    }
  }
  K.tag(TextDecoder);
  K.expose({ TextEncoder, TextDecoder });
})();
