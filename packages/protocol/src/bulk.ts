/**
 * Bulk messages: gradients between ranks, state between coordinator and worker.
 *
 * Each is one msgpack value, an array of seven: six unsigned integers and a binary. The integers always take five bytes and the binary's length
 * always four, so the header is 36 bytes, written and read in place, and the payload behind it stays aligned for 32-bit words:
 *
 *     97  ce kkkkkkkk  ce ........ x 5  c6 nnnnnnnn  payload
 *
 * | kind       |   | 2          | 3     | 4              | 5             | 6       |
 * | ---------- | - | ---------- | ----- | -------------- | ------------- | ------- |
 * | `partial`  | 1 | generation | round | bucket         | chunk         | segment |
 * | `complete` | 2 | generation | round | bucket         | chunk         | segment |
 * | `state`    | 3 | generation | step  | offset >>> 32  | offset % 2^32 | 0       |
 */
import { maxSegmentBytes, maxStateBytes, maxStatePartBytes, maxUint32 } from "./limits.ts";
import { ProtocolError } from "./protocol-error.ts";

export const bulkHeaderBytes = 36;

/** A segment on its way round the ring: a sum that still lacks seats, or a complete one. */
export interface RingHeader {
  kind: "partial" | "complete";
  generation: number;
  round: number;
  bucket: number;
  chunk: number;
  segment: number;
}

/** A part of the state after `step`. */
export interface StateHeader {
  generation: number;
  step: number;
  /** Where in the state its bytes belong. */
  byteOffset: number;
}

/** `payload` is a view of the message, not a copy: little-endian 32-bit words. */
export interface RingMessage extends RingHeader {
  payload: Uint8Array;
}

/** `payload` is a view of the message, not a copy. */
export interface StateMessage extends StateHeader {
  kind: "state";
  payload: Uint8Array;
}

export type BulkMessage = RingMessage | StateMessage;

const arrayOfSeven = 0x97;
const uint32Format = 0xce;
const binary32Format = 0xc6;
const fieldBytes = 5;
const lengthAt = 1 + 6 * fieldBytes;
const kinds = { partial: 1, complete: 2, state: 3 } as const;

/** Whether a message is bulk or control: the first byte tells. */
export function isBulk(bytes: Uint8Array): boolean {
  return bytes[0] === arrayOfSeven;
}

/**
 * Writes a ring message's header into the first 36 bytes of `target`; the payload is sent behind it.
 * @throws ProtocolError MESSAGE_INVALID, MESSAGE_TOO_LARGE, and MESSAGE_CUT_SHORT where `target` is too small
 */
export function writeRingHeader(target: Uint8Array, header: RingHeader, payloadBytes: number): void {
  const { kind, generation, round, bucket, chunk, segment } = header;
  checkRingPayload(payloadBytes);
  writeHeader(target, kinds[kind], generation, round, bucket, chunk, segment, payloadBytes);
}

export function encodeRingHeader(header: RingHeader, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(bulkHeaderBytes);
  writeRingHeader(bytes, header, payloadBytes);
  return bytes;
}

/** Like `writeRingHeader`, for a part of the state. */
export function writeStateHeader(target: Uint8Array, header: StateHeader, payloadBytes: number): void {
  const { generation, step, byteOffset } = header;
  checkStatePayload(byteOffset, payloadBytes);
  const high = Math.floor(byteOffset / 2 ** 32);
  writeHeader(target, kinds.state, generation, step, high, byteOffset >>> 0, 0, payloadBytes);
}

export function encodeStateHeader(header: StateHeader, payloadBytes: number): Uint8Array {
  const bytes = new Uint8Array(bulkHeaderBytes);
  writeStateHeader(bytes, header, payloadBytes);
  return bytes;
}

/**
 * Reads a whole bulk message.
 * @throws ProtocolError, and nothing else, whatever the bytes
 */
export function parseBulk(bytes: Uint8Array): BulkMessage {
  checkForm(bytes);
  const generation = readField(bytes, 1);
  const payload = bytes.subarray(bulkHeaderBytes);
  const kind = readField(bytes, 0);
  if (kind === kinds.state) {
    const byteOffset = readField(bytes, 3) * 2 ** 32 + readField(bytes, 4);
    const unused = readField(bytes, 5);
    if (unused !== 0) throw invalid("state: the last field", "0", unused);
    checkStatePayload(byteOffset, payload.length);
    return { kind: "state", generation, step: readField(bytes, 2), byteOffset, payload };
  }
  if (kind !== kinds.partial && kind !== kinds.complete) {
    throw new ProtocolError(
      "MESSAGE_UNKNOWN",
      `bulk message: expected kind 1 (partial), 2 (complete) or 3 (state), found ${kind}`,
    );
  }
  checkRingPayload(payload.length);
  return {
    kind: kind === kinds.partial ? "partial" : "complete",
    generation,
    round: readField(bytes, 2),
    bucket: readField(bytes, 3),
    chunk: readField(bytes, 4),
    segment: readField(bytes, 5),
    payload,
  };
}

/** The bytes are one header of the fixed form and exactly the payload that it declares. */
function checkForm(bytes: Uint8Array): void {
  if (bytes.length > 0 && bytes[0] !== arrayOfSeven) throw malformed("the first byte 0x97", bytes[0]);
  for (let at = 1; at < Math.min(bytes.length, lengthAt); at += fieldBytes) {
    if (bytes[at] !== uint32Format) throw malformed(`0xce at byte ${at}`, bytes[at]);
  }
  if (bytes.length > lengthAt && bytes[lengthAt] !== binary32Format)
    throw malformed("0xc6 at byte 31", bytes[lengthAt]);
  if (bytes.length < bulkHeaderBytes) throw cutShort(`a header of ${bulkHeaderBytes} bytes`, bytes.length);
  const declared = readUint32(bytes, lengthAt + 1);
  const found = bytes.length - bulkHeaderBytes;
  if (declared > maxStatePartBytes) throw tooLarge(maxStatePartBytes, declared);
  if (found < declared) throw cutShort(`a payload of ${declared} bytes`, found);
  if (found > declared) {
    throw new ProtocolError(
      "MESSAGE_MALFORMED",
      `bulk message: expected a payload of ${declared} bytes, found ${found}`,
    );
  }
}

function checkRingPayload(payloadBytes: number): void {
  if (payloadBytes > maxSegmentBytes) throw tooLarge(maxSegmentBytes, payloadBytes);
  if (!(payloadBytes >= 0 && payloadBytes % 4 === 0)) throw invalid("ring payload", "whole 32-bit words", payloadBytes);
}

function checkStatePayload(byteOffset: number, payloadBytes: number): void {
  if (payloadBytes > maxStatePartBytes) throw tooLarge(maxStatePartBytes, payloadBytes);
  if (!(Number.isInteger(payloadBytes) && payloadBytes >= 0))
    throw invalid("state payload", "a count of bytes", payloadBytes);
  if (!(Number.isInteger(byteOffset) && byteOffset >= 0 && byteOffset + payloadBytes <= maxStateBytes)) {
    throw invalid("state: the byte offset", `a part within ${maxStateBytes} bytes`, byteOffset);
  }
}

function writeHeader(
  target: Uint8Array,
  kind: number,
  generation: number,
  second: number,
  third: number,
  fourth: number,
  fifth: number,
  payloadBytes: number,
): void {
  if (target.length < bulkHeaderBytes) throw cutShort(`room for a header of ${bulkHeaderBytes} bytes`, target.length);
  target[0] = arrayOfSeven;
  writeField(target, 0, kind);
  writeField(target, 1, generation);
  writeField(target, 2, second);
  writeField(target, 3, third);
  writeField(target, 4, fourth);
  writeField(target, 5, fifth);
  target[lengthAt] = binary32Format;
  writeUint32(target, lengthAt + 1, payloadBytes);
}

function writeField(target: Uint8Array, index: number, value: number): void {
  if (!(Number.isInteger(value) && value >= 0 && value <= maxUint32)) {
    throw invalid(`bulk message: field ${index + 1}`, `a whole number from 0 to ${maxUint32}`, value);
  }
  target[1 + index * fieldBytes] = uint32Format;
  writeUint32(target, 2 + index * fieldBytes, value);
}

function readField(bytes: Uint8Array, index: number): number {
  return readUint32(bytes, 2 + index * fieldBytes);
}

// By hand: a DataView would be an allocation a segment.
function writeUint32(target: Uint8Array, at: number, value: number): void {
  target[at] = value >>> 24;
  target[at + 1] = value >>> 16;
  target[at + 2] = value >>> 8;
  target[at + 3] = value;
}

function readUint32(bytes: Uint8Array, at: number): number {
  const high = ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  return high * 2 ** 16 + (((bytes[at + 2] ?? 0) << 8) | (bytes[at + 3] ?? 0));
}

function malformed(expected: string, found: number | undefined): ProtocolError {
  return new ProtocolError(
    "MESSAGE_MALFORMED",
    `bulk message: expected ${expected}, found 0x${(found ?? 0).toString(16)}`,
  );
}

function cutShort(expected: string, found: number): ProtocolError {
  return new ProtocolError("MESSAGE_CUT_SHORT", `bulk message: expected ${expected}, found ${found} bytes`);
}

function tooLarge(bound: number, found: number): ProtocolError {
  return new ProtocolError(
    "MESSAGE_TOO_LARGE",
    `bulk message: expected a payload of at most ${bound} bytes, found ${found}`,
  );
}

function invalid(what: string, expected: string, found: number): ProtocolError {
  return new ProtocolError("MESSAGE_INVALID", `${what}: expected ${expected}, found ${found}`);
}
