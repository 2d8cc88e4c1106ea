// URL and URLSearchParams, after the WHATWG URL standard; hosts are ASCII or percent-decoded lower case (no Punycode).
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const special = { "http:": "80", "https:": "443", "ws:": "80", "wss:": "443", "ftp:": "21", "file:": "" };
  const isSpecial = (protocol) => Object.hasOwn(special, protocol);

  const escape = (text, keep) => {
    let out = "";
    for (const c of text.toWellFormed()) {
      if (c >= "!" && c <= "~" && !keep.includes(c)) out += c;
      else for (const byte of K.encode(c)) out += `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
    }
    return out;
  };
  // The percent-encode sets of the standard, less the characters that are always encoded.
  const sets = { fragment: '"<>`', query: '"#<>', specialQuery: "\"#<>'", path: '"#<>?`{}^', userinfo: '"#<>?`{}/:;=@[\\]^|' };
  const unescape = (text) => {
    if (!text.includes("%")) return text;
    const from = K.encode(text);
    const bytes = new Uint8Array(from.length);
    let length = 0;
    for (let i = 0; i < from.length; i++) {
      const hex = from[i] === 37 ? String.fromCharCode(from[i + 1] ?? 0, from[i + 2] ?? 0) : "";
      const coded = /^[0-9a-f]{2}$/i.test(hex);
      bytes[length++] = coded ? parseInt(hex, 16) : from[i];
      if (coded) i += 2;
    }
    return K.native.decodeUtf8(bytes, 0, length, false);
  };

  const fail = (input, base) => {
    const error = K.coded(TypeError, "ERR_INVALID_URL", "Invalid URL");
    error.input = input;
    if (base !== undefined) error.base = base;
    throw error;
  };

  const parseIPv4 = (host) => {
    const parts = host.replace(/\.$/, "").split(".");
    if (!/^(?:\d+|0x[0-9a-f]*)$/i.test(parts.at(-1))) return host;
    const numbers = parts.map((part) => /^0x[0-9a-f]*$/i.test(part) ? parseInt(part, 16) || 0 : /^0[0-7]*$/.test(part) ? parseInt(part, 8) || 0 : /^\d+$/.test(part) ? Number(part) : NaN);
    if (parts.length > 4 || numbers.some((n, i) => !(n <= 255 || i === numbers.length - 1)) ||
      !(numbers.at(-1) < 256 ** (5 - numbers.length))) return undefined;
    let address = numbers.pop();
    numbers.forEach((n, i) => address += n * 256 ** (3 - i));
    return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
  };
  const parseIPv6 = (text) => {
    const tail = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
    if (tail) text = `${tail[1]}${(tail[2] * 256 + +tail[3]).toString(16)}:${(tail[4] * 256 + +tail[5]).toString(16)}`;
    const halves = text.split("::");
    if (halves.length > 2) return undefined;
    const words = halves.map((half) => half === "" ? [] : half.split(":"));
    const missing = 8 - words.flat().length;
    if (halves.length === 1 ? missing !== 0 : missing < 1) return undefined;
    const all = halves.length === 1 ? words[0] : [...words[0], ...Array(missing).fill("0"), ...words[1]];
    if (!all.every((word) => /^[0-9a-f]{1,4}$/i.test(word))) return undefined;
    const short = all.map((word) => parseInt(word, 16).toString(16));
    let best = [0, 0];
    for (let i = 0; i < 8; i++) {
      let n = 0;
      while (short[i + n] === "0") n++;
      if (n > best[1]) best = [i, n];
    }
    if (best[1] < 2) return `[${short.join(":")}]`;
    return `[${short.slice(0, best[0]).join(":")}::${short.slice(best[0] + best[1]).join(":")}]`;
  };
  const parseHost = (host, protocol) => {
    if (host.startsWith("[")) return host.endsWith("]") ? parseIPv6(host.slice(1, -1)) : undefined;
    if (!isSpecial(protocol)) return /[\s#/<>?@[\\\]^|]/.test(host) ? undefined : escape(host, "");
    const decoded = unescape(host).toLowerCase();
    if (decoded === "" || /[\0-\x20"#%/:<>?@[\\\]^`{|}\x7f]/.test(decoded)) return undefined;
    return parseIPv4(decoded);
  };

  const foldPath = (path, protocol) => {
    const folder = isSpecial(protocol) ? path.replaceAll("\\", "/") : path;
    const kept = [];
    const parts = folder.split("/").slice(1);
    parts.forEach((part, i) => {
      const last = i === parts.length - 1;
      if (/^(?:\.|%2e){2}$/i.test(part)) {
        kept.pop();
        if (last) kept.push("");
      } else if (/^(?:\.|%2e)$/i.test(part)) {
        if (last) kept.push("");
      } else {
        kept.push(escape(part, sets.path));
      }
    });
    return `/${kept.join("/")}`;
  };

  const parse = (input, base) => {
    const text = input.replace(/^[\0-\x20]+|[\0-\x20]+$/g, "").replace(/[\t\n\r]/g, "");
    const [, scheme, afterScheme] = /^(?:([a-z][a-z0-9+.-]*):)?(.*)$/is.exec(text);
    const [, beforeHash, hash] = /^([^#]*)(?:#(.*))?$/s.exec(afterScheme);
    const [, body, query] = /^([^?]*)(?:\?(.*))?$/s.exec(beforeHash);
    const url = { protocol: scheme ? `${scheme.toLowerCase()}:` : "", username: "", password: "", host: null, port: "", path: "", query: null, hash: null };
    const set = () => isSpecial(url.protocol) ? sets.specialQuery : sets.query;
    const relative = !scheme || base && isSpecial(url.protocol) && url.protocol === base.protocol && !/^[/\\]/.test(body);
    if (relative) {
      if (!base) return undefined;
      if (base.opaque && !(body === "" && query === undefined && hash !== undefined)) return undefined;
      url.protocol = base.protocol;
    }
    const slashes = isSpecial(url.protocol) ? /^[/\\]{2}/ : /^\/\//;
    let rest = body;
    if (slashes.test(rest) || scheme && isSpecial(url.protocol) && !relative && url.protocol !== "file:") {
      rest = rest.replace(isSpecial(url.protocol) && url.protocol !== "file:" ? /^[/\\]*/ : slashes, "");
      const end = rest.search(isSpecial(url.protocol) ? /[/\\]/ : /\//);
      const authority = end < 0 ? rest : rest.slice(0, end);
      rest = end < 0 ? "" : rest.slice(end);
      const [, credentials, hostPort] = /^(?:(.*)@)?(.*)$/s.exec(authority);
      if (credentials !== undefined) {
        const colon = credentials.indexOf(":");
        url.username = escape(colon < 0 ? credentials : credentials.slice(0, colon), sets.userinfo);
        url.password = colon < 0 ? "" : escape(credentials.slice(colon + 1), sets.userinfo);
      }
      const match = /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(hostPort);
      if (!match) return undefined;
      if (match[1] === "" && url.protocol === "file:" || match[1] === "" && !isSpecial(url.protocol)) url.host = "";
      else url.host = parseHost(match[1], url.protocol);
      if (url.host === undefined) return undefined;
      if (url.protocol === "file:" && url.host === "localhost") url.host = "";
      if (match[2]) {
        if (Number(match[2]) > 65535) return undefined;
        url.port = String(Number(match[2])) === special[url.protocol] ? "" : String(Number(match[2]));
      }
      url.path = rest === "" ? isSpecial(url.protocol) ? "/" : "" : foldPath(rest, url.protocol);
    } else if (relative) {
      Object.assign(url, { username: base.username, password: base.password, host: base.host, port: base.port, opaque: base.opaque });
      if (rest === "") {
        url.path = base.path;
        if (query === undefined) url.query = base.query;
      } else {
        const start = /^[/\\]/.test(rest) && (rest[0] === "/" || isSpecial(url.protocol));
        url.path = foldPath(start ? rest : `${base.path.replace(/[^/]*$/, "") || "/"}${rest}`, url.protocol);
      }
    } else if (url.protocol === "file:") {
      url.host = "";
      url.path = foldPath(/^[/\\]/.test(rest) ? rest : `/${rest}`, url.protocol);
    } else if (rest.startsWith("/")) {
      url.path = foldPath(rest, url.protocol);
    } else {
      url.opaque = true;
      url.path = escape(rest, "").replaceAll("%20", " ").replace(/ +$/, (m) => "%20".repeat(m.length));
    }
    if (query !== undefined) url.query = escape(query, set());
    if (hash !== undefined) url.hash = escape(hash, sets.fragment);
    return url;
  };

  const write = (url) => {
    let text = url.protocol;
    if (url.host !== null) {
      text += "//";
      if (url.username || url.password) text += `${url.username}${url.password ? `:${url.password}` : ""}@`;
      text += url.host + (url.port ? `:${url.port}` : "");
    }
    return text + url.path + (url.query !== null ? `?${url.query}` : "") + (url.hash !== null ? `#${url.hash}` : "");
  };

  const formEscape = (text) => escape(text, "!\"#$%&'()+,/:;<=>?@[\\]^`{|}~").replaceAll("%20", "+");
  const formParse = (text) => text === "" ? [] : text.split("&").filter(Boolean).map((pair) => {
    const at = pair.indexOf("=");
    return [at < 0 ? pair : pair.slice(0, at), at < 0 ? "" : pair.slice(at + 1)].map((s) => unescape(s.replaceAll("+", " ")));
  });

  class URLSearchParams {
    #list = [];
    #changed;
    constructor(init = "", changed) {
      this.#changed = typeof changed === "function" ? changed : undefined;
      if (typeof init === "object" && init !== null) {
        const pairs = typeof init[Symbol.iterator] === "function" ? init : Object.entries(init);
        for (const pair of pairs) {
          const [name, value, ...more] = pair;
          if (value === undefined || more.length) throw K.coded(TypeError, "ERR_INVALID_TUPLE", "Each query pair must be an iterable [name, value] tuple");
          this.#list.push([String(name), String(value)]);
        }
      } else {
        this.#list = formParse(String(init).replace(/^\?/, ""));
      }
    }
    #update() {
      this.#changed?.(this.toString());
    }
    get size() {
      return this.#list.length;
    }
    append(name, value) {
      this.#list.push([String(name), String(value)]);
      this.#update();
    }
    delete(name, value) {
      this.#list = this.#list.filter(([n, v]) => n !== String(name) || value !== undefined && v !== String(value));
      this.#update();
    }
    get(name) {
      return this.#list.find(([n]) => n === String(name))?.[1] ?? null;
    }
    getAll(name) {
      return this.#list.filter(([n]) => n === String(name)).map(([, v]) => v);
    }
    has(name, value) {
      return this.#list.some(([n, v]) => n === String(name) && (value === undefined || v === String(value)));
    }
    set(name, value) {
      const at = this.#list.findIndex(([n]) => n === String(name));
      if (at < 0) return this.append(name, value);
      this.#list = this.#list.filter(([n], i) => i <= at || n !== String(name));
      this.#list[at] = [String(name), String(value)];
      this.#update();
    }
    sort() {
      this.#list.sort(([a], [b]) => a < b ? -1 : a > b ? 1 : 0);
      this.#update();
    }
    forEach(callback, self) {
      for (const [name, value] of this.#list) callback.call(self, value, name, this);
    }
    *entries() {
      for (const [name, value] of this.#list) yield [name, value];
    }
    *keys() {
      for (const [name] of this.#list) yield name;
    }
    *values() {
      for (const [, value] of this.#list) yield value;
    }
    toString() {
      return this.#list.map(([name, value]) => `${formEscape(name)}=${formEscape(value)}`).join("&");
    }
    [Symbol.iterator]() {
      return this.entries();
    }
    [K.inspect.custom](depth, options) {
      if (this.#list.length === 0) return "URLSearchParams {}";
      return `URLSearchParams { ${this.#list.map(([n, v]) => `${K.quote(n)} => ${K.quote(v)}`).join(", ")} }`;
    }
  }
  K.tag(URLSearchParams);

  class URL {
    #url;
    #params;
    constructor(input, base) {
      const from = base === undefined ? undefined : parse(String(base));
      if (base !== undefined && !from) fail(String(input), String(base));
      this.#url = parse(String(input), from) ?? fail(String(input), base === undefined ? undefined : String(base));
    }
    static canParse(input, base) {
      return URL.parse(input, base) !== null;
    }
    static parse(input, base) {
      try {
        return new URL(input, base);
      } catch {
        return null;
      }
    }
    get href() {
      return write(this.#url);
    }
    set href(value) {
      this.#url = parse(String(value)) ?? fail(String(value));
      this.#params = undefined;
    }
    get origin() {
      const { protocol, path } = this.#url;
      if (protocol === "blob:") return URL.parse(path)?.origin ?? "null";
      return isSpecial(protocol) && protocol !== "file:" ? `${protocol}//${this.host}` : "null";
    }
    get protocol() {
      return this.#url.protocol;
    }
    set protocol(value) {
      const protocol = `${String(value).replace(/:.*$/s, "").toLowerCase()}:`;
      if (/^[a-z][a-z0-9+.-]*:$/.test(protocol) && isSpecial(protocol) === isSpecial(this.#url.protocol)) {
        this.#url.protocol = protocol;
        if (this.#url.port === special[protocol]) this.#url.port = "";
      }
    }
    get username() {
      return this.#url.username;
    }
    set username(value) {
      if (this.#url.host) this.#url.username = escape(String(value), sets.userinfo);
    }
    get password() {
      return this.#url.password;
    }
    set password(value) {
      if (this.#url.host) this.#url.password = escape(String(value), sets.userinfo);
    }
    get host() {
      return (this.#url.host ?? "") + (this.#url.port ? `:${this.#url.port}` : "");
    }
    set host(value) {
      const changed = parse(`${this.#url.protocol}//${value}`);
      if (changed && !this.#url.opaque) {
        this.#url.host = changed.host;
        if (/:\d/.test(value)) this.#url.port = changed.port;
      }
    }
    get hostname() {
      return this.#url.host ?? "";
    }
    set hostname(value) {
      const host = this.#url.opaque ? undefined : parseHost(String(value), this.#url.protocol);
      if (host !== undefined) this.#url.host = host;
    }
    get port() {
      return this.#url.port;
    }
    set port(value) {
      const digits = /^\d*/.exec(String(value))[0];
      if (this.#url.host && Number(digits) <= 65535) this.#url.port = digits === "" || digits === special[this.#url.protocol] ? "" : String(Number(digits));
    }
    get pathname() {
      return this.#url.path;
    }
    set pathname(value) {
      if (!this.#url.opaque) this.#url.path = foldPath(/^[/\\]/.test(value) ? String(value) : `/${value}`, this.#url.protocol);
    }
    get search() {
      return this.#url.query ? `?${this.#url.query}` : "";
    }
    set search(value) {
      const text = String(value).replace(/^\?/, "");
      this.#url.query = text === "" ? null : escape(text, isSpecial(this.#url.protocol) ? sets.specialQuery : sets.query);
      this.#params = undefined;
    }
    get searchParams() {
      return this.#params ??= new URLSearchParams(this.#url.query ?? "", (text) => {
        this.#url.query = text === "" ? null : text;
      });
    }
    get hash() {
      return this.#url.hash ? `#${this.#url.hash}` : "";
    }
    set hash(value) {
      const text = String(value).replace(/^#/, "");
      this.#url.hash = text === "" ? null : escape(text, sets.fragment);
    }
    toString() {
      return this.href;
    }
    toJSON() {
      return this.href;
    }
    [K.inspect.custom](depth, options) {
      const shown = {};
      for (const name of ["href", "origin", "protocol", "username", "password", "host", "hostname", "port", "pathname", "search", "searchParams", "hash"]) {
        shown[name] = this[name];
      }
      return `URL ${K.inspect(shown, options)}`;
    }
  }
  K.tag(URL);
  for (const Class of [URL, URLSearchParams]) {
    for (const name of Object.getOwnPropertyNames(Class.prototype)) {
      if (name !== "constructor") Object.defineProperty(Class.prototype, name, { enumerable: true });
    }
  }
  K.fileURLToPath = (url) => {
    const parsed = typeof url === "string" ? new URL(url) : url;
    if (parsed.protocol !== "file:") throw K.coded(TypeError, "ERR_INVALID_URL_SCHEME", "The URL must be of scheme file");
    return decodeURIComponent(parsed.pathname);
  };
  K.expose({ URL, URLSearchParams });
})();
