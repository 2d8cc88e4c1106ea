// util.inspect and util.format, after Node's: the same text for the same value wherever that is within reach.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { kind, promise, proxy } = K.native;
  const custom = Symbol.for("nodejs.util.inspect.custom");
  const defaults = {
    depth: 2, maxArrayLength: 100, maxStringLength: 10000, breakLength: 80, compact: 3, sorted: false, getters: false,
    showHidden: false, colors: false,
  };
  const { getOwnPropertyDescriptor, getPrototypeOf } = Object;
  const hasOwn = Object.hasOwn;
  const toText = Function.prototype.toString;

  const escapes = { "\b": "\\b", "\t": "\\t", "\n": "\\n", "\f": "\\f", "\r": "\\r", "\\": "\\\\", "\v": "\\x0B" };
  const quote = (text) => {
    let mark = "'";
    if (text.includes("'")) mark = !text.includes('"') ? '"' : !text.includes("`") && !text.includes("${") ? "`" : "'";
    const body = text.replace(/[\x00-\x1f\\\x7f-\x9f]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g,
      (c) => escapes[c] ?? (c < "\u0100" ? `\\x${c.charCodeAt(0).toString(16).toUpperCase().padStart(2, "0")}`
        : `\\u${c.charCodeAt(0).toString(16).toUpperCase()}`));
    return mark + (mark === "'" ? body.replaceAll("'", "\\'") : body) + mark;
  };

  const formatString = (ctx, text) => {
    let rest = "";
    if (text.length > ctx.maxStringLength) {
      const more = text.length - ctx.maxStringLength;
      text = text.slice(0, ctx.maxStringLength);
      rest = `... ${more} more character${more > 1 ? "s" : ""}`;
    }
    if (ctx.compact !== true && text.length > 16 && text.length > ctx.breakLength - ctx.indentation - 4) {
      const lines = text.split(/(?<=\n)/);
      return lines.map(quote).join(` +\n${" ".repeat(ctx.indentation + 2)}`) + rest;
    }
    return quote(text) + rest;
  };

  const formatPrimitive = (ctx, value) => {
    switch (typeof value) {
      case "string": return formatString(ctx, value);
      case "number": return Object.is(value, -0) ? "-0" : `${value}`;
      case "bigint": return `${value}n`;
      default: return String(value);
    }
  };

  const className = (value) => {
    for (let at = value; at; at = getPrototypeOf(at)) {
      const descriptor = getOwnPropertyDescriptor(at, "constructor");
      if (descriptor && typeof descriptor.value === "function" && descriptor.value.name !== "") return descriptor.value.name;
    }
    return null;
  };

  // `Foo`, `Foo(3)`, `Foo [tag]`, `[Foo: null prototype]`
  const prefix = (value, name, fallback, size = "") => {
    let tag = "";
    try {
      const own = value[Symbol.toStringTag];
      if (typeof own === "string" && own !== "" && own !== name) tag = `[${own}] `;
    } catch { /* a getter of the user's: no tag */ }
    return name === null ? `[${fallback}${size}: null prototype] ${tag}` : `${name}${size} ${tag}`;
  };

  const formatKey = (key) => typeof key === "symbol" ? `[${String(key)}]`
    : /^[a-zA-Z_][a-zA-Z_0-9]*$/.test(key) ? key : quote(key);

  const formatProperty = (ctx, value, key, depth, inArray) => {
    const descriptor = getOwnPropertyDescriptor(value, key) ?? { value: value[key], enumerable: true };
    let text;
    if (descriptor.get || descriptor.set) {
      text = descriptor.get ? descriptor.set ? "[Getter/Setter]" : "[Getter]" : "[Setter]";
      if (ctx.getters && descriptor.get) text = `[Getter: ${formatValue(ctx, value[key], depth)}]`;
    } else {
      const step = ctx.compact !== true || inArray ? 2 : 3;
      ctx.indentation += step;
      text = formatValue(ctx, descriptor.value, depth);
      ctx.indentation -= step;
    }
    if (inArray) return text;
    const name = descriptor.enumerable === false ? `[${typeof key === "symbol" ? String(key) : key}]` : formatKey(key);
    return `${name}: ${text}`;
  };

  const more = (count) => `... ${count} more item${count > 1 ? "s" : ""}`;

  const formatArray = (ctx, value, depth) => {
    const output = [];
    const most = Math.min(Math.max(0, ctx.maxArrayLength), value.length);
    let i = 0;
    for (; i < value.length && output.length < most; i++) {
      if (hasOwn(value, i)) {
        output.push(formatProperty(ctx, value, i, depth, true));
      } else {
        const from = i;
        while (i + 1 < value.length && !hasOwn(value, i + 1)) i++;
        const holes = i - from + 1;
        output.push(`<${holes} empty item${holes > 1 ? "s" : ""}>`);
      }
    }
    if (i < value.length) output.push(more(value.length - i));
    return output;
  };

  const formatMany = (ctx, items, size, each) => {
    const output = [];
    const most = Math.max(0, ctx.maxArrayLength);
    ctx.indentation += 2;
    for (const item of items) {
      if (output.length >= most) break;
      output.push(each(item));
    }
    ctx.indentation -= 2;
    if (size > output.length) output.push(more(size - output.length));
    return output;
  };

  const formatFunction = (ctx, value, type) => {
    const source = toText.call(value);
    if (source.startsWith("class") && source.endsWith("}")) {
      const name = hasOwn(value, "name") && value.name !== "" ? value.name : "(anonymous)";
      const parent = getPrototypeOf(value);
      return `[class ${name}${parent?.name ? ` extends ${parent.name}` : parent === null ? " extends null" : ""}]`;
    }
    const name = typeof value.name === "string" && value.name !== "" ? `: ${value.name}` : " (anonymous)";
    return `[${type}${name}]`;
  };

  const formatError = (ctx, error, keys) => {
    const name = error.name === undefined ? "Error" : String(error.name);
    let stack = error.stack;
    if (typeof stack !== "string" || stack === "") stack = Error.prototype.toString.call(error);
    const constructor = className(error);
    if (constructor && name === "Error" && constructor !== "Error" && stack.startsWith("Error")) {
      stack = constructor + stack.slice(5);
    }
    for (const key of ["name", "message", "stack"]) {
      const at = keys.indexOf(key);
      if (at >= 0 && stack.includes(String(error[key]))) keys.splice(at, 1);
    }
    if (hasOwn(error, "cause") && !keys.includes("cause")) keys.push("cause");
    if (Array.isArray(error.errors) && hasOwn(error, "errors") && !keys.includes("errors")) keys.push("errors");
    const at = stack.indexOf("\n    at");
    if (at < 0 && error.message !== undefined && !stack.startsWith("[")) stack = `[${stack}]`;
    return ctx.indentation ? stack.replaceAll("\n", `\n${" ".repeat(ctx.indentation)}`) : stack;
  };

  // Rows of short entries below each other (Node's groupArrayElements).
  const group = (ctx, output, value) => {
    let total = 0;
    let longest = 0;
    const count = ctx.extra ? output.length - 1 : output.length;
    for (let i = 0; i < count; i++) {
      total += output[i].length + 2;
      longest = Math.max(longest, output[i].length);
    }
    const width = longest + 2;
    if (width * 3 + ctx.indentation >= ctx.breakLength || !(total / width > 5 || longest <= 6)) return output;
    const bias = Math.sqrt(width - total / output.length);
    const biased = Math.max(width - 3 - bias, 1);
    const columns = Math.min(Math.round(Math.sqrt(2.5 * biased * count) / biased),
      Math.floor((ctx.breakLength - ctx.indentation) / width), ctx.compact * 4, 15);
    if (columns <= 1) return output;
    const widths = [];
    for (let i = 0; i < columns; i++) {
      let most = 0;
      for (let j = i; j < count; j += columns) most = Math.max(most, output[j].length);
      widths.push(most + 2);
    }
    const pad = value !== undefined && value.every?.((item) => typeof item === "number" || typeof item === "bigint")
      ? "padStart" : "padEnd";
    const rows = [];
    for (let i = 0; i < count; i += columns) {
      const end = Math.min(i + columns, count);
      let row = "";
      for (let j = i; j < end - 1; j++) row += `${output[j]}, `[pad](widths[j - i]);
      row += pad === "padStart" ? output[end - 1].padStart(widths[end - 1 - i] - 2) : output[end - 1];
      rows.push(row);
    }
    if (ctx.extra) rows.push(output[count]);
    return rows;
  };

  const assemble = (ctx, output, base, open, close, isArray, depth, value) => {
    const lead = base ? `${base} ` : "";
    if (ctx.compact === true) return `${lead}${open} ${output.join(", ")} ${close}`;
    const entries = output.length;
    if (isArray && entries > 6) {
      ctx.extra = entries > ctx.maxArrayLength;
      output = group(ctx, output, value);
    }
    if (ctx.compact !== false && ctx.currentDepth - depth < ctx.compact && entries === output.length) {
      let length = output.length + (output.length + ctx.indentation + open.length + base.length + 10);
      for (const entry of output) length += entry.length;
      if (length <= ctx.breakLength && !base.includes("\n")) {
        const joined = output.join(", ");
        if (!joined.includes("\n")) return `${lead}${open} ${joined} ${close}`;
      }
    }
    const indent = `\n${" ".repeat(ctx.indentation)}`;
    return `${lead}${open}${indent}  ${output.join(`,${indent}  `)}${indent}${close}`;
  };

  const hex = (buffer) => {
    const bytes = new Uint8Array(buffer, 0, Math.min(50, buffer.byteLength));
    const text = Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");
    return `<${text}${buffer.byteLength > 50 ? ` ... ${buffer.byteLength - 50} more byte${buffer.byteLength > 51 ? "s" : ""}` : ""}>`;
  };

  const boxes = { Number: "number", String: "string", Boolean: "boolean", Symbol: "symbol", BigInt: "bigint" };
  const functions = ["Function", "AsyncFunction", "GeneratorFunction", "AsyncGeneratorFunction"];

  // [base, open, close, entries or a function that makes them, is it an array] of an object.
  const shape = (ctx, value, type, name, keys, depth) => {
    const next = depth + 1;
    const named = (fallback, size) => prefix(value, name, fallback, size);
    if (Array.isArray(value)) {
      const lead = name === "Array" && !value[Symbol.toStringTag] ? "" : named("Array", `(${value.length})`);
      return ["", `${lead}[`, "]", () => formatArray(ctx, value, next), true];
    }
    if (ArrayBuffer.isView(value) && type !== "DataView") {
      return ["", `${named(type, `(${value.length})`)}[`, "]", () => formatArray(ctx, value, next), true];
    }
    switch (type) {
      case "Set": return ["", `${named("Set", `(${value.size})`)}{`, "}", () =>
        formatMany(ctx, Set.prototype.values.call(value), value.size, (item) => formatValue(ctx, item, next))];
      case "Map": return ["", `${named("Map", `(${value.size})`)}{`, "}", () =>
        formatMany(ctx, Map.prototype.entries.call(value), value.size,
          ([k, v]) => `${formatValue(ctx, k, next)} => ${formatValue(ctx, v, next)}`)];
      case "Promise": return ["", `${named("Promise")}{`, "}", () => {
        const [state, result] = promise(value);
        return [state === 0 ? "<pending>" : state === 1 ? formatValue(ctx, result, next) : `<rejected> ${formatValue(ctx, result, next)}`];
      }];
      case "ArrayBuffer": case "SharedArrayBuffer":
        return ["", `${named(type)}{`, "}", () => [`[Uint8Contents]: ${hex(value)}`, `byteLength: ${value.byteLength}`]];
      case "DataView": return ["", `${named("DataView")}{`, "}", () => ["byteLength", "byteOffset", "buffer"].map(
        (key) => `${key}: ${formatValue(ctx, value[key], next)}`)];
      case "WeakSet": case "WeakMap": return ["", `${named(type)}{`, "}", () => ["<items unknown>"]];
      case "WeakRef": return ["", `${named("WeakRef")}{`, "}", () => [formatValue(ctx, value.deref(), next)]];
      case "Arguments": return ["", "[Arguments] [", "]", () => formatArray(ctx, value, next), true];
      case "Date": {
        const time = Date.prototype.getTime.call(value);
        return [Number.isNaN(time) ? "Invalid Date" : Date.prototype.toISOString.call(value)];
      }
      case "RegExp": return [RegExp.prototype.toString.call(value)];
      case "Error": return [formatError(ctx, value, keys)];
      case "Module": return ["", "[Module: null prototype] {", "}", () => []];
    }
    if (typeof value === "function") return [formatFunction(ctx, value, functions.includes(type) ? type : "Function")];
    if (boxes[type]) {
      const inner = globalThis[type].prototype.valueOf.call(value);
      if (type === "String") keys.splice(0, keys.filter((key) => typeof key === "string" && /^\d+$/.test(key)).length);
      return [`[${type}: ${formatPrimitive({ ...defaults, indentation: 0 }, inner)}]`];
    }
    if (type === "Map Iterator" || type === "Set Iterator") return ["", `[${type}] {`, "}", () => []];
    const plain = name === "Object" && !(typeof value[Symbol.toStringTag] === "string" && value[Symbol.toStringTag]);
    return ["", `${plain ? "" : value === globalThis ? "Object [global] " : named("Object")}{`, "}", () => []];
  };

  const formatRaw = (ctx, value, depth) => {
    const type = kind(value);
    let keys = ctx.showHidden ? Reflect.ownKeys(value) : Object.keys(value);
    if (!ctx.showHidden) {
      const symbols = Object.getOwnPropertySymbols(value);
      if (symbols.length) keys = keys.concat(symbols.filter((key) => getOwnPropertyDescriptor(value, key)?.enumerable));
    }
    const isList = Array.isArray(value) || ArrayBuffer.isView(value) && type !== "DataView" || type === "Arguments";
    if (isList) keys = keys.filter((key) => typeof key === "symbol" || !/^(?:0|[1-9]\d*)$/.test(key) && (key !== "length" || ctx.showHidden));
    const name = className(value);
    let [base, open = "{", close = "}", entries, isArray = false] = shape(ctx, value, type, name, keys, depth);
    if (base && keys.length === 0) return base;
    if (keys.length === 0 && (value.length === 0 && isList || value.size === 0 || !isList && type === "Object")) {
      return `${open}${close}`;
    }
    if (depth > ctx.depth && ctx.depth !== null) {
      return Array.isArray(value) ? "[Array]" : `[${name ?? "Object: null prototype"}]`;
    }
    ctx.seen.push(value);
    ctx.currentDepth = depth;
    const output = entries ? entries() : [];
    for (const key of keys) output.push(formatProperty(ctx, value, key, depth + 1, false));
    ctx.seen.pop();
    const reference = ctx.circular?.get(value);
    if (reference !== undefined) {
      const mark = `<ref *${reference}>`;
      if (ctx.compact === true || base === "") open = `${mark} ${open}`;
      else base = `${mark} ${base}`;
    }
    if (ctx.sorted) output.sort(ctx.sorted === true ? undefined : ctx.sorted);
    if (output.length === 0) return base || `${open}${close}`;
    const text = assemble(ctx, output, base, open, close, isArray, depth, value);
    ctx.budget -= text.length;
    if (ctx.budget < 0) ctx.depth = -1;
    return text;
  };

  const formatValue = (ctx, value, depth) => {
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return formatPrimitive(ctx, value);
    const target = proxy(value);
    if (target !== undefined) return formatValue(ctx, target, depth);
    const own = value[custom];
    if (typeof own === "function" && own !== K.inspect && value.constructor?.prototype !== value) {
      const left = ctx.depth === null ? null : ctx.depth - depth;
      const result = own.call(value, left, { ...ctx.options, depth: left, stylize: (text) => text }, K.inspect);
      if (result !== value) {
        if (typeof result !== "object" || result === null) return `${result}`.replaceAll("\n", `\n${" ".repeat(ctx.indentation)}`);
        return formatValue(ctx, result, depth);
      }
    }
    if (ctx.seen.includes(value)) {
      ctx.circular ??= new Map();
      if (!ctx.circular.has(value)) ctx.circular.set(value, ctx.circular.size + 1);
      return `[Circular *${ctx.circular.get(value)}]`;
    }
    return formatRaw(ctx, value, depth);
  };

  const makeContext = (options) => ({
    ...defaults, ...options, options: options ?? {}, seen: [], indentation: 0, currentDepth: 0, circular: undefined,
    budget: 128 << 20,
  });

  K.inspect = function inspect(value, options, depth) {
    if (typeof options === "boolean") options = { showHidden: options, depth };
    const ctx = makeContext(options);
    if (ctx.depth === Infinity) ctx.depth = null;
    if (ctx.maxArrayLength === null) ctx.maxArrayLength = Infinity;
    if (ctx.maxStringLength === null) ctx.maxStringLength = Infinity;
    return formatValue(ctx, value, 0);
  };
  K.expose({ custom, defaultOptions: defaults }, K.inspect);

  const short = (value) => typeof value === "object" && value !== null || typeof value === "function"
    ? K.inspect(value, { depth: 0 }) : typeof value === "string" ? value : formatPrimitive(defaults, value);

  // Does the value bring a toString of its own, so that %s should ask it?
  const speaks = (value) => {
    if (typeof value !== "object" || value === null) return false;
    if (value instanceof Error || value instanceof Date) return true;
    const own = value.toString;
    return typeof own === "function" && own !== Object.prototype.toString && own !== Array.prototype.toString;
  };

  const directives = {
    s: (v) => typeof v === "bigint" ? `${v}n` : Object.is(v, -0) ? "-0" : speaks(v) ? String(v) : short(v),
    d: (v) => typeof v === "bigint" ? `${v}n` : typeof v === "symbol" || typeof v === "object" ? "NaN" : formatPrimitive(defaults, Number(v)),
    i: (v) => typeof v === "bigint" ? `${v}n` : typeof v === "symbol" || typeof v === "object" ? "NaN" : `${parseInt(v)}`,
    f: (v) => typeof v === "symbol" ? "NaN" : `${parseFloat(v)}`,
    j: (v) => {
      try {
        return JSON.stringify(v);
      } catch (error) {
        if (/circular/i.test(error.message)) return "[Circular]";
        throw error;
      }
    },
    o: (v) => K.inspect(v, { showHidden: true, depth: 4 }),
    O: (v) => K.inspect(v),
    c: () => "",
  };

  K.format = (...args) => {
    const first = args[0];
    if (args.length === 1) return typeof first === "string" ? first : K.inspect(first);
    let text = "";
    let at = 0;
    if (typeof first === "string") {
      at = 1;
      text = first.includes("%") ? first.replace(/%([sdifjoOc%])/g, (all, letter) => {
        if (letter === "%") return "%";
        return at < args.length ? directives[letter](args[at++]) : all;
      }) : first;
    }
    for (; at < args.length; at++) {
      if (at > 0) text += " ";
      text += typeof args[at] === "string" ? args[at] : K.inspect(args[at]);
    }
    return text;
  };
  K.quote = quote;
})();
