/** Effects of the coordinator's core that come up in many places, and words to workers that are put together from what it knows. */
import { type CoordinatorMessage, maxErrorChars, shorten } from "@ringmaster/protocol";
import type { Connection, CoordinatorEffect, RunEvent } from "./coordinator-io.ts";
import type { KnownWorkers } from "./known-workers.ts";
import type { MembershipRecord } from "./membership.ts";

export const event = (shown: RunEvent): CoordinatorEffect => ({ type: "event", event: shown });

export const forgotten = (step: number): CoordinatorEffect => ({ type: "forgetState", step });

export const abort = (code: string, message: string): CoordinatorMessage => ({
  type: "CoordinatorAbort",
  code,
  message: shorten(message, maxErrorChars),
});

export const turnedAway = (connection: Connection, code: string, message: string): CoordinatorEffect[] => [
  { type: "send", connection, message: abort(code, message) },
  { type: "close", connection, reason: code },
];

/** What a worker is told of a record. */
export function wordOf(record: MembershipRecord, workers: KnownWorkers): CoordinatorMessage {
  if (record.kind === "opened") {
    const { generation, members } = record;
    return { type: "CoordinatorRegroup", generation, members: [...members] };
  }
  const { generation, step, stateId, seating, members } = record;
  const peers = members.map((workerId) => {
    const ring = workers.find(workerId)?.hello.ring ?? { host: "localhost", port: 0 };
    return { workerId, host: ring.host, port: ring.port };
  });
  return { type: "CoordinatorProceed", generation, step, stateId, seating: [...seating], peers };
}
