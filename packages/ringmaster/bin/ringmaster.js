#!/usr/bin/env node
// Committed, so that npm can link the command before the first build.
import { existsSync } from "node:fs";

const cli = new URL("../dist/src/cli.js", import.meta.url);
if (existsSync(cli)) await import(cli.href);
else {
  console.error("ringmaster: it is not built yet: run npm run build in the repository [NOT_BUILT]");
  process.exitCode = 2;
}
