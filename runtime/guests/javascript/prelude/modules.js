// import and require: Node's names for modules, files of the working folder, and what a main program's own imports become.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { run, modules } = K.native;
  const home = "/home/user";
  K.builtins ??= Object.create(null);
  K.sources = new Map(); // file name as in stacks -> source, for the line shown with an error

  const shown = (path) => path.startsWith(`${home}/`) ? path.slice(home.length + 1) : path;
  const isBuiltin = (name) => Object.hasOwn(K.builtins, name.startsWith("node:") ? name.slice(5) : name);
  const builtin = (name) => K.builtins[name.startsWith("node:") ? name.slice(5) : name];

  const missing = (name, base) => K.coded(Error, "ERR_MODULE_NOT_FOUND", /^[./]|^file:/.test(name)
    ? `Cannot find module '${name}' imported from ${base}`
    : `Cannot find package '${name}' imported from ${base}: there are no npm packages in this sandbox`);

  const kindOf = (path) => {
    const st = K.native.stat(path, true);
    return typeof st === "number" ? undefined : (st[0] & 0o170000) === 0o040000 ? "directory" : "file";
  };
  const endings = ["", ".js", ".mjs", ".cjs", ".ts", ".mts", ".json", "/index.js", "/index.mjs", "/index.ts"];
  const findFile = (path) => {
    for (const ending of endings) if (kindOf(path + ending) === "file") return path + ending;
    // TypeScript writes `./a.js` and means ./a.ts
    const twin = path.replace(/\.(m?)js$/, ".$1ts");
    return twin !== path && kindOf(twin) === "file" ? twin : undefined;
  };
  const findPackage = (name) => {
    const [, folder, rest] = /^((?:@[^/]+\/)?[^/]+)(\/.*)?$/.exec(name) ?? [];
    const root = `${home}/node_modules/${folder}`;
    if (folder === undefined || kindOf(root) !== "directory") return undefined;
    if (rest) return findFile(root + rest);
    try {
      const { main, module } = JSON.parse(K.readText(`${root}/package.json`));
      return findFile(`${root}/${module ?? main ?? "index.js"}`);
    } catch {
      return findFile(`${root}/index`);
    }
  };

  const resolve = (base, name) => {
    if (isBuiltin(name)) return name.startsWith("node:") ? name : `node:${name}`;
    let path;
    if (name.startsWith("file:")) name = decodeURIComponent(name.replace(/^file:(\/\/)?/, ""));
    if (/^\.{0,2}\//.test(name) || name === "." || name === "..") {
      path = findFile(K.path.resolve(K.path.dirname(K.path.resolve(home, base)), name));
    } else {
      path = findPackage(name);
    }
    if (path === undefined) throw missing(name, base);
    return shown(path);
  };

  const looksCommon = (source) => /\b(?:module\.exports|exports\.[\w$]+\s*=|require\s*\()/.test(source) &&
    !/^\s*(?:import[\s{*"']|export[\s{*])/m.test(source);

  const read = (name) => {
    const path = K.path.resolve(home, name);
    let source = K.readText(path);
    K.sources.set(name, source);
    if (/\.[mc]?ts$/.test(name)) source = K.stripTypes(source, name);
    return source;
  };

  const spread = (value) => {
    const exports = Object.create(null);
    if ((typeof value === "object" && value !== null) || typeof value === "function") {
      for (const key of Object.keys(value)) exports[key] = value[key];
    }
    exports.default = value;
    return exports;
  };

  modules({
    resolve,
    load(name) {
      if (isBuiltin(name)) return spread(builtin(name));
      if (name.endsWith(".json")) return spread(requireFile(name));
      const source = read(name);
      if (name.endsWith(".cjs") || looksCommon(source)) return spread(requireFile(name));
      return source;
    },
    meta(object, name) {
      const filename = K.path.resolve(home, name);
      Object.assign(object, {
        url: `file://${filename}`, filename, dirname: K.path.dirname(filename), main: false,
        resolve: (specifier) => `file://${K.path.resolve(home, resolve(name, specifier))}`,
      });
    },
  });

  const cache = Object.create(null);
  const requireFile = (name) => {
    const filename = K.path.resolve(home, name);
    if (cache[filename]) return cache[filename].exports;
    const module = { exports: {}, id: filename, filename, loaded: false, children: [], paths: [] };
    cache[filename] = module;
    try {
      if (name.endsWith(".json")) {
        module.exports = JSON.parse(K.readText(filename).replace(/^\ufeff/, ""));
      } else {
        let source = read(name);
        if (/^\s*(?:import[\s{*"']|export[\s{*])/m.test(source)) source = K.toCommon(source, name);
        // On one line with the source, so that line numbers stay.
        const wrapped = run(`(function (exports, require, module, __filename, __dirname) {${source.replace(/^#!/, "//")}\n})`, name);
        wrapped.call(module.exports, module.exports, makeRequire(name), module, filename, K.path.dirname(filename));
      }
    } catch (error) {
      delete cache[filename];
      throw error;
    }
    module.loaded = true;
    return module.exports;
  };

  const makeRequire = (base) => {
    const require = (name) => {
      if (typeof name !== "string" || name === "") {
        throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "id" argument must be of type string. Received ${K.inspect(name)}`);
      }
      if (isBuiltin(name)) return builtin(name);
      let found;
      try {
        found = resolve(base, name);
      } catch (error) {
        error.message = error.message.replace(/ imported from .*?(?=:|$)/, "");
        error.code = "MODULE_NOT_FOUND";
        throw error;
      }
      return requireFile(found);
    };
    require.resolve = (name) => isBuiltin(name) ? name : K.path.resolve(home, resolve(base, name));
    require.cache = cache;
    return require;
  };

  const main = { exports: {}, id: ".", filename: `${home}/main.js`, loaded: false, children: [], paths: [] };
  const require = makeRequire("main.js");
  require.main = main;
  K.expose({
    require, module: main, exports: main.exports, __filename: main.filename, __dirname: home,
    __importMeta: { url: `file://${main.filename}`, filename: main.filename, dirname: home, main: true,
      resolve: (name) => `file://${K.path.resolve(home, resolve("main.js", name))}` },
  });
  K.builtins.module = {
    createRequire: (from) => makeRequire(shown(String(from).replace(/^file:\/\//, ""))), isBuiltin,
    get builtinModules() {
      return Object.keys(K.builtins);
    },
  };
})();
