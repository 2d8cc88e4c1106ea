// fetch and deployed tools, as far as they are granted: every request goes through the door, and the host decides.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { door } = K.native;
  const { parse, stringify } = JSON;
  const MOST_REDIRECTS = 20;

  const ask = (request) => parse(door(stringify(request)));

  const refusal = (what, { refused, message }) => {
    if (message.startsWith("no network")) return K.noNetwork(what);
    const error = new TypeError(`${what} failed: ${message}`);
    const code = { policy: "EACCES", "private-address": "EACCES", token: "EACCES", dns: "ENOTFOUND", timeout: "ETIMEDOUT",
      connect: "ECONNREFUSED", "too-large": "EMSGSIZE" }[refused] ?? "EIO";
    error.cause = K.coded(Error, code, message);
    return error;
  };

  // A URL in the text of an error, cut where it is long.
  const shown = (url) => K.quote(url.length > 300 ? `${url.slice(0, 300)}…` : url);

  const exchange = (method, url, headers, bytes) => {
    const what = `fetch(${shown(url)})`;
    const request = { __proto__: null, op: "http", method, url, headers: [...headers] };
    if (bytes.length > 0) request.body = bytes.toBase64();
    let answer;
    try {
      answer = ask(request);
    } catch (error) {
      throw Object.assign(new TypeError(`${what} failed: ${error.message}`), { cause: error });
    }
    if (answer.refused !== undefined) throw refusal(what, answer);
    return answer;
  };

  const dropped = /^(?:host|connection|keep-alive|proxy-connection|transfer-encoding|te|trailer|upgrade|content-length|expect)$/;

  const fetch = async (input, init = {}) => {
    const request = new Request(input, init);
    const redirect = init.redirect ?? "follow";
    let { url, method } = request;
    if (!/^https?:/.test(url)) throw K.noNetwork(`fetch(${shown(url)}): only http and https can be granted; it`);
    const headers = new Headers([...request.headers].filter(([name]) => !dropped.test(name)));
    if (!headers.has("accept")) headers.set("accept", "*/*");
    let bytes = await request.bytes();
    for (let count = 0; ; count++) {
      if (request.signal.aborted) throw request.signal.reason;
      const answer = exchange(method, url.replace(/#.*$/, ""), headers, bytes);
      const location = answer.headers.find(([name]) => name === "location")?.[1];
      const redirects = [301, 302, 303, 307, 308].includes(answer.status) && location !== undefined;
      if (redirects && redirect === "error") throw new TypeError(`fetch(${shown(url)}) failed: it is a redirect`);
      if (!redirects || redirect === "manual") {
        const empty = [101, 204, 205, 304].includes(answer.status) || method === "HEAD";
        const response = new Response(empty ? null : Uint8Array.fromBase64(answer.body), {
          status: answer.status, headers: answer.headers,
        });
        return Object.assign(response, { url, redirected: count > 0, type: "basic" });
      }
      if (count === MOST_REDIRECTS) throw new TypeError(`fetch(${shown(request.url)}) failed: too many redirects`);
      const next = new URL(location, url);
      if (next.origin !== new URL(url).origin) {
        for (const name of ["authorization", "cookie", "proxy-authorization"]) headers.delete(name);
      }
      if (answer.status === 303 ? method !== "HEAD" : answer.status < 303 && method === "POST") {
        method = "GET";
        bytes = new Uint8Array();
        for (const name of ["content-type", "content-encoding", "content-language"]) headers.delete(name);
      }
      url = next.href;
    }
  };

  class ToolError extends Error {}
  Object.defineProperty(ToolError.prototype, "name", { value: "ToolError", writable: true, configurable: true });

  const camel = (name) => name.replace(/[^\p{ID_Continue}]+(.)?/gu, (_, letter) => letter?.toUpperCase() ?? "");

  // One function for each granted tool, of one object with the arguments; JavaScript's undefined is an argument not given.
  const granted = () => {
    const answer = ask({ __proto__: null, op: "tools" });
    if (answer.refused !== undefined) throw K.coded(Error, "ERR_NO_TOOLS", answer.message);
    const tools = {};
    for (const { name, tool, function: { name: own, description } } of answer) {
      const call = async (values = {}) => {
        const answer = ask({ __proto__: null, op: "tool", tool, function: own, arguments: values });
        if (answer.refused !== undefined) throw new ToolError(answer.message);
        if (answer.status !== "ok") throw new ToolError(`${name}: ${answer.error?.message ?? answer.status}`);
        return answer.result;
      };
      Object.defineProperty(call, "name", { value: camel(name) });
      tools[camel(name)] = Object.assign(call, { description });
    }
    return tools;
  };

  K.builtins.host = {
    ToolError,
    get tools() {
      return granted();
    },
  };
  Object.defineProperty(K.builtins, "host/tools", { enumerable: true, get: granted });
  K.expose({ fetch });
})();
