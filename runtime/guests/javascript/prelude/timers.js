// Timers, immediates, ticks and the loop that runs them; sleeping is the host's (it bounds the time).
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { clock, sleep, jobs, rejections } = K.native;
  const now = () => clock() / 1e6;

  let timers = []; // by due time, then in the order they were made
  let immediates = [];
  let ticks = [];
  let unhandled = [];
  let lastId = 0;
  const byId = new Map();
  rejections(unhandled);

  const insert = (timer) => {
    let low = 0;
    let high = timers.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (timers[middle].due <= timer.due) low = middle + 1;
      else high = middle;
    }
    timers.splice(low, 0, timer);
    byId.set(timer.id, timer);
  };
  const remove = (timer) => {
    const at = timers.indexOf(timer);
    if (at >= 0) timers.splice(at, 1);
    byId.delete(timer.id);
    timer.active = false;
  };

  class Timeout {
    constructor(callback, delay, args, repeat) {
      delay = Number(delay);
      const wait = delay >= 1 && delay <= 0x7fffffff ? Math.trunc(delay) : 1;
      const hidden = { id: ++lastId, callback, args, wait, repeat, keeps: true, active: true, due: Math.floor(now()) + wait };
      for (const key of Object.keys(hidden)) {
        Object.defineProperty(this, key, { value: hidden[key], writable: true, enumerable: false });
      }
      insert(this);
    }
    ref() {
      this.keeps = true;
      return this;
    }
    unref() {
      this.keeps = false;
      return this;
    }
    hasRef() {
      return this.keeps;
    }
    refresh() {
      remove(this);
      this.active = true;
      this.due = Math.floor(now()) + this.wait;
      insert(this);
      return this;
    }
    close() {
      remove(this);
      return this;
    }
    [Symbol.toPrimitive]() {
      return this.id;
    }
    [Symbol.dispose]() {
      remove(this);
    }
  }

  class Immediate {
    constructor(callback, args) {
      Object.defineProperty(this, "callback", { value: callback, writable: true });
      Object.defineProperty(this, "args", { value: args });
      immediates.push(this);
    }
    ref() {
      return this;
    }
    unref() {
      return this;
    }
    hasRef() {
      return true;
    }
  }

  // What setTimeout answers as a program's last value is of no interest to anybody.
  K.isTimer = (value) => value instanceof Timeout || value instanceof Immediate;

  const check = (callback) => {
    if (typeof callback !== "function") {
      throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE",
        `The "callback" argument must be of type function. Received ${K.inspect(callback)}`);
    }
  };
  const clear = (timer) => {
    const found = timer instanceof Timeout ? timer : byId.get(Number(timer));
    if (found) remove(found);
    else if (timer instanceof Immediate) timer.callback = null;
  };

  K.expose({
    setTimeout(callback, delay, ...args) {
      check(callback);
      return new Timeout(callback, delay, args, false);
    },
    setInterval(callback, delay, ...args) {
      check(callback);
      return new Timeout(callback, delay, args, true);
    },
    setImmediate(callback, ...args) {
      check(callback);
      return new Immediate(callback, args);
    },
    clearTimeout: clear,
    clearInterval: clear,
    clearImmediate: clear,
  });

  K.nextTick = (callback, ...args) => {
    check(callback);
    ticks.push([callback, args]);
  };

  // An error nobody caught: the user's own handler has it, or it ends the turn.
  const guard = (callback, args, self) => {
    try {
      callback.apply(self, args);
    } catch (error) {
      if (!K.handleUncaught?.(error)) throw error;
    }
  };

  // Ticks, then microtasks, until both are empty; then rejections that are still nobody's.
  const settle = () => {
    for (;;) {
      while (ticks.length) {
        const [callback, args] = ticks.shift();
        guard(callback, args);
      }
      guard(jobs, []);
      if (ticks.length) continue;
      if (unhandled.length === 0) return;
      const pair = unhandled.shift();
      if (pair && !K.handleRejection?.(pair[1], pair[0])) throw pair[1];
    }
  };

  const runImmediates = () => {
    const batch = immediates;
    immediates = [];
    for (const immediate of batch) {
      if (immediate.callback === null) continue;
      guard(immediate.callback, immediate.args);
      settle();
    }
  };
  const runTimers = () => {
    const time = now();
    // What becomes due meanwhile waits for the next round, so that immediates have their turn.
    while (timers.length && timers[0].due <= time) {
      const timer = timers.shift();
      byId.delete(timer.id);
      if (timer.repeat) {
        timer.due = Math.max(Math.floor(now()), timer.due) + timer.wait;
        insert(timer);
      } else {
        timer.active = false;
      }
      guard(timer.callback, timer.args, timer);
      settle();
    }
  };

  // Runs what is pending until nothing is left that keeps the program alive.
  K.loop = () => {
    settle();
    while (immediates.length || timers.length) {
      if (immediates.length === 0) {
        if (!timers.some((timer) => timer.keeps)) return;
        const wait = timers[0].due - now();
        if (wait > 0) sleep(wait);
      }
      runTimers();
      runImmediates();
    }
  };

  K.resetLoop = () => {
    if (timers.length) timers = [];
    if (immediates.length) immediates = [];
    if (ticks.length) ticks = [];
    if (byId.size) byId.clear();
    if (unhandled.length) rejections(unhandled = []);
  };

  const later = (ms, value, { signal } = {}) => new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const timer = setTimeout(() => resolve(value), ms);
    signal?.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    }, { once: true });
  });
  K.timersPromises = {
    setTimeout: later,
    setImmediate: (value) => new Promise((resolve) => globalThis.setImmediate(resolve, value)),
    async *setInterval(ms, value) {
      for (;;) yield await later(ms, value);
    },
    scheduler: { wait: (ms, options) => later(ms, undefined, options), yield: () => later(0) },
  };
  const promisify = Symbol.for("nodejs.util.promisify.custom");
  Object.defineProperty(setTimeout, promisify, { value: later });
  Object.defineProperty(setImmediate, promisify, { value: K.timersPromises.setImmediate });
})();
