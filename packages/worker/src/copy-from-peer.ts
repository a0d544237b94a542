/** Copies the state from a member that holds it: those that do are asked in turn, beginning with another one at each copying rank. */
import { fetchState } from "@ringmaster/collective";
import { type CoordinatorFetch, type PeerState, parsePeerState, parseWorkerMessage } from "@ringmaster/protocol";
import type { StateTensors } from "@ringmaster/training";
import type { HistoryMessage } from "./outbox.ts";
import { restoreState, stateBytes } from "./state-transfer.ts";
import { explain, WorkerError } from "./worker-error.ts";

export interface CopyOptions extends Pick<CoordinatorFetch, "generation" | "step" | "stateId" | "from"> {
  /** This rank's in the generation's list. */
  readonly position: number;
  /** Of the ring's links. */
  readonly secret: string;
  readonly run: string;
  readonly tensors: StateTensors;
  readonly signal: AbortSignal;
}

type CopyOutcome =
  | { readonly kind: "copied"; readonly peer: PeerState; readonly history: readonly HistoryMessage[] }
  /** No peer gave it. `peer` is the position of the last that was asked. */
  | { readonly kind: "failed"; readonly peer: number | null; readonly message: string };

/**
 * Until the whole state is here the tensors are as they were.
 * @throws the signal's reason, once it is aborted
 */
export async function copyFromPeer(options: CopyOptions): Promise<CopyOutcome> {
  const { from, position, tensors, signal, ...common } = options;
  const first = Math.max(0, position) % from.length;
  const failures: string[] = [];
  let last: number | null = null;
  for (const { position: holder, host, port } of [...from.slice(first), ...from.slice(0, first)]) {
    last = holder;
    try {
      const ends = { from: holder, to: position, host, port };
      const { about, bytes } = await fetchState({ ...common, ...ends, totalBytes: stateBytes(tensors), signal });
      const [first, ...rest] = about;
      const peer = parsePeerState(first ?? new Uint8Array());
      checkIsWanted(peer, options);
      const history = rest.map((bytes) => parseHistory(bytes, peer.step));
      signal.throwIfAborted();
      restoreState(tensors, bytes);
      return { kind: "copied", peer, history };
    } catch (error) {
      signal.throwIfAborted();
      failures.push(explain(error).message);
    }
  }
  return { kind: "failed", peer: last, message: failures.join("; ") };
}

function parseHistory(bytes: Uint8Array, step: number): HistoryMessage {
  const message = parseWorkerMessage(bytes);
  const isHistory = message.type === "WorkerHeld" || message.type === "WorkerEvaluated";
  if (isHistory && message.step <= step) return message;
  const found = isHistory ? `of step ${message.step}` : `a ${message.type}`;
  throw new WorkerError("STATE_MALFORMED", `expected what was said of steps up to ${step}, found ${found}`);
}

function checkIsWanted({ generation, step, stateId, progress }: PeerState, wanted: CopyOptions): void {
  const isWanted =
    generation === wanted.generation && step === wanted.step && stateId === wanted.stateId && progress.step === step;
  if (isWanted) return;
  const expected = `generation ${wanted.generation}, step ${wanted.step}, id ${wanted.stateId}`;
  const found = `generation ${generation}, step ${step}, id ${stateId}, with the progress of step ${progress.step}`;
  throw new WorkerError("STATE_MALFORMED", `expected a peer's state of ${expected}, found one of ${found}`);
}
