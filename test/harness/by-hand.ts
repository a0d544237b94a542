/** A run as it is started over several machines: a coordinator, and workers that join it, each a command of its own. */
import { randomBytes } from "node:crypto";
import { type Launch, type Owner, start } from "./ringmaster.ts";

export interface ByHand {
  readonly coordinator: Launch;
  readonly workers: readonly Launch[];
  readonly url: string;
  readonly token: string;
}

export interface ByHandOptions {
  readonly ranks: number;
  /** Of the coordinator. */
  readonly args: readonly string[];
  /** How many workers to start at once. Default: all. */
  readonly workers?: number;
}

export async function startByHand(t: Owner, config: string, options: ByHandOptions): Promise<ByHand> {
  const { ranks, args, workers = ranks } = options;
  const token = randomBytes(16).toString("hex");
  const coordinator = start(t, ["coordinator", config, "--ranks", String(ranks), "--port", "0", ...args], {
    env: { RINGMASTER_TOKEN: token },
  });
  const [, url = ""] = await coordinator.line(/--join (ws:\S+)/);
  return {
    coordinator,
    workers: Array.from({ length: workers }, () => startWorker(t, config, { url, token })),
    url,
    token,
  };
}

export const startWorker = (
  t: Owner,
  config: string,
  { url, token }: { url: string; token: string },
  ...more: string[]
): Launch =>
  start(t, ["worker", config, "--join", url, "--threads", "1", ...more], { env: { RINGMASTER_TOKEN: token } });
