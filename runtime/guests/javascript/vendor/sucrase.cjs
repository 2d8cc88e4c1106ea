// What the prelude uses of sucrase: `transform` (its own index.js, less the option checks and source maps) and `tokens`. The
// bundle that scripts/kernels.py makes starts here.
"use strict";
const { parse } = require("./parser");
const { TokenType } = require("./parser/tokenizer/types");
const { HelperManager } = require("./HelperManager");
const NameManager = require("./NameManager").default;
const TokenProcessor = require("./TokenProcessor").default;
const CJSImportProcessor = require("./CJSImportProcessor").default;
const RootTransformer = require("./transformers/RootTransformer").default;
const identifyShadowedGlobals = require("./identifyShadowedGlobals").default;
const getTSImportedNames = require("./util/getTSImportedNames").default;

const context = (code, options) => {
  const typed = options.transforms.includes("typescript");
  const { tokens, scopes } = parse(code, options.transforms.includes("jsx"), typed, false);
  const nameManager = new NameManager(code, tokens);
  const helperManager = new HelperManager(nameManager);
  const tokenProcessor = new TokenProcessor(code, tokens, false, true, helperManager);
  let importProcessor = null;
  if (options.transforms.includes("imports")) {
    importProcessor = new CJSImportProcessor(nameManager, tokenProcessor, false, options, typed, false, helperManager);
    importProcessor.preprocessTokens();
    identifyShadowedGlobals(tokenProcessor, scopes, importProcessor.getGlobalNames());
  } else if (typed) {
    identifyShadowedGlobals(tokenProcessor, scopes, getTSImportedNames(tokenProcessor));
  }
  return { tokenProcessor, scopes, nameManager, importProcessor, helperManager };
};

exports.transform = (code, options) =>
  new RootTransformer(context(code, options), options.transforms, false, options).transform().code;
exports.tokens = (code) => parse(code, false, false, false).tokens;
exports.tt = TokenType;
