/**
 * Bundles tfjs-node's kernels into dist/vendor, so that its package stays here: at a user's its install script would download a native
 * library that Ringmaster does not use, from a host that may be out of reach. Sources and tests import the bundle as `#tfjs-node-kernels`.
 */
import { copyFileSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = join(here, "..", "dist", "vendor");
const original = dirname(createRequire(import.meta.url).resolve("@tensorflow/tfjs-node-gpu/package.json"));

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });
await build({
  entryPoints: [join(here, "tfjs-node-kernels.js")],
  outfile: join(out, "tfjs-node-kernels.cjs"),
  bundle: true,
  platform: "node",
  target: "node20",
  format: "cjs",
  // One tfjs in a process: kernels are registered with the instance that they are loaded with.
  external: ["@tensorflow/tfjs"],
  alias: { "@tensorflow/tfjs-core": "@tensorflow/tfjs", util: join(here, "node-util.js") },
  banner: { js: "/* Bundled from @tensorflow/tfjs-node-gpu, Apache-2.0: see NOTICE and LICENSE beside this file. */" },
  legalComments: "eof",
  logLevel: "warning",
  plugins: [
    {
      name: "no-summaries",
      setup: ({ onResolve }) => onResolve({ filter: /\/api_pb$/ }, () => ({ path: join(here, "no-summaries.js") })),
    },
  ],
});

const typesOf = (file) => {
  const text = readFileSync(join(original, "dist", file), "utf8");
  writeFileSync(join(out, file), text.replaceAll(/from '(\.\/\w+)'/g, "from '$1.js'"));
};
typesOf("nodejs_kernel_backend.d.ts");
typesOf("tfjs_binding.d.ts");
const reExports = readFileSync(join(here, "tfjs-node-kernels.d.ts"), "utf8");
writeFileSync(join(out, "tfjs-node-kernels.d.ts"), reExports.replaceAll("@tensorflow/tfjs-node-gpu/dist/", "./"));
copyFileSync(join(here, "NOTICE"), join(out, "NOTICE"));
copyFileSync(join(here, "..", "LICENSE"), join(out, "LICENSE"));
