/**
 * A step's receipt: proof that exactly the samples that the sampler drew were worked, each once, in its slot, in this step.
 *
 * Every slot contributes the four bytes of a 32-bit hash of (step, slot, sample id). Each byte is summed on its own over the batch, so a
 * receipt is four integers below 2^24: exact in float32, and the sum of the seats' receipts, in any order, is the batch's. They travel in
 * the tail of the gradients; each rank compares them with `expectedReceipt`.
 *
 * What it finds: another sample in one slot, always (the hash is a bijection of the id); anything else, such as two samples that changed
 * places or a whole stale batch, but for a chance of about 1 in 10^10, less where more samples are wrong. The number of samples, which
 * travels beside it, finds what adds or lacks a slot whose hash is 0.
 */
import { DataError } from "./data-error.ts";
import { absorb, absorbInteger, finish } from "./mix.ts";

/** Sums of the hashes' bytes, least significant first. */
export type Receipt = [number, number, number, number];

/** 65,536 x 255 < 2^24: with more samples a sum could leave the integers that float32 holds. */
export const MOST_BATCH_SAMPLES = 65_536;

const HASHED_BYTES = 16;

/**
 * The receipt of consecutive slots of a step's batch, from the ids of the samples as they were delivered.
 *
 * @param firstSlot the slot of ids[0] in the global batch
 * @throws DataError BATCH_TOO_LARGE
 */
export function receiptLimbs(step: number, firstSlot: number, ids: Uint32Array): Receipt {
  if (firstSlot + ids.length > MOST_BATCH_SAMPLES) {
    const found = `${firstSlot + ids.length}`;
    throw new DataError(
      "BATCH_TOO_LARGE",
      `expected a batch of at most ${MOST_BATCH_SAMPLES}, found ${found}: lower the batch size`,
    );
  }
  const stepState = absorbInteger(0, step);
  const limbs: Receipt = [0, 0, 0, 0];
  for (let i = 0; i < ids.length; i++) {
    const hash = finish(absorb(absorb(stepState, firstSlot + i), ids[i] as number), HASHED_BYTES);
    limbs[0] += hash & 0xff;
    limbs[1] += (hash >>> 8) & 0xff;
    limbs[2] += (hash >>> 16) & 0xff;
    limbs[3] += hash >>> 24;
  }
  return limbs;
}

/** What the seats' receipts of a step must add up to. `ids`: the whole global batch in slot order. */
export function expectedReceipt(step: number, ids: Uint32Array): Receipt {
  return receiptLimbs(step, 0, ids);
}
