// TypeScript, and a main program's `import` and `export`, by sucrase: it works on tokens, keeps every line where it was, and
// runs in here, so that a hostile source harms nobody else.
(() => {
  "use strict";
  const K = globalThis.__cofferdam;
  const { sucrase } = K;

  const complain = (error, filename) => {
    const match = /^(.*?) \((\d+):(\d+)\)$/s.exec(error.message.replace(/^Error transforming [^:]*: /, ""));
    const failed = new SyntaxError(match ? match[1] : error.message);
    if (match) failed.stack = `SyntaxError: ${match[1]}\n    at ${filename}:${match[2]}:${match[3]}`;
    return failed;
  };
  const transform = (source, filename, transforms) => {
    try {
      return sucrase.transform(source, { transforms, disableESTransforms: true, keepUnusedImports: false });
    } catch (error) {
      throw complain(error, filename);
    }
  };

  K.stripTypes = (source, filename) => transform(source, filename, ["typescript"]);
  K.toCommon = (source, filename) => transform(source, filename, ["imports"]);

  const lines = (text) => "\n".repeat(text.split("\n").length - 1);

  // One `import ... from "x"` from its tokens, as a statement with `await import`.
  const importStatement = (source, tokens, tt) => {
    const at = tokens.findIndex((token) => token.type === tt.string &&
      (token === tokens[1] || source.slice(tokens[tokens.indexOf(token) - 1].start, tokens[tokens.indexOf(token) - 1].end) === "from"));
    const text = (token) => source.slice(token.start, token.end);
    const attributes = tokens.slice(at + 1).filter((token) => token.type !== tt.semi);
    const options = attributes.length ? `, { with: ${source.slice(attributes[1].start, attributes[attributes.length - 1].end)} }` : "";
    const call = `await import(${text(tokens[at])}${options})`;
    const clause = tokens.slice(1, Math.max(1, at - 1));
    if (clause.length === 0) return call;
    const names = [];
    let whole;
    for (let i = 0; i < clause.length; i++) {
      if (clause[i].type === tt.star) {
        whole = text(clause[i + 2]);
        i += 2;
      } else if (clause[i].type === tt.braceL) {
        for (i++; clause[i].type !== tt.braceR; i++) {
          if (clause[i].type === tt.comma) continue;
          const name = text(clause[i]);
          if (clause[i + 1].type !== tt.comma && clause[i + 1].type !== tt.braceR) {
            names.push(`${name}: ${text(clause[i + 2])}`);
            i += 2;
          } else {
            names.push(name);
          }
        }
      } else if (clause[i].type !== tt.comma) {
        names.push(`default: ${text(clause[i])}`);
      }
    }
    if (whole === undefined) return `const { ${names.join(", ")} } = ${call}`;
    return `const ${whole} = ${call}${names.length ? `; const { ${names.join(", ")} } = ${whole}` : ""}`;
  };

  // The end of an import or `export ... from` declaration: its last token's index.
  const declarationEnd = (source, tokens, start, tt) => {
    let i = start + 1;
    while (tokens[i].type !== tt.string && tokens[i].type !== tt.eof) {
      if (tokens[i].type === tt.braceL) while (tokens[i].type !== tt.braceR && tokens[i].type !== tt.eof) i++;
      i++;
    }
    const next = tokens[i + 1];
    if (next && (source.slice(next.start, next.end) === "with" || source.slice(next.start, next.end) === "assert") &&
      tokens[i + 2]?.type === tt.braceL) {
      i += 2;
      while (tokens[i].type !== tt.braceR && tokens[i].type !== tt.eof) i++;
    }
    if (tokens[i + 1]?.type === tt.semi) i++;
    return i;
  };

  // A main program that is a module, as a script with top-level await: imports become `await import` at the place of the
  // first one, exports lose the word.
  K.moduleToScript = (source, filename) => {
    const { tt } = sucrase;
    let tokens;
    try {
      tokens = sucrase.tokens(source);
    } catch (error) {
      throw complain(error, filename);
    }
    const edits = [];
    const imports = [];
    const word = (token) => source.slice(token.start, token.end);
    for (let i = 0; i < tokens.length; i++) {
      const token = tokens[i];
      const next = tokens[i + 1];
      // sucrase calls the `import` of import.meta a name
      if (next?.type === tt.dot && word(token) === "import" && word(tokens[i + 2]) === "meta" && tokens[i - 1]?.type !== tt.dot) {
        edits.push([token.start, tokens[i + 2].end, "__importMeta"]);
      } else if (token.type === tt._import && next.type !== tt.parenL && next.type !== tt.dot) {
        const end = declarationEnd(source, tokens, i, tt);
        imports.push(importStatement(source, tokens.slice(i, end + 1), tt));
        edits.push([token.start, tokens[end].end, lines(source.slice(token.start, tokens[end].end)), imports.length === 1]);
        i = end;
      } else if (token.type === tt._export && token.scopeDepth === 0) {
        if (next.type === tt._default) {
          const after = tokens[i + 2];
          const isNamed = (at) => tokens[at].type === tt.name || tokens[at].type === tt.star && tokens[at + 1].type === tt.name;
          const declares = (after.type === tt._class || after.type === tt._function) && isNamed(i + 3) ||
            word(after) === "async" && tokens[i + 3].type === tt._function && isNamed(i + 4);
          edits.push([token.start, next.end, declares ? "" : "0,"]);
        } else if (next.type === tt.braceL || next.type === tt.star) {
          let end = i + 1;
          if (next.type === tt.braceL) while (tokens[end].type !== tt.braceR) end++;
          const from = tokens.slice(end, end + 5).findIndex((t) => word(t) === "from");
          if (next.type === tt.star || from === 1) {
            end = declarationEnd(source, tokens, i, tt);
            const name = tokens.slice(i, end + 1).findLast((t) => t.type === tt.string);
            edits.push([token.start, tokens[end].end, `await import(${word(name)});${lines(source.slice(token.start, tokens[end].end))}`]);
          } else {
            edits.push([token.start, tokens[end].end, lines(source.slice(token.start, tokens[end].end))]);
          }
          i = end;
        } else {
          edits.push([token.start, token.end, ""]);
        }
      }
    }
    let text = "";
    let at = 0;
    for (const [start, end, replacement, first] of edits) {
      text += source.slice(at, start) + (first ? `${imports.join("; ")};` : "") + replacement;
      at = end;
    }
    return text + source.slice(at);
  };
})();
