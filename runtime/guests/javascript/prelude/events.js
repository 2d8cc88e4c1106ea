// EventEmitter (Node), Event, EventTarget and AbortController (web).
(() => {
  "use strict";
  const K = globalThis.__cofferdam;

  // Functions beside the class, not private methods: `EventEmitter.call(this)` makes no private names.
  const add = (emitter, name, listener, first) => {
    if (typeof listener !== "function") {
      throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE",
        `The "listener" argument must be of type function. Received ${K.inspect(listener)}`);
    }
    const events = K.eventsOf(emitter);
    if (events.has("newListener")) emitter.emit("newListener", name, listener.listener ?? listener);
    const list = events.get(name) ?? [];
    events.set(name, first ? [listener, ...list] : [...list, listener]);
    return emitter;
  };
  const wrap = (emitter, name, listener) => {
    const wrapped = (...args) => {
      emitter.removeListener(name, wrapped);
      return listener.apply(emitter, args);
    };
    wrapped.listener = listener;
    return wrapped;
  };

  class EventEmitter {
    static defaultMaxListeners = 10;
    static once(emitter, name) {
      return new Promise((resolve, reject) => {
        const failed = (error) => {
          emitter.removeListener?.(name, done);
          reject(error);
        };
        const done = (...args) => {
          emitter.removeListener?.("error", failed);
          resolve(args);
        };
        if (typeof emitter.once === "function") {
          emitter.once(name, done);
          if (name !== "error") emitter.once("error", failed);
        } else {
          emitter.addEventListener(name, (event) => resolve([event]), { once: true });
        }
      });
    }
    static async *on(emitter, name) {
      const queue = [];
      let wake;
      emitter.on(name, (...args) => {
        queue.push(args);
        wake?.();
      });
      for (;;) {
        while (queue.length) yield queue.shift();
        await new Promise((resolve) => wake = resolve);
      }
    }
    on(name, listener) {
      return add(this, name, listener, false);
    }
    addListener(name, listener) {
      return add(this, name, listener, false);
    }
    prependListener(name, listener) {
      return add(this, name, listener, true);
    }
    once(name, listener) {
      return this.on(name, wrap(this, name, listener));
    }
    prependOnceListener(name, listener) {
      return add(this, name, wrap(this, name, listener), true);
    }
    removeListener(name, listener) {
      const events = K.eventsOf(this);
      const list = events.get(name) ?? [];
      const at = list.findLastIndex((item) => item === listener || item.listener === listener);
      if (at >= 0) {
        if (list.length === 1) events.delete(name);
        else events.set(name, list.toSpliced(at, 1));
        if (events.has("removeListener")) this.emit("removeListener", name, listener);
      }
      return this;
    }
    off(name, listener) {
      return this.removeListener(name, listener);
    }
    removeAllListeners(name) {
      if (name === undefined) K.eventsOf(this).clear();
      else K.eventsOf(this).delete(name);
      return this;
    }
    emit(name, ...args) {
      const list = K.eventsOf(this).get(name);
      if (!list) {
        if (name !== "error") return false;
        if (args[0] instanceof Error) throw args[0];
        const error = K.coded(Error, "ERR_UNHANDLED_ERROR", `Unhandled error. (${K.inspect(args[0])})`);
        error.context = args[0];
        throw error;
      }
      for (const listener of list) listener.apply(this, args);
      return true;
    }
    listeners(name) {
      return (K.eventsOf(this).get(name) ?? []).map((item) => item.listener ?? item);
    }
    rawListeners(name) {
      return [...K.eventsOf(this).get(name) ?? []];
    }
    listenerCount(name) {
      return K.eventsOf(this).get(name)?.length ?? 0;
    }
    eventNames() {
      return [...K.eventsOf(this).keys()];
    }
    setMaxListeners() {
      return this;
    }
    getMaxListeners() {
      return EventEmitter.defaultMaxListeners;
    }
  }
  // Beside the object, so that an emitter that never called super() works, and inspect shows none of it.
  const events = new WeakMap();
  K.eventsOf = (emitter) => {
    let map = events.get(emitter);
    if (!map) events.set(emitter, map = new Map());
    return map;
  };
  // `EventEmitter.call(this)` is still written.
  K.EventEmitter = new Proxy(EventEmitter, { apply: () => undefined });
  EventEmitter.prototype.constructor = K.EventEmitter;
  EventEmitter.EventEmitter = K.EventEmitter;

  class Event {
    #type;
    #flags;
    #target = null;
    #stopped = false;
    #prevented = false;
    timeStamp = performance.now();
    constructor(type, { bubbles = false, cancelable = false, composed = false } = {}) {
      this.#type = String(type);
      this.#flags = { bubbles, cancelable, composed };
    }
    get type() {
      return this.#type;
    }
    get bubbles() {
      return this.#flags.bubbles;
    }
    get cancelable() {
      return this.#flags.cancelable;
    }
    get composed() {
      return this.#flags.composed;
    }
    get target() {
      return this.#target;
    }
    get currentTarget() {
      return this.#target;
    }
    get defaultPrevented() {
      return this.#prevented;
    }
    get eventPhase() {
      return this.#target ? 2 : 0;
    }
    get isTrusted() {
      return false;
    }
    composedPath() {
      return this.#target ? [this.#target] : [];
    }
    preventDefault() {
      if (this.#flags.cancelable) this.#prevented = true;
    }
    stopPropagation() {}
    stopImmediatePropagation() {
      this.#stopped = true;
    }
    static dispatch(event, target, listeners) {
      event.#target = target;
      event.#stopped = false;
      for (const item of listeners) {
        if (event.#stopped) break;
        item(event);
      }
      return !event.#prevented;
    }
  }
  const { dispatch } = Event;
  delete Event.dispatch;
  K.tag(Event);

  class CustomEvent extends Event {
    #detail;
    constructor(type, options) {
      super(type, options);
      this.#detail = options?.detail ?? null;
    }
    get detail() {
      return this.#detail;
    }
  }
  class ErrorEvent extends Event {
    constructor(type, options = {}) {
      super(type, options);
      this.error = options.error;
      this.message = options.message ?? "";
    }
  }
  class MessageEvent extends Event {
    constructor(type, options = {}) {
      super(type, options);
      this.data = options.data ?? null;
    }
  }

  class EventTarget {
    #lists = new Map();
    addEventListener(type, listener, options) {
      if (listener === null || listener === undefined) return;
      const { once = false, signal } = typeof options === "object" && options ? options : {};
      const list = this.#lists.get(type) ?? [];
      if (signal?.aborted || list.some((item) => item.listener === listener)) return;
      this.#lists.set(type, [...list, { listener, once }]);
      signal?.addEventListener("abort", () => this.removeEventListener(type, listener), { once: true });
    }
    removeEventListener(type, listener) {
      const list = this.#lists.get(type);
      if (list) this.#lists.set(type, list.filter((item) => item.listener !== listener));
    }
    dispatchEvent(event) {
      const { type } = event;
      const calls = (this.#lists.get(type) ?? []).map(({ listener, once }) => (of) => {
        if (once) this.removeEventListener(type, listener);
        try {
          if (typeof listener === "function") listener.call(this, of);
          else listener.handleEvent(of);
        } catch (error) {
          queueMicrotask(() => {
            throw error;
          });
        }
      });
      const handler = this[`on${type}`];
      if (typeof handler === "function") calls.push((of) => handler.call(this, of));
      return dispatch(event, this, calls);
    }
  }
  K.tag(EventTarget);

  const makeSignal = Symbol("signal");
  class AbortSignal extends EventTarget {
    #aborted = false;
    #reason;
    onabort = null;
    constructor(key) {
      if (key !== makeSignal) throw new TypeError("Illegal constructor");
      super();
      Object.defineProperty(this, "onabort", { enumerable: false });
    }
    get aborted() {
      return this.#aborted;
    }
    get reason() {
      return this.#reason;
    }
    throwIfAborted() {
      if (this.#aborted) throw this.#reason;
    }
    static abort(reason) {
      const signal = new AbortSignal(makeSignal);
      AbortSignal[makeSignal](signal, reason);
      return signal;
    }
    static timeout(ms) {
      const signal = new AbortSignal(makeSignal);
      setTimeout(() => AbortSignal[makeSignal](signal,
        new DOMException("The operation was aborted due to timeout", "TimeoutError")), ms).unref();
      return signal;
    }
    static any(signals) {
      const signal = new AbortSignal(makeSignal);
      for (const one of signals) {
        if (one.aborted) {
          AbortSignal[makeSignal](signal, one.reason);
          break;
        }
        one.addEventListener("abort", () => AbortSignal[makeSignal](signal, one.reason), { once: true });
      }
      return signal;
    }
    static [makeSignal](signal, reason) {
      if (signal.#aborted) return;
      signal.#aborted = true;
      signal.#reason = reason === undefined ? new DOMException("This operation was aborted", "AbortError") : reason;
      signal.dispatchEvent(new Event("abort"));
    }
    [K.inspect.custom](depth, options) {
      return `AbortSignal { aborted: ${this.#aborted} }`;
    }
  }
  const abort = AbortSignal[makeSignal];
  K.tag(AbortSignal);
  class AbortController {
    #signal = new AbortSignal(makeSignal);
    get signal() {
      return this.#signal;
    }
    abort(reason) {
      abort(this.#signal, reason);
    }
  }
  K.tag(AbortController);

  K.expose({ Event, CustomEvent, ErrorEvent, MessageEvent, EventTarget, AbortSignal, AbortController });
})();
