/**
 * The books of a run, kept by someone else: which samples each step had to work is taken from the config, what a receipt must be from MurmurHash3's
 * definition (Appleby, public domain) over bytes, and both are compared with the rows that the run wrote.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { createSampler, splitTrain } from "@ringmaster/data";
import type { Test } from "tap";
import { type MetricsRecord, metrics } from "./run-files.ts";

interface Settled {
  readonly seed: number;
  readonly batchSize: number;
  readonly seats: number;
  readonly validation: { readonly count: number };
}

/** @param train how many training samples the config's data has @returns how many steps the run has made */
export function checkLedger(t: Pick<Test, "same">, run: string, train: number): number {
  const { config } = JSON.parse(readFileSync(join(run, "config.json"), "utf8")) as { config: Settled };
  const { seed, batchSize, seats, validation } = config;
  const sampleIds = splitTrain(train, validation.count, seed).train;
  const { stepsPerEpoch, batch } = createSampler({ seed, sampleIds, batchSize, seats });
  const rows = metrics(run);
  const steps = rows.filter(({ type }) => type === "step");
  t.same(outOfOrder(steps), [], "each step once, in order");

  const wrong = steps.filter(({ samples, receipt }, index) => {
    const ids = batch(index);
    return samples !== ids.length || String(receipt) !== String(receiptOf(index, ids));
  });
  t.same(wrong.slice(0, 2), [], "each step has worked its samples, and has their receipt");

  const all = [...sampleIds].sort((a, b) => a - b).join();
  const epochs = Math.floor(steps.length / stepsPerEpoch);
  const unlike = range(epochs).filter((epoch) => {
    const worked = range(stepsPerEpoch).flatMap((step) => [...batch(epoch * stepsPerEpoch + step)]);
    return worked.sort((a, b) => a - b).join() !== all;
  });
  t.same(unlike.slice(0, 5), [], "each epoch has worked each sample once");

  if (validation.count === 0) return steps.length;
  const validated = rows.filter(({ split }) => split === "validation").map(({ step }) => Number(step) / stepsPerEpoch);
  t.same(
    validated,
    range(epochs).map((epoch) => epoch + 1),
    "each epoch was validated once, at its end",
  );
  return steps.length;
}

const range = (count: number): number[] => Array.from({ length: count }, (_, index) => index);

/** The first rows whose steps are not next, each with the one before. */
const outOfOrder = (steps: readonly MetricsRecord[]): string[] =>
  steps
    .flatMap(({ step }, index) => {
      const before = index === 0 ? 0 : Number(steps[index - 1]?.["step"]);
      return step === before + 1 ? [] : [`${step} after ${before}`];
    })
    .slice(0, 5);

/** [4]: the bytes of hash(step, slot, sample id), least significant first, each summed over the batch. */
function receiptOf(step: number, ids: Uint32Array): number[] {
  const sums = [0, 0, 0, 0];
  const key = Buffer.alloc(16);
  key.writeBigUInt64LE(BigInt(step), 0);
  const hash = Buffer.alloc(4);
  for (const [slot, id] of ids.entries()) {
    key.writeUInt32LE(slot, 8);
    key.writeUInt32LE(id, 12);
    hash.writeUInt32LE(murmur3(key));
    for (const [limb, byte] of hash.entries()) sums[limb] = (sums[limb] ?? 0) + byte;
  }
  return sums;
}

/** MurmurHash3_x86_32 with seed 0 of whole 4-byte blocks. */
function murmur3(key: Buffer): number {
  const rotate = (value: number, bits: number) => (value << bits) | (value >>> (32 - bits));
  let hash = 0;
  for (let at = 0; at < key.length; at += 4) {
    hash ^= Math.imul(rotate(Math.imul(key.readInt32LE(at), 0xcc9e2d51), 15), 0x1b873593);
    hash = Math.imul(rotate(hash, 13), 5) + 0xe6546b64;
  }
  hash ^= key.length;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
