import type { Millis, WorkerDone, WorkerHello, WorkerReady } from "@ringmaster/protocol";

/** A worker that was admitted. */
export interface Member {
  readonly connection: number;
  readonly hello: WorkerHello;
  rank: number;
  heardMs: Millis;
  ready: WorkerReady | undefined;
  done: WorkerDone | undefined;
  failed: { readonly code: string; readonly message: string } | undefined;
  bye: string | undefined;
}

export const describeMember = ({ rank, hello }: Member): string => `rank ${rank} (pid ${hello.pid} on ${hello.host})`;
