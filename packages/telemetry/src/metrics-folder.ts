import { open } from "node:fs/promises";

/** Makes the names in a folder durable: a file that is new, or renamed, is only there for good once its folder is flushed. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } catch (error) {
    // Some network file systems have no flush for folders and keep names durable by themselves.
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code !== "EINVAL" && code !== "ENOTSUP") throw error;
  } finally {
    await folder.close();
  }
}
