/** Where the workspace lies; tests run as they were built, in test/dist. */
import { fileURLToPath } from "node:url";

export const workspaceFolder = fileURLToPath(new URL("../../../", import.meta.url));
