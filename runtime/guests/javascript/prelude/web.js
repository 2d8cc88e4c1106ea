// structuredClone, and what surrounds fetch: headers, requests and responses as values.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { kind } = K.native;

  const uncloneable = (value) => {
    throw new DOMException(`${typeof value === "symbol" ? String(value) : K.inspect(value, { depth: 0 })} could not be cloned.`, "DataCloneError");
  };
  const clone = (value, seen, transfer) => {
    if (typeof value === "symbol" || typeof value === "function") uncloneable(value);
    if (typeof value !== "object" || value === null) return value;
    if (seen.has(value)) return seen.get(value);
    const keep = (copy) => {
      seen.set(value, copy);
      return copy;
    };
    const type = kind(value);
    switch (type) {
      case "Date": return keep(new Date(value.getTime()));
      case "RegExp": return keep(new RegExp(value.source, value.flags));
      case "Number": case "String": case "Boolean": case "BigInt": return keep(Object(value.valueOf()));
      case "ArrayBuffer": return keep(transfer.includes(value) ? value.transfer() : value.slice(0));
      case "DataView": return keep(new DataView(clone(value.buffer, seen, transfer), value.byteOffset, value.byteLength));
      case "Map": {
        const copy = keep(new Map());
        for (const [k, v] of value) copy.set(clone(k, seen, transfer), clone(v, seen, transfer));
        return copy;
      }
      case "Set": {
        const copy = keep(new Set());
        for (const item of value) copy.add(clone(item, seen, transfer));
        return copy;
      }
      case "Error": {
        const Class = { EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError }[value.name] ?? Error;
        const copy = keep(new Class(value.message));
        if (typeof value.stack === "string") copy.stack = value.stack;
        Object.defineProperty(copy, "stack", { enumerable: false });
        if (Object.hasOwn(value, "cause")) Object.defineProperty(copy, "cause", { value: clone(value.cause, seen, transfer), writable: true, configurable: true });
        return copy;
      }
      case "Promise": case "WeakMap": case "WeakSet": case "WeakRef": case "Generator": case "Proxy": uncloneable(value);
    }
    if (ArrayBuffer.isView(value)) {
      const Class = globalThis[type];
      return keep(new Class(clone(value.buffer, seen, transfer), value.byteOffset, value.length));
    }
    if (value instanceof Blob) return keep(value);
    const copy = keep(Array.isArray(value) ? new Array(value.length) : {});
    for (const key of Object.keys(value)) copy[key] = clone(value[key], seen, transfer);
    return copy;
  };

  class Headers {
    #map = new Map();
    constructor(init = []) {
      const pairs = init === null ? [] : typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
      for (const [name, value] of pairs) this.append(name, value);
    }
    #name(name) {
      const text = String(name).toLowerCase();
      if (!/^[!#$%&'*+\-.^_`|~0-9a-z]+$/.test(text)) throw new TypeError(`Headers: "${name}" is an invalid header name.`);
      return text;
    }
    append(name, value) {
      const key = this.#name(name);
      const text = String(value).trim();
      this.#map.set(key, this.#map.has(key) ? `${this.#map.get(key)}, ${text}` : text);
    }
    set(name, value) {
      this.#map.set(this.#name(name), String(value).trim());
    }
    get(name) {
      return this.#map.get(this.#name(name)) ?? null;
    }
    has(name) {
      return this.#map.has(this.#name(name));
    }
    delete(name) {
      this.#map.delete(this.#name(name));
    }
    getSetCookie() {
      return this.#map.has("set-cookie") ? [this.#map.get("set-cookie")] : [];
    }
    forEach(callback, self) {
      for (const [name, value] of this) callback.call(self, value, name, this);
    }
    *entries() {
      yield* [...this.#map].sort(([a], [b]) => a < b ? -1 : 1);
    }
    *keys() {
      for (const [name] of this) yield name;
    }
    *values() {
      for (const [, value] of this) yield value;
    }
    [Symbol.iterator]() {
      return this.entries();
    }
    [K.inspect.custom](depth, options) {
      return `Headers ${K.inspect(Object.fromEntries(this), options)}`;
    }
  }
  K.tag(Headers);

  class FormData {
    #list = [];
    append(name, value, filename) {
      const item = value instanceof Blob && !(value instanceof File) ? new File([value], filename ?? "blob", { type: value.type }) : value;
      this.#list.push([String(name), item instanceof Blob ? item : String(item)]);
    }
    set(name, value, filename) {
      this.delete(name);
      this.append(name, value, filename);
    }
    get(name) {
      return this.#list.find(([n]) => n === name)?.[1] ?? null;
    }
    getAll(name) {
      return this.#list.filter(([n]) => n === name).map(([, v]) => v);
    }
    has(name) {
      return this.#list.some(([n]) => n === name);
    }
    delete(name) {
      this.#list = this.#list.filter(([n]) => n !== name);
    }
    forEach(callback, self) {
      for (const [name, value] of this.#list) callback.call(self, value, name, this);
    }
    *entries() {
      yield* this.#list;
    }
    *keys() {
      for (const [name] of this.#list) yield name;
    }
    *values() {
      for (const [, value] of this.#list) yield value;
    }
    [Symbol.iterator]() {
      return this.entries();
    }
  }
  K.tag(FormData);

  class Body {
    #blob;
    #used = false;
    constructor(body, headers) {
      this.headers = new Headers(headers);
      if (body === undefined || body === null) return;
      const type = typeof body === "string" ? "text/plain;charset=UTF-8"
        : body instanceof URLSearchParams ? "application/x-www-form-urlencoded;charset=UTF-8" : body instanceof Blob ? body.type : "";
      this.#blob = body instanceof Blob ? body : new Blob([body instanceof URLSearchParams ? String(body) : body]);
      if (type && !this.headers.has("content-type")) this.headers.set("content-type", type);
    }
    #take() {
      if (this.#used) throw new TypeError("Body is unusable: Body has already been read");
      this.#used = this.#blob !== undefined;
      return this.#blob ?? new Blob();
    }
    get bodyUsed() {
      return this.#used;
    }
    async text() {
      return this.#take().text();
    }
    async json() {
      return JSON.parse(await this.#take().text());
    }
    async arrayBuffer() {
      return this.#take().arrayBuffer();
    }
    async bytes() {
      return this.#take().bytes();
    }
    async blob() {
      return this.#take();
    }
    static peek(of) {
      return of.#blob;
    }
  }
  const { peek } = Body;
  delete Body.peek;

  class Request extends Body {
    constructor(input, init = {}) {
      const from = input instanceof Request ? input : undefined;
      super(init.body ?? (from && peek(from)), init.headers ?? from?.headers);
      this.url = from ? from.url : new URL(input).href;
      this.method = String(init.method ?? from?.method ?? "GET").toUpperCase();
      this.signal = init.signal ?? from?.signal ?? new AbortController().signal;
    }
    clone() {
      return new Request(this);
    }
  }
  K.tag(Request);
  class Response extends Body {
    constructor(body, { status = 200, statusText = "", headers } = {}) {
      if (status < 200 || status > 599) throw new RangeError(`init["status"] must be in the range of 200 to 599, inclusive.`);
      super(body, headers);
      Object.assign(this, { status, statusText, ok: status < 300, redirected: false, type: "default", url: "" });
    }
    static json(data, init = {}) {
      const response = new Response(JSON.stringify(data), init);
      if (!new Headers(init.headers).has("content-type")) response.headers.set("content-type", "application/json");
      return response;
    }
    static error() {
      return Object.assign(new Response(null), { status: 0, ok: false, type: "error" });
    }
    static redirect(url, status = 302) {
      return new Response(null, { status, headers: { location: new URL(url).href } });
    }
    clone() {
      const copy = new Response(peek(this), this);
      return copy;
    }
  }
  K.tag(Response);

  const absent = (name) => {
    const Class = { [name]: class {
      constructor() {
        throw K.noNetwork(name);
      }
    } }[name];
    return Class;
  };

  K.expose({
    structuredClone(value, { transfer = [] } = {}) {
      if (arguments.length === 0) throw new TypeError("The \"value\" argument must be specified");
      return clone(value, new Map(), transfer);
    },
    Headers, FormData, Request, Response,
    WebSocket: absent("WebSocket"), XMLHttpRequest: absent("XMLHttpRequest"), EventSource: absent("EventSource"),
    navigator: { userAgent: "Cofferdam", hardwareConcurrency: 1, language: "en-US", languages: ["en-US"], platform: "wasi", onLine: false },
    global: globalThis,
  });
})();
