import { cpus } from "node:os";
import type { TensorflowBackend } from "./tensorflow-backend.ts";

/** What a gradient's bits depend on besides the run itself. Ranks whose fingerprints differ may compute different bits. */
export interface NumericsFingerprint {
  readonly backend: string;
  readonly backendVersion: string;
  readonly node: string;
  readonly cpu: string;
}

export function numericsFingerprint(backend: TensorflowBackend): NumericsFingerprint {
  return {
    backend: `tensorflow-${backend.device.kind}`,
    backendVersion: backend.version,
    node: process.version,
    cpu: backend.device.kind === "gpu" ? backend.device.name : (cpus()[0]?.model.trim() ?? "unknown"),
  };
}
