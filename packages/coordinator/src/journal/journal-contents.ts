/** What the journal remembers, and its form on disk: a SHA-256 of the rest, a space, JSON. */
import { createHash } from "node:crypto";
import { maxSeats, maxUint32 } from "@ringmaster/protocol";
import { z } from "zod";
import type { MembershipRecord } from "../membership.ts";

export interface CheckpointEntry {
  readonly step: number;
  readonly stateId: string;
  readonly stateHash: string;
}

export interface JournalContents {
  /** The newest record; null before the first. */
  readonly record: MembershipRecord | null;
  /** The highest generation ever recorded or stated. */
  readonly usedGeneration: number;
  readonly checkpoint: CheckpointEntry | null;
  /** Plan ids used. */
  readonly plans: number;
}

export type StoredJournal = JournalContents & { readonly epoch: number };

const uint32 = z.int().min(0).max(maxUint32);
const workerIds = z.array(z.uuid()).min(1).max(maxSeats);
const stateId = z.string().regex(/^[0-9a-f]{16}$/);

const storedSchema: z.ZodType<StoredJournal> = z.strictObject({
  epoch: uint32,
  record: z
    .discriminatedUnion("kind", [
      z.strictObject({ kind: z.literal("opened"), generation: uint32, members: workerIds }),
      z.strictObject({
        kind: z.literal("proceeding"),
        generation: uint32,
        members: workerIds,
        seating: z
          .array(
            z
              .int()
              .min(0)
              .max(maxSeats - 1),
          )
          .min(1)
          .max(maxSeats),
        step: uint32,
        stateId,
      }),
    ])
    .nullable(),
  usedGeneration: uint32,
  checkpoint: z.strictObject({ step: uint32, stateId, stateHash: z.string().regex(/^[0-9a-f]{64}$/) }).nullable(),
  plans: uint32,
});

export function encodeJournal(stored: StoredJournal): string {
  const json = JSON.stringify(storedSchema.parse(stored));
  return `${digest(json)} ${json}`;
}

/** Null where the text is not what {@link encodeJournal} made. */
export function decodeJournal(text: string): StoredJournal | null {
  const json = text.slice(65);
  if (text.slice(0, 65) !== `${digest(json)} `) return null;
  const parsed = storedSchema.safeParse(JSON.parse(json));
  return parsed.success ? parsed.data : null;
}

function digest(json: string): string {
  return createHash("sha256").update(json).digest("hex");
}
