// Intl for numbers, text order and small phrases. English throughout; other locales have their separators, no words.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  K.intl = {};

  // [group, decimal, where the currency stands]
  const nbsp = "\u00a0";
  const thin = "\u202f";
  const separators = { en: [",", ".", "before"], de: [".", ",", "after"], fr: [thin, ",", "after"], es: [".", ",", "after"], it: [".", ",", "after"],
    pt: [".", ",", "before "], nl: [".", ",", "before "], pl: [nbsp, ",", "after"], ru: [nbsp, ",", "after"], uk: [nbsp, ",", "after"],
    sv: [nbsp, ",", "after"], nb: [nbsp, ",", "after"], da: [".", ",", "after"], fi: [nbsp, ",", "after"], cs: [nbsp, ",", "after"],
    tr: [".", ",", "before"], id: [".", ",", "before "], "de-CH": ["’", ".", "before "], "de-AT": [nbsp, ",", "before "], "pt-PT": [nbsp, ",", "after"] };
  const symbols = { USD: "$", EUR: "€", GBP: "£", JPY: "¥", INR: "₹", CNY: "CN¥", KRW: "₩", BRL: "R$", CAD: "CA$", AUD: "A$", MXN: "MX$",
    ILS: "₪", VND: "₫", NZD: "NZ$", HKD: "HK$", TWD: "NT$" };
  const wholeCurrencies = ["JPY", "KRW", "VND", "CLP", "ISK", "HUF"];
  const units = { kilometer: "km", meter: "m", centimeter: "cm", millimeter: "mm", mile: "mi", foot: "ft", inch: "in", kilogram: "kg", gram: "g",
    pound: "lb", ounce: "oz", liter: "L", milliliter: "mL", celsius: "°C", fahrenheit: "°F", percent: "%", second: "sec", minute: "min", hour: "hr",
    day: "day", week: "wk", month: "mth", year: "yr", millisecond: "ms", byte: "byte", kilobyte: "kB", megabyte: "MB", gigabyte: "GB", terabyte: "TB",
    "kilometer-per-hour": "km/h", "mile-per-hour": "mph", degree: "deg" };

  const localeOf = (locales) => {
    const tag = Array.isArray(locales) ? locales[0] : locales;
    if (tag === undefined) return "en-US";
    const text = String(tag);
    if (!/^[a-z]{2,8}(?:[-_][a-z0-9]{1,8})*$/i.test(text)) throw new RangeError(`Incorrect locale information provided`);
    return text.split(/[-_]/).map((part, i) => i === 0 ? part.toLowerCase() : part.length === 2 ? part.toUpperCase()
      : part.length === 4 ? part[0].toUpperCase() + part.slice(1).toLowerCase() : part.toLowerCase()).join("-");
  };
  K.intl.localeOf = localeOf;
  const rules = (locale) => separators[locale] ?? separators[locale.split("-")[0]] ?? separators.en;

  const groupDigits = (digits, mark, indian, least) => {
    if (digits.length < least) return digits;
    if (indian) return digits.replace(/(\d)(?=(?:\d\d)+\d$)/g, `$1${mark}`);
    return digits.replace(/\B(?=(?:\d{3})+$)/g, mark);
  };
  const strip = (text, least) => {
    if (!text.includes(".")) return text;
    const [whole, fraction] = text.split(".");
    let end = fraction.length;
    while (end > least && fraction[end - 1] === "0") end--;
    return end ? `${whole}.${fraction.slice(0, end)}` : whole;
  };
  const plain = (number, digits) => {
    const text = number.toFixed(digits);
    return text.includes("e") ? BigInt(number).toString() : text;
  };

  class NumberFormat {
    #o;
    constructor(locales, options = {}) {
      const o = { locale: localeOf(locales), numberingSystem: "latn", style: "decimal", notation: "standard", signDisplay: "auto", useGrouping: true,
        minimumIntegerDigits: 1, currencyDisplay: "symbol", compactDisplay: "short", unitDisplay: "short" };
      for (const key of Object.keys(options ?? {})) if (options[key] !== undefined) o[key] = options[key];
      if (!["decimal", "percent", "currency", "unit"].includes(o.style)) throw new RangeError(`Value ${o.style} out of range for Intl.NumberFormat options property style`);
      if (o.style === "currency") {
        if (o.currency === undefined) throw new TypeError("Currency code is required with currency style.");
        o.currency = String(o.currency).toUpperCase();
        if (!/^[A-Z]{3}$/.test(o.currency)) throw new RangeError(`Invalid currency code : ${o.currency}`);
      }
      for (const key of ["minimumFractionDigits", "maximumFractionDigits"]) {
        if (o[key] !== undefined && !(o[key] >= 0 && o[key] <= 100)) throw new RangeError(`${key} value is out of range.`);
      }
      const usual = o.style === "currency" ? wholeCurrencies.includes(o.currency) ? [0, 0] : [2, 2] : o.style === "percent" ? [0, 0] : [0, 3];
      if (o.notation === "compact") usual.splice(0, 2, 0, 0);
      o.roundCompact = o.notation === "compact" && o.maximumFractionDigits === undefined && o.minimumFractionDigits === undefined;
      o.minimumFractionDigits ??= Math.min(usual[0], o.maximumFractionDigits ?? usual[0]);
      o.maximumFractionDigits ??= Math.max(usual[1], o.minimumFractionDigits);
      if (o.minimumFractionDigits > o.maximumFractionDigits) throw new RangeError("maximumFractionDigits value is out of range.");
      this.#o = o;
      this.format = (value) => this.formatToParts(value).map((part) => part.value).join("");
      Object.defineProperty(this, "format", { enumerable: false });
    }
    #digits(x) {
      const o = this.#o;
      if (typeof x === "bigint") return strip(`${x}${o.minimumFractionDigits ? `.${"0".repeat(o.minimumFractionDigits)}` : ""}`, o.minimumFractionDigits);
      if (o.maximumSignificantDigits !== undefined || o.minimumSignificantDigits !== undefined) {
        const most = o.maximumSignificantDigits ?? 21;
        const rounded = Number(x.toPrecision(most));
        const places = rounded === 0 ? 0 : Math.max(0, most - 1 - Math.floor(Math.log10(Math.abs(rounded))));
        const least = Math.max(0, (o.minimumSignificantDigits ?? 1) - 1 - (rounded === 0 ? 0 : Math.floor(Math.log10(Math.abs(rounded)))));
        return strip(plain(rounded, Math.min(100, places)), least);
      }
      if (o.roundCompact) return strip(plain(x, x < 99.5 && x !== 0 ? Math.max(0, 1 - Math.floor(Math.log10(x))) : 0), 0);
      return strip(plain(x, o.maximumFractionDigits), o.minimumFractionDigits);
    }
    formatToParts(value) {
      const o = this.#o;
      const [mark, point, place] = rules(o.locale);
      let number = typeof value === "bigint" ? value : Number(value);
      const parts = [];
      const negative = number < 0 || Object.is(number, -0);
      let x = number < 0 ? -number : number;
      if (o.style === "percent") x = typeof x === "bigint" ? x * 100n : Number((x * 100).toPrecision(15));
      let suffix = "";
      let exponent;
      if (o.notation === "compact" && typeof x === "number" && Number.isFinite(x)) {
        const steps = o.compactDisplay === "long" ? [" thousand", " million", " billion", " trillion"] : ["K", "M", "B", "T"];
        let step = 0;
        while (step < 4 && Number(this.#digits(x)) >= 1000) {
          x /= 1000;
          step++;
        }
        if (step) suffix = steps[step - 1];
      } else if ((o.notation === "scientific" || o.notation === "engineering") && x && Number.isFinite(Number(x))) {
        exponent = Math.floor(Math.log10(Number(x)));
        if (o.notation === "engineering") exponent = Math.floor(exponent / 3) * 3;
        x = Number(x) / 10 ** exponent;
      } else if (o.notation === "scientific" || o.notation === "engineering") {
        exponent = 0;
      }
      if (Number.isNaN(x)) {
        parts.push({ type: "nan", value: "NaN" });
      } else if (x === Infinity) {
        parts.push({ type: "infinity", value: "∞" });
      } else {
        const [whole, fraction] = this.#digits(x).split(".");
        const padded = whole.padStart(o.minimumIntegerDigits, "0");
        const least = o.useGrouping === "min2" || /^(?:es|pl|pt-PT)/.test(o.locale) ? 5 : 4;
        const grouped = o.useGrouping && o.useGrouping !== "false" ? groupDigits(padded, mark, /-IN$/.test(o.locale), least) : padded;
        grouped.split(mark).forEach((digits, i) => {
          if (i) parts.push({ type: "group", value: mark });
          parts.push({ type: "integer", value: digits });
        });
        if (fraction) parts.push({ type: "decimal", value: point }, { type: "fraction", value: fraction });
      }
      if (suffix) parts.push({ type: "compact", value: suffix });
      if (exponent !== undefined) parts.push({ type: "exponentSeparator", value: "E" }, { type: "exponentInteger", value: String(exponent) });
      if (o.style === "percent") {
        if (place === "after") parts.push({ type: "literal", value: nbsp });
        parts.push({ type: "percentSign", value: "%" });
      } else if (o.style === "currency") {
        const name = o.currencyDisplay === "code" ? o.currency : o.currencyDisplay === "name" ? o.currency
          : o.currencyDisplay === "narrowSymbol" ? (symbols[o.currency] ?? o.currency).replace(/^[A-Z]+(?=[^A-Z])/, "") : symbols[o.currency] ?? o.currency;
        const spaced = /^[A-Z]{3}$/.test(name);
        if (place === "after" || o.currencyDisplay === "name") parts.push({ type: "literal", value: nbsp }, { type: "currency", value: name });
        else parts.unshift({ type: "currency", value: name }, ...spaced || place === "before " ? [{ type: "literal", value: nbsp }] : []);
      } else if (o.style === "unit") {
        const one = Number(x) === 1;
        const name = o.unitDisplay === "long" ? `${o.unit}${one ? "" : "s"}`.replace("-per-", "s per ").replace(/s(?= per .*s$)/, "s").replace(/(per \w+?)s$/, "$1") : units[o.unit] ?? o.unit;
        const word = o.unitDisplay !== "long" && ["day", "byte", "wk", "mth", "yr"].includes(name) && !one && name !== "byte" ? `${name}s` : name;
        const tight = /^[°%]/.test(word) || o.unitDisplay === "narrow";
        parts.push({ type: "literal", value: tight ? "" : " " }, { type: "unit", value: word });
      }
      const isZero = parts.every((part) => !/integer|fraction/.test(part.type) || /^0+$/.test(part.value));
      const sign = negative && o.signDisplay !== "never" && !(isZero && (o.signDisplay === "exceptZero" || o.signDisplay === "negative")) ? "-"
        : o.signDisplay === "always" || o.signDisplay === "exceptZero" && !isZero ? negative ? "" : "+" : "";
      if (sign) parts.unshift({ type: sign === "-" ? "minusSign" : "plusSign", value: sign });
      return parts;
    }
    formatRange(a, b) {
      return `${this.format(a)} – ${this.format(b)}`;
    }
    resolvedOptions() {
      const { roundCompact, ...options } = this.#o;
      return options;
    }
    static supportedLocalesOf(locales) {
      return [].concat(locales ?? []).map(localeOf);
    }
  }

  // The order of people, not of code units: letters beside each other whatever their case and accents, then accents, then
  // lower case first; digits before letters, punctuation before digits (the root collation of CLDR in outline).
  const marks = "_-,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$";
  const weight = (c) => {
    if (c <= " ") return c.charCodeAt(0);
    const at = marks.indexOf(c);
    return at >= 0 ? 100 + at : c.charCodeAt(0) + 1000;
  };
  const fold = (text) => /^[\0-\x7f]*$/.test(text) ? text.toLowerCase() : text.normalize("NFD").replace(/\p{Mn}+/gu, "").toLowerCase();
  const inOrder = (a, b) => {
    const n = Math.min(a.length, b.length);
    for (let i = 0; i < n; i++) if (a[i] !== b[i]) return weight(a[i]) < weight(b[i]) ? -1 : 1;
    return Math.sign(a.length - b.length);
  };
  const compareNumeric = (a, b) => {
    const left = a.match(/\d+|\D+/g) ?? [];
    const right = b.match(/\d+|\D+/g) ?? [];
    for (let i = 0; i < Math.min(left.length, right.length); i++) {
      const order = /^\d/.test(left[i]) && /^\d/.test(right[i]) ? Math.sign(Number(left[i]) - Number(right[i])) : inOrder(left[i], right[i]);
      if (order) return order;
    }
    return Math.sign(left.length - right.length);
  };
  const compare = (a, b, { numeric = false, sensitivity = "variant", caseFirst = "false", ignorePunctuation = false } = {}) => {
    if (a === b) return 0;
    if (ignorePunctuation) [a, b] = [a, b].map((text) => text.replace(/[\p{P}\s]/gu, ""));
    const order = (numeric ? compareNumeric : inOrder)(fold(a), fold(b));
    if (order || sensitivity === "base") return order;
    if (sensitivity !== "case") {
      const accents = inOrder(a.normalize("NFD").toLowerCase(), b.normalize("NFD").toLowerCase());
      if (accents || sensitivity === "accent") return accents;
    }
    for (let i = 0; i < a.length; i++) {
      if (a[i] !== b[i]) return (a[i] === a[i].toLowerCase() ? -1 : 1) * (caseFirst === "upper" ? -1 : 1);
    }
    return 0;
  };
  class Collator {
    #o;
    constructor(locales, options = {}) {
      this.#o = { locale: localeOf(locales), usage: "sort", sensitivity: "variant", numeric: /-u-.*kn/.test(String(locales)), caseFirst: "false", ignorePunctuation: false, ...options };
      this.compare = (a, b) => compare(String(a), String(b), this.#o);
      Object.defineProperty(this, "compare", { enumerable: false });
    }
    resolvedOptions() {
      return { ...this.#o };
    }
  }

  class PluralRules {
    #o;
    constructor(locales, options = {}) {
      this.#o = { locale: localeOf(locales), type: "cardinal", ...options };
    }
    select(n) {
      if (this.#o.type !== "ordinal") return n === 1 ? "one" : "other";
      const [ten, hundred] = [n % 10, n % 100];
      return ten === 1 && hundred !== 11 ? "one" : ten === 2 && hundred !== 12 ? "two" : ten === 3 && hundred !== 13 ? "few" : "other";
    }
    resolvedOptions() {
      return { ...this.#o };
    }
  }
  class ListFormat {
    #o;
    constructor(locales, options = {}) {
      this.#o = { locale: localeOf(locales), type: "conjunction", style: "long", ...options };
    }
    format(list) {
      const items = [...list];
      const word = this.#o.type === "unit" ? "" : this.#o.type === "disjunction" ? "or" : this.#o.style === "long" ? "and" : "&";
      if (items.length < 2) return items.join("");
      const last = items.pop();
      if (!word) return `${items.join(", ")}, ${last}`;
      return items.length === 1 ? `${items[0]} ${word} ${last}` : `${items.join(", ")}, ${word} ${last}`;
    }
  }
  class RelativeTimeFormat {
    #o;
    constructor(locales, options = {}) {
      this.#o = { locale: localeOf(locales), style: "long", numeric: "always", ...options };
    }
    format(value, unit) {
      const name = String(unit).replace(/s$/, "");
      if (!["second", "minute", "hour", "day", "week", "month", "quarter", "year"].includes(name)) throw new RangeError(`Invalid unit argument for format() '${unit}'`);
      if (this.#o.numeric === "auto") {
        const named = { day: { "-1": "yesterday", 0: "today", 1: "tomorrow" }, second: { 0: "now" } }[name]?.[value] ??
          (["week", "month", "quarter", "year"].includes(name) ? { "-1": `last ${name}`, 0: `this ${name}`, 1: `next ${name}` }[value]
            : value === 0 ? `this ${name}` : undefined);
        if (named) return named;
      }
      const size = Math.abs(value);
      const text = `${new NumberFormat("en-US").format(size)} ${name}${size === 1 ? "" : "s"}`;
      return value < 0 || Object.is(value, -0) ? `${text} ago` : `in ${text}`;
    }
  }
  class Segmenter {
    #o;
    constructor(locales, options = {}) {
      this.#o = { locale: localeOf(locales), granularity: "grapheme", ...options };
    }
    segment(input) {
      const pattern = { word: /[\p{L}\p{N}\p{M}_]+(?:['’.][\p{L}\p{N}]+)*|\s+|[^]/gu, sentence: /[^.!?]+[.!?]*\s*|[.!?]+\s*/gu,
        grapheme: /\r\n|\p{Regional_Indicator}{2}|\p{Emoji}(?:\p{Emoji_Modifier}|\ufe0f)?(?:\u200d\p{Emoji}(?:\p{Emoji_Modifier}|\ufe0f)?)+|[^][\p{M}\ufe0f\p{Emoji_Modifier}]*/gu }[this.#o.granularity];
      const parts = [...String(input).matchAll(pattern)].map((match) => ({ segment: match[0], index: match.index, input,
        ...this.#o.granularity === "word" ? { isWordLike: /[\p{L}\p{N}]/u.test(match[0]) } : {} }));
      return { [Symbol.iterator]: () => parts[Symbol.iterator](), containing: (at = 0) => parts.findLast((part) => part.index <= at) };
    }
  }

  K.intl.NumberFormat = NumberFormat;
  K.intl.others = { NumberFormat, Collator, PluralRules, ListFormat, RelativeTimeFormat, Segmenter };
  K.intl.compare = compare;

  const english = new NumberFormat("en-US");
  const shown = (value, locales, options) => (locales === undefined && options === undefined ? english : new NumberFormat(locales, options)).format(value);
  K.expose({ toLocaleString(locales, options) {
    return shown(Number.prototype.valueOf.call(this), locales, options);
  } }, Number.prototype);
  K.expose({ toLocaleString(locales, options) {
    return shown(BigInt.prototype.valueOf.call(this), locales, options);
  } }, BigInt.prototype);
  K.expose({ localeCompare(other, locales, options) {
    return compare(String(this), String(other), options);
  }, toLocaleUpperCase() {
    return String(this).toUpperCase();
  }, toLocaleLowerCase() {
    return String(this).toLowerCase();
  } }, String.prototype);
})();
