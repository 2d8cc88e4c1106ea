// node build.mjs OUT.wasm: bundles tool.js with what it imports and makes the component.
import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { componentize } from "@bytecodealliance/componentize-js";
import { rolldown } from "rolldown";

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const bundle = await rolldown({ input: here("tool.js"), logLevel: "silent" });
const { output: [{ code }] } = await bundle.generate({ format: "esm" });
// What is not enabled is not imported, so that the tool needs no grant for it.
const disableFeatures = ["random", "stdio", "clocks", "http", "fetch-event"];
const { component } = await componentize(code, { witPath: here("wit"), worldName: "tool", disableFeatures });
await writeFile(process.argv[2], component);
