// console, after Node's: log, info and debug to stdout, the rest to stderr.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { print, clock } = K.native;
  let indent = "";
  let counts = new Map();
  let timers = new Map();

  const line = (fd, text) => {
    if (indent !== "") text = indent + text.replaceAll("\n", `\n${indent}`);
    print(fd, `${text}\n`);
  };

  const out = (...args) => line(1, args.length === 0 ? "" : K.format(...args));
  const err = (...args) => line(2, args.length === 0 ? "" : K.format(...args));

  const duration = (label, more) => {
    const start = timers.get(label);
    if (start === undefined) {
      err(`Warning: No such label '${label}' for console.time()`);
      return;
    }
    const ms = (clock() - start) / 1e6;
    const text = ms >= 1000 ? `${(ms / 1000).toFixed(3)}s` : `${Number(ms.toFixed(3))}ms`;
    out(`${label}: ${text}`, ...more);
  };

  // East Asian wide characters and emoji take two columns.
  const width = (text) => {
    let n = 0;
    for (const c of text) {
      const code = c.codePointAt(0);
      n += code >= 0x1100 && (code <= 0x115f || code >= 0x2e80 && code <= 0xa4cf || code >= 0xac00 && code <= 0xd7a3 ||
        code >= 0xf900 && code <= 0xfaff || code >= 0xfe30 && code <= 0xfe6f || code >= 0xff00 && code <= 0xff60 ||
        code >= 0x1f300 && code <= 0x1faff || code >= 0x20000 && code <= 0x3fffd) ? 2 : 1;
    }
    return n;
  };

  const drawTable = (head, rows) => {
    const widths = head.map((title, i) => rows.reduce((most, row) => Math.max(most, width(row[i])), width(title)) + 2);
    const border = (left, middle, right) => left + widths.map((n) => "─".repeat(n)).join(middle) + right;
    const cells = (row) => `│${row.map((cell, i) => ` ${cell}${" ".repeat(widths[i] - width(cell) - 1)}`).join("│")}│`;
    return [border("┌", "┬", "┐"), cells(head), border("├", "┼", "┤"), ...rows.map(cells), border("└", "┴", "┘")].join("\n");
  };

  const table = (data, columns) => {
    if (data === null || typeof data !== "object") return out(data);
    const show = (value) => K.inspect(value, { depth: typeof value === "object" && value !== null && !Array.isArray(value) && Object.keys(value).length > 2 ? -1 : 0,
      maxArrayLength: 3, breakLength: Infinity });
    const isMap = data instanceof Map;
    const isIterable = isMap || data instanceof Set;
    const entries = isMap ? [...data].map(([k, v], i) => [String(i), v, show(k)])
      : data instanceof Set ? [...data].map((v, i) => [String(i), v]) : Object.keys(data).map((key) => [key, data[key]]);
    const names = [];
    let plain = false;
    for (const [, row] of entries) {
      if (row !== null && typeof row === "object" && !(isMap)) {
        for (const key of columns ?? Object.keys(row)) if (!names.includes(key)) names.push(key);
      } else plain = true;
    }
    if (columns) names.splice(0, names.length, ...columns);
    const head = [isIterable ? "(iteration index)" : "(index)", ...(isMap ? ["Key"] : []), ...names, ...(plain ? ["Values"] : [])];
    const rows = entries.map(([index, row, key]) => {
      const isObject = row !== null && typeof row === "object" && !isMap;
      const cells = names.map((name) => isObject && Object.hasOwn(row, name) ? show(row[name]) : "");
      return [index, ...(isMap ? [key] : []), ...cells, ...(plain ? [isObject ? "" : show(row)] : [])];
    });
    line(1, drawTable(head, rows));
  };

  const console = {
    log: out, info: out, debug: out, warn: err, error: err,
    trace(...args) {
      const holder = new Error();
      const frames = K.frames(holder);
      err(`Trace${args.length ? `: ${K.format(...args)}` : ""}${frames.map((f) => `\n    at ${f}`).join("")}`);
    },
    assert(ok, ...args) {
      if (ok) return;
      if (typeof args[0] === "string") args[0] = `Assertion failed: ${args[0]}`;
      else args.unshift("Assertion failed");
      err(...args);
    },
    dir: (value, options) => out(K.inspect(value, { customInspect: false, ...options })),
    dirxml: out,
    table,
    group(...args) {
      if (args.length) out(...args);
      indent += "  ";
    },
    groupEnd() {
      indent = indent.slice(2);
    },
    count(label = "default") {
      counts.set(label, (counts.get(label) ?? 0) + 1);
      out(`${label}: ${counts.get(label)}`);
    },
    countReset: (label = "default") => void counts.delete(label),
    time: (label = "default") => void timers.set(label, clock()),
    timeLog: (label = "default", ...more) => duration(label, more),
    timeEnd(label = "default", ...more) {
      duration(label, more);
      timers.delete(label);
    },
    clear() {},
  };
  console.groupCollapsed = console.group;
  K.expose({ console });
  Object.defineProperty(console, Symbol.toStringTag, { value: "console", configurable: true });

  K.resetConsole = () => {
    if (indent !== "") indent = "";
  };
})();
