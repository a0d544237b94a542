/** Where the workspace lies, whether a harness runs from its source or as it was built. */
import { fileURLToPath } from "node:url";

const here = import.meta.url.endsWith(".ts") ? "../../" : "../../../";

export const workspaceFolder = fileURLToPath(new URL(here, import.meta.url));
