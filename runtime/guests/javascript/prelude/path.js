// node:path, POSIX.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  K.cwd = "/home/user";

  const check = (path, name = "path") => {
    if (typeof path !== "string") {
      throw K.coded(TypeError, "ERR_INVALID_ARG_TYPE", `The "${name}" argument must be of type string. Received ${K.inspect(path)}`);
    }
  };
  const fold = (path, absolute) => {
    const kept = [];
    for (const part of path.split("/")) {
      if (part === "" || part === ".") continue;
      if (part !== "..") kept.push(part);
      else if (kept.length && kept.at(-1) !== "..") kept.pop();
      else if (!absolute) kept.push("..");
    }
    return kept.join("/");
  };

  const path = {
    sep: "/", delimiter: ":",
    isAbsolute: (p) => (check(p), p.startsWith("/")),
    normalize(p) {
      check(p);
      if (p === "") return ".";
      const absolute = p.startsWith("/");
      const body = fold(p, absolute) || (absolute ? "" : ".");
      return (absolute ? "/" : "") + body + (p.endsWith("/") && body !== "" && body !== "." ? "/" : p.endsWith("/") && body === "." ? "/" : "");
    },
    join(...parts) {
      parts.forEach((part) => check(part));
      const joined = parts.filter(Boolean).join("/");
      return joined === "" ? "." : path.normalize(joined);
    },
    resolve(...parts) {
      let found = "";
      for (let i = parts.length - 1; i >= 0 && !found.startsWith("/"); i--) {
        check(parts[i], `paths[${i}]`);
        if (parts[i]) found = found ? `${parts[i]}/${found}` : parts[i];
      }
      if (!found.startsWith("/")) found = found ? `${K.cwd}/${found}` : K.cwd;
      return `/${fold(found, true)}`;
    },
    relative(from, to) {
      const a = path.resolve(from).split("/").filter(Boolean);
      const b = path.resolve(to).split("/").filter(Boolean);
      let same = 0;
      while (same < a.length && same < b.length && a[same] === b[same]) same++;
      return [...a.slice(same).map(() => ".."), ...b.slice(same)].join("/");
    },
    dirname(p) {
      check(p);
      const trimmed = p.replace(/\/+$/, "");
      const at = trimmed.lastIndexOf("/");
      if (at < 0) return p.startsWith("/") ? "/" : ".";
      return trimmed.slice(0, at).replace(/\/+$/, "") || "/";
    },
    basename(p, suffix) {
      check(p);
      const name = p.replace(/\/+$/, "").split("/").at(-1);
      return suffix && name.endsWith(suffix) && name !== suffix ? name.slice(0, -suffix.length) : name;
    },
    extname(p) {
      const name = path.basename(p);
      const at = name.lastIndexOf(".");
      return at <= 0 || name === ".." ? "" : name.slice(at);
    },
    parse(p) {
      check(p);
      const base = path.basename(p);
      const ext = path.extname(p);
      const root = p.startsWith("/") ? "/" : "";
      const dir = p.includes("/") ? path.dirname(p) : "";
      return { root, dir, base, ext, name: ext ? base.slice(0, -ext.length) : base };
    },
    format({ dir, root = "", base, name = "", ext = "" }) {
      const file = base ?? name + (ext && !ext.startsWith(".") ? `.${ext}` : ext);
      const folder = dir ?? root;
      return !folder ? file : folder === root ? folder + file : `${folder}/${file}`;
    },
    toNamespacedPath: (p) => p,
    matchesGlob(p, pattern) {
      const source = pattern.replace(/[.+^${}()|[\]\\]/g, "\\$&").replace(/\*\*\/?|\*|\?/g,
        (m) => m.startsWith("**") ? "(?:.*\\/)?" : m === "*" ? "[^/]*" : "[^/]");
      return new RegExp(`^${source}$`).test(p);
    },
  };
  path.posix = path;
  K.path = path;
})();
