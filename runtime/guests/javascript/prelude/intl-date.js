// Intl.DateTimeFormat and Date's toLocale methods: UTC (or a fixed offset), English words, the order of numbers by locale.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { localeOf, others } = K.intl;
  const months = ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"];
  const days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
  const dateFields = ["weekday", "year", "month", "day"];
  const timeFields = ["hour", "minute", "second", "fractionalSecondDigits", "dayPeriod"];
  // [order, separator, two digits for day and month]
  const orders = { en: ["mdy", "/", false], "en-GB": ["dmy", "/", true], "en-AU": ["dmy", "/", true], "en-NZ": ["dmy", "/", true], "en-IN": ["dmy", "/", false],
    "en-IE": ["dmy", "/", false], "en-CA": ["ymd", "-", true], de: ["dmy", ".", false], fr: ["dmy", "/", true], "fr-CA": ["ymd", "-", true], es: ["dmy", "/", false],
    it: ["dmy", "/", false], pt: ["dmy", "/", true], nl: ["dmy", "-", false], pl: ["dmy", ".", false], ru: ["dmy", ".", true], tr: ["dmy", ".", true],
    sv: ["ymd", "-", true], ja: ["ymd", "/", false], zh: ["ymd", "/", false], ko: ["ymd", ". ", false], da: ["dmy", ".", false], nb: ["dmy", ".", false],
    fi: ["dmy", ".", false], cs: ["dmy", ". ", false] };

  const zoneOffset = (zone) => {
    if (/^(?:(?:Etc\/)?(?:UTC|GMT|UCT|Zulu)|Z)$/i.test(zone)) return 0;
    const match = /^([+-])(\d\d):?(\d\d)$/.exec(zone);
    if (match) return (match[1] === "-" ? -1 : 1) * (Number(match[2]) * 60 + Number(match[3]));
    throw new RangeError(`Invalid time zone specified: ${zone} (this sandbox knows UTC and offsets like +02:00)`);
  };
  const two = (n) => String(n).padStart(2, "0");
  const styles = {
    date: { full: { weekday: "long", year: "numeric", month: "long", day: "numeric" }, long: { year: "numeric", month: "long", day: "numeric" },
      medium: { year: "numeric", month: "short", day: "numeric" }, short: { year: "2-digit", month: "numeric", day: "numeric" } },
    time: { full: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "long" }, long: { hour: "numeric", minute: "2-digit", second: "2-digit", timeZoneName: "short" },
      medium: { hour: "numeric", minute: "2-digit", second: "2-digit" }, short: { hour: "numeric", minute: "2-digit" } },
  };

  class DateTimeFormat {
    #o;
    #offset;
    constructor(locales, options = {}, defaults = "date") {
      const o = { locale: localeOf(locales), calendar: "gregory", numberingSystem: "latn", timeZone: "UTC" };
      for (const key of Object.keys(options ?? {})) if (options[key] !== undefined) o[key] = options[key];
      this.#offset = zoneOffset(String(o.timeZone));
      if (o.dateStyle === "short" && /^(?:en-GB|en-AU|fr|sv|ja|es|it|pt|nl)/.test(o.locale)) Object.assign(o, styles.date.short, { year: "numeric" });
      else if (o.dateStyle) Object.assign(o, styles.date[o.dateStyle]);
      if (o.timeStyle) Object.assign(o, styles.time[o.timeStyle]);
      const asked = (fields) => fields.some((field) => o[field] !== undefined);
      if (!asked(dateFields) && !asked(timeFields)) {
        if (defaults !== "time") Object.assign(o, { year: "numeric", month: "numeric", day: "numeric" });
        if (defaults === "time" || defaults === "all") Object.assign(o, { hour: "numeric", minute: "2-digit", second: "2-digit" });
      } else if (defaults === "time" && !asked(timeFields)) {
        Object.assign(o, { hour: "numeric", minute: "2-digit", second: "2-digit" });
      } else if (defaults === "date-only" && !asked(dateFields)) {
        Object.assign(o, { year: "numeric", month: "numeric", day: "numeric" });
      }
      if (o.hour !== undefined) {
        o.hour12 ??= o.hourCycle ? /^h1[12]$/.test(o.hourCycle) : /^(?:en(?!-GB|-IE)|ko|hi|ar)/.test(o.locale);
      }
      this.#o = o;
      this.format = (date) => this.formatToParts(date).map((part) => part.value).join("");
      Object.defineProperty(this, "format", { enumerable: false });
    }
    formatToParts(date) {
      const time = date === undefined ? Date.now() : Number(date);
      if (!Number.isFinite(time)) throw new RangeError("Invalid time value");
      const at = new Date(time + this.#offset * 60000);
      const parts = [];
      const put = (type, value) => parts.push({ type, value: String(value) });
      this.#date(at, put);
      const wroteDate = parts.length > 0;
      if (this.#o.hour !== undefined || this.#o.minute !== undefined || this.#o.second !== undefined || this.#o.fractionalSecondDigits !== undefined) {
        if (wroteDate) put("literal", /^(?:full|long)$/.test(this.#o.dateStyle) && /^en/.test(this.#o.locale) ? " at " : /^(?:sv|fr|en-SE|ja|zh|ko)/.test(this.#o.locale) ? " " : ", ");
        this.#time(at, put);
      }
      if (this.#o.timeZoneName) {
        const offset = this.#offset;
        const name = offset === 0 ? this.#o.timeZoneName === "long" ? "Coordinated Universal Time" : "UTC"
          : `GMT${offset < 0 ? "-" : "+"}${Math.floor(Math.abs(offset) / 60)}${offset % 60 ? `:${two(Math.abs(offset) % 60)}` : ""}`;
        put("literal", this.#o.hour === undefined ? ", " : " ");
        put("timeZoneName", name);
      }
      return parts;
    }
    #date(at, put) {
      const o = this.#o;
      const year = o.year && (o.year === "2-digit" ? two(at.getUTCFullYear() % 100) : String(at.getUTCFullYear()));
      const weekday = o.weekday && (o.weekday === "long" ? days[at.getUTCDay()] : o.weekday === "narrow" ? days[at.getUTCDay()][0] : days[at.getUTCDay()].slice(0, 3));
      const [order, separator, padded] = orders[o.locale] ?? orders[o.locale.split("-")[0]] ?? orders.en;
      const wide = padded && o.month !== undefined && o.day !== undefined && (o.year !== undefined || order === "dmy");
      const name = months[at.getUTCMonth()];
      const words = { long: name, short: name.slice(0, 3), narrow: name[0] };
      const month = o.month && (words[o.month] ?? (o.month === "2-digit" || wide ? two(at.getUTCMonth() + 1) : String(at.getUTCMonth() + 1)));
      const day = o.day && (o.day === "2-digit" || wide && !words[o.month] ? two(at.getUTCDate()) : String(at.getUTCDate()));
      const values = { d: ["day", day], m: ["month", month], y: ["year", year] };
      const fields = [...order].map((letter) => values[letter]).filter(([, value]) => value !== undefined);
      if (weekday) {
        put("weekday", weekday);
        if (fields.length) put("literal", ", ");
      }
      fields.forEach(([type, value], i) => {
        if (i) {
          const afterDay = words[o.month] && order === "mdy" && type === "year" && day !== undefined;
          put("literal", !words[o.month] ? separator : afterDay ? ", " : order === "dmy" && separator === "." && fields[i - 1][0] === "day" ? ". " : " ");
        }
        put(type, value);
      });
    }
    #time(at, put) {
      const o = this.#o;
      const hour24 = at.getUTCHours();
      let count = 0;
      const field = (type, value) => {
        if (count++) put("literal", type === "fractionalSecond" ? "." : ":");
        put(type, value);
      };
      if (o.hour !== undefined) {
        const hour = o.hour12 ? hour24 % 12 || 12 : hour24;
        field("hour", o.hour === "2-digit" || !o.hour12 && (o.minute !== undefined || /^en/.test(o.locale)) ? two(hour) : hour);
      }
      if (o.minute !== undefined) field("minute", o.hour !== undefined || o.second !== undefined || o.minute === "2-digit" ? two(at.getUTCMinutes()) : at.getUTCMinutes());
      if (o.second !== undefined) field("second", o.minute !== undefined || o.second === "2-digit" ? two(at.getUTCSeconds()) : at.getUTCSeconds());
      if (o.fractionalSecondDigits !== undefined) field("fractionalSecond", String(at.getUTCMilliseconds()).padStart(3, "0").slice(0, o.fractionalSecondDigits));
      if (o.hour !== undefined && o.hour12) {
        put("literal", " ");
        put("dayPeriod", hour24 < 12 ? "AM" : "PM");
      }
    }
    formatRange(a, b) {
      return `${this.format(a)} – ${this.format(b)}`;
    }
    resolvedOptions() {
      return { ...this.#o };
    }
    static supportedLocalesOf(locales) {
      return [].concat(locales ?? []).map(localeOf);
    }
  }

  const shown = (date, locales, options, defaults) => Number.isNaN(date.getTime()) ? "Invalid Date" : new DateTimeFormat(locales, options, defaults).format(date);
  K.expose({
    toLocaleString(locales, options) {
      return shown(this, locales, options, "all");
    },
    toLocaleDateString(locales, options) {
      return shown(this, locales, options, "date-only");
    },
    toLocaleTimeString(locales, options) {
      return shown(this, locales, options, "time");
    },
  }, Date.prototype);

  const Intl = { getCanonicalLocales: (locales) => [].concat(locales ?? []).map(localeOf), supportedValuesOf: () => [] };
  // Callable without `new`, as the older ones of these are.
  for (const [name, Class] of Object.entries({ ...others, DateTimeFormat })) {
    K.tag(Class, `Intl.${name}`);
    const callable = new Proxy(Class, { apply: (target, self, args) => new target(...args), construct: (target, args, of) => Reflect.construct(target, args.slice(0, 2), of) });
    Class.prototype.constructor = callable;
    Intl[name] = callable;
  }
  Intl.Locale = class Locale {
    constructor(tag) {
      this.baseName = localeOf(tag);
      [this.language, this.region] = [this.baseName.split("-")[0], this.baseName.split("-").find((part) => /^[A-Z]{2}$/.test(part))];
    }
    toString() {
      return this.baseName;
    }
  };
  K.expose({ Intl });
  Object.defineProperty(Intl, Symbol.toStringTag, { value: "Intl", configurable: true });
})();
