/** The codec of control messages: one msgpack map each, parsed once at the edge into a type that cannot be wrong. */
import { Packr, Unpackr } from "msgpackr";
import type { z } from "zod";
import { describeIssues, quote } from "./explain.ts";
import { maxControlBytes } from "./limits.ts";
import {
  type CoordinatorMessage,
  coordinatorMessageSchema,
  coordinatorMessageTypes,
  type WorkerMessage,
  workerMessageSchema,
  workerMessageTypes,
} from "./messages.ts";
import { checkOutline } from "./msgpack-outline.ts";
import { type PeerState, peerStateSchema } from "./peer-messages.ts";
import { ProtocolError } from "./protocol-error.ts";

// Whole numbers beyond 32 bits are sent as float64; a foreign encoder may send uint64, which must not become a bigint.
const packr = new Packr({ useRecords: false });
const unpackr = new Unpackr({ useRecords: false, int64AsType: "number" });

/** How many broken fields an error names before it only counts them. */
const namedIssues = 3;

/**
 * One msgpack map, in a buffer of its own. Negative zero is sent as zero.
 * @throws ProtocolError MESSAGE_TOO_LARGE
 */
export function encodeControl(message: WorkerMessage | CoordinatorMessage | PeerState): Uint8Array {
  const packed = packr.pack(message);
  if (packed.length > maxControlBytes) throw tooLarge(packed.length, message.type);
  return new Uint8Array(packed);
}

/**
 * What a coordinator makes of bytes from a worker.
 * @throws ProtocolError, and nothing else, whatever the bytes
 */
export function parseWorkerMessage(bytes: Uint8Array): WorkerMessage {
  return validate(workerMessageSchema, workerMessageTypes, decode(bytes));
}

/**
 * What a worker makes of bytes from the coordinator.
 * @throws ProtocolError, and nothing else, whatever the bytes
 */
export function parseCoordinatorMessage(bytes: Uint8Array): CoordinatorMessage {
  return validate(coordinatorMessageSchema, coordinatorMessageTypes, decode(bytes));
}

/**
 * What a rank makes of a peer's first message over a state link.
 * @throws ProtocolError, and nothing else, whatever the bytes
 */
export function parsePeerState(bytes: Uint8Array): PeerState {
  return validate(peerStateSchema, ["PeerState"], decode(bytes));
}

function decode(bytes: Uint8Array): unknown {
  if (bytes.length > maxControlBytes) throw tooLarge(bytes.length, "a control message");
  // Shared memory could change between the check and the decoding.
  const own = bytes.buffer instanceof ArrayBuffer ? bytes : Uint8Array.from(bytes);
  checkOutline(own);
  try {
    return unpackr.unpack(own);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ProtocolError(
      "MESSAGE_MALFORMED",
      `expected one msgpack value, found ${bytes.length} bytes: ${quote(reason)}`,
    );
  }
}

function validate<Message>(schema: z.ZodType<Message>, types: readonly string[], value: unknown): Message {
  const type = typeof value === "object" && value !== null && "type" in value ? value.type : undefined;
  if (typeof type !== "string" || !types.includes(type)) {
    throw new ProtocolError("MESSAGE_UNKNOWN", `expected a type out of ${types.join(", ")}, found ${quote(type)}`);
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const lines = describeIssues(parsed.error);
  const more = lines.length > namedIssues ? `; and ${lines.length - namedIssues} more` : "";
  throw new ProtocolError("MESSAGE_INVALID", `${type}: ${lines.slice(0, namedIssues).join("; ")}${more}`);
}

function tooLarge(bytes: number, what: string): ProtocolError {
  return new ProtocolError("MESSAGE_TOO_LARGE", `${what}: expected at most ${maxControlBytes} bytes, found ${bytes}`);
}
