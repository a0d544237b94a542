/**
 * A run's checkpoints, each a folder that is whole or not there:
 *
 *     checkpoints/step-00001200/model.safetensors
 *                               optimizer.safetensors
 *                               run.json               the record, with the checksums of all
 *
 * Writing trusts nothing that is not flushed and read back; reading trusts nothing that is not checked; deleting never takes the newest checkpoint known
 * to be good. A disk that fails fails one call: the next makes what is missing again, folders included, and cleans up what the last left behind.
 */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import {
  type FileToWrite,
  flushFolder,
  makeFolders,
  removeFolderAtomically,
  removeLeftovers,
  restoreSetAside,
  writeFolderAtomically,
} from "./atomic.ts";
import { canonicalJson } from "./canonical-json.ts";
import { CheckpointError, systemCode, unreadable, unwritable } from "./checkpoint-error.ts";
import { corrupt, digestOf } from "./checkpoint-files.ts";
import { readRecord, readTensors, verifyFiles } from "./checkpoint-read.ts";
import { type RunRecord, sealRunRecord } from "./run-record.ts";
import { encodeSafetensors, type NamedTensor } from "./safetensors.ts";

const MODEL_FILE = "model.safetensors";
const OPTIMIZER_FILE = "optimizer.safetensors";
const RECORD_FILE = "run.json";
const STEP_FOLDER = /^step-(\d{8,})$/;

/** A state to be saved. The tensors must not change until `save` resolves. */
export interface CheckpointToSave {
  /** Steps done, >= 0; names the checkpoint's folder. */
  readonly step: number;
  readonly model: readonly NamedTensor[];
  readonly optimizer: readonly NamedTensor[];
  /** run.json without what the store itself fills in. */
  readonly record: Omit<RunRecord, "format" | "step" | "files" | "recordSha256">;
}

/** A checkpoint that is whole and durable on disk. */
export interface SavedCheckpoint {
  readonly step: number;
  readonly folder: string;
  readonly record: RunRecord;
}

/** A checkpoint read back, every byte of it checked. The tensors are the caller's. */
export interface LoadedCheckpoint extends SavedCheckpoint {
  readonly model: NamedTensor[];
  readonly optimizer: NamedTensor[];
}

/** A checkpoint that was passed over, and why (one line). */
export interface RejectedCheckpoint {
  readonly step: number;
  readonly reason: string;
}

/** Which checkpoints stay. */
export interface RetentionPolicy {
  /** How many of the newest stay, >= 1. */
  readonly last: number;
  /** Steps that stay whatever their age, e.g. the best so far; one that is not there is no error. */
  readonly alsoKeep?: readonly number[];
}

/** What retention did. */
export interface Retained {
  /** Steps whose checkpoints are gone, ascending. */
  readonly removed: readonly number[];
  /** What kept others from being removed: worth saying, no reason to stop. Null: nothing did. */
  readonly problem: CheckpointError | null;
}

/** The checkpoints of one run folder. One process writes; any may read. */
export interface CheckpointStore {
  /**
   * Writes a checkpoint; durable, and read back, when it resolves. One of the same step is replaced, unless it already holds exactly this. The run
   * folder is made where it is missing. Other checkpoints are as they were, whatever happens.
   *
   * @throws CheckpointError `TENSOR_INVALID`, `RECORD_INVALID`, `JSON_INVALID`: the state itself. Where {@link CheckpointError.isRetryable}, the disk:
   * `CHECKPOINT_UNVERIFIED`, `DISK_FULL`, `READ_ONLY`, `DISK_GONE`, `UNWRITABLE`, `UNREADABLE`
   */
  save(checkpoint: CheckpointToSave): Promise<SavedCheckpoint>;
  /** Steps that have a folder, ascending, good or not. */
  list(): Promise<number[]>;
  /**
   * Reads one checkpoint and checks all of it.
   *
   * @throws CheckpointError `CHECKPOINT_MISSING`, `CHECKPOINT_CORRUPT`, `CHECKPOINT_FORMAT_UNSUPPORTED`, `UNREADABLE`
   */
  load(step: number): Promise<LoadedCheckpoint>;
  /**
   * The newest good checkpoint (null: none is), and the newer ones that were passed over: whoever resumes has to say so.
   *
   * @param before only older ones are looked at; default: all are
   */
  loadNewest(before?: number): Promise<{ checkpoint: LoadedCheckpoint | null; rejected: RejectedCheckpoint[] }>;
  /**
   * Deletes what the policy does not keep, but only what is older than a kept checkpoint known to be good: saved or loaded by this store since the last
   * retention, or read and checked now. A disk that refuses is told as a problem: the checkpoint just saved is no worse for it.
   *
   * @throws CheckpointError `RETENTION_INVALID`
   */
  retain(policy: RetentionPolicy): Promise<Retained>;
}

/** The checkpoints of a run folder; nothing is touched until a method is called. */
export function openCheckpoints(runFolder: string): CheckpointStore {
  return new FolderStore(join(runFolder, "checkpoints"));
}

class FolderStore implements CheckpointStore {
  readonly #folder: string;
  readonly #knownGood = new Set<number>();
  #cleaned = false;

  constructor(folder: string) {
    this.#folder = folder;
  }

  async save({ step, model, optimizer, record }: CheckpointToSave): Promise<SavedCheckpoint> {
    const origin = { step: String(step), stateHash: record.stateHash };
    const modelChunks = encodeSafetensors(model, origin);
    const optimizerChunks = encodeSafetensors(optimizer, origin);
    const files = { model: await digestOf(modelChunks), optimizer: await digestOf(optimizerChunks) };
    const sealed = sealRunRecord({ ...record, format: 1, step, files });
    const folder = this.#folderOf(step);
    const contents: readonly FileToWrite[] = [
      { name: MODEL_FILE, chunks: modelChunks },
      { name: OPTIMIZER_FILE, chunks: optimizerChunks },
      { name: RECORD_FILE, chunks: [new TextEncoder().encode(canonicalJson(sealed))] },
    ];
    const digests = [files.model, files.optimizer, await digestOf(contents.at(-1)?.chunks ?? [])];
    await this.#prepare();
    if (!(await this.#holds(sealed))) {
      this.#knownGood.delete(step);
      // What a failure leaves behind is for the next call to clean up.
      this.#cleaned = false;
      await writeFolderAtomically(folder, contents, (written) => verifyFiles(written, contents, digests));
      this.#cleaned = true;
    }
    this.#knownGood.add(step);
    return { step, folder, record: sealed };
  }

  async list(): Promise<number[]> {
    const names = await readdir(this.#folder).catch((error) => {
      if (systemCode(error) === "ENOENT") return [];
      throw unreadable(this.#folder, error);
    });
    return names.flatMap(stepOf).sort((a, b) => a - b);
  }

  async load(step: number): Promise<LoadedCheckpoint> {
    const steps = await this.list();
    if (!steps.includes(step)) {
      const there = steps.length === 0 ? "none" : steps.join(", ");
      throw new CheckpointError(
        "CHECKPOINT_MISSING",
        `${this.#folder} has no checkpoint of step ${step}: there are ${there}; choose one of them`,
      );
    }
    const folder = this.#folderOf(step);
    const record = await readRecord(join(folder, RECORD_FILE));
    if (record.step !== step) throw corrupt(join(folder, RECORD_FILE), `expected step ${step}, found ${record.step}`);
    const model = await readTensors(join(folder, MODEL_FILE), record.files.model);
    const optimizer = await readTensors(join(folder, OPTIMIZER_FILE), record.files.optimizer);
    this.#knownGood.add(step);
    return { step, folder, record, model, optimizer };
  }

  async loadNewest(
    before = Number.POSITIVE_INFINITY,
  ): Promise<{ checkpoint: LoadedCheckpoint | null; rejected: RejectedCheckpoint[] }> {
    // A reader on a read-only disk has to do with what is there.
    await restoreSetAside(this.#folder).catch(() => {});
    const rejected: RejectedCheckpoint[] = [];
    const steps = (await this.list()).filter((step) => step < before);
    for (const step of steps.reverse()) {
      try {
        return { checkpoint: await this.load(step), rejected };
      } catch (error) {
        if (!(error instanceof CheckpointError)) throw error;
        this.#knownGood.delete(step);
        rejected.push({ step, reason: error.message });
      }
    }
    return { checkpoint: null, rejected };
  }

  async retain({ last, alsoKeep = [] }: RetentionPolicy): Promise<Retained> {
    if (!Number.isSafeInteger(last) || last < 1) {
      throw new CheckpointError(
        "RETENTION_INVALID",
        `expected to keep the last 1 or more checkpoints, found ${last}: choose 1 or more`,
      );
    }
    const removed: number[] = [];
    try {
      const steps = await this.list();
      const kept = new Set([...steps.slice(-last), ...alsoKeep]);
      if (steps.every((step) => kept.has(step))) return { removed, problem: null };
      const newestGood = await this.#newestGood(steps.filter((step) => kept.has(step)));
      const outdated = steps.filter((step) => !kept.has(step) && step < newestGood);
      if (outdated.length > 0) await this.#prepare();
      for (const step of outdated) {
        await removeFolderAtomically(this.#folderOf(step));
        removed.push(step);
      }
      return { removed, problem: null };
    } catch (error) {
      if (!(error instanceof CheckpointError)) throw error;
      this.#cleaned = false;
      return { removed, problem: error };
    } finally {
      // What was good then may be damaged when older ones are to be deleted for its sake again.
      this.#knownGood.clear();
    }
  }

  /** The newest of these steps that is known, or now found, to be good; -1 if none is. */
  async #newestGood(steps: readonly number[]): Promise<number> {
    for (const step of steps.toReversed()) {
      if (this.#knownGood.has(step) || (await this.#isGood(step))) return step;
    }
    return -1;
  }

  async #isGood(step: number): Promise<boolean> {
    try {
      await this.load(step);
      return true;
    } catch (error) {
      if (error instanceof CheckpointError) return false;
      throw error;
    }
  }

  async #holds(record: RunRecord): Promise<boolean> {
    if (!(await this.list()).includes(record.step)) return false;
    try {
      return canonicalJson((await this.load(record.step)).record) === canonicalJson(record);
    } catch (error) {
      if (error instanceof CheckpointError) return false;
      throw error;
    }
  }

  /** Before a write: the folder is there, clean, and the names in it are durable. */
  async #prepare(): Promise<void> {
    try {
      await makeFolders(this.#folder);
      if (!this.#cleaned) await removeLeftovers(this.#folder);
      this.#cleaned = true;
      await flushFolder(this.#folder);
    } catch (error) {
      throw unwritable("write", this.#folder, error);
    }
  }

  #folderOf(step: number): string {
    return join(this.#folder, folderNameOf(step));
  }
}

function folderNameOf(step: number): string {
  return `step-${String(step).padStart(8, "0")}`;
}

function stepOf(name: string): number[] {
  const step = Number(STEP_FOLDER.exec(name)?.[1]);
  // Only the name that save() gives: `step-000000012` would be a second folder for step 12.
  return Number.isSafeInteger(step) && folderNameOf(step) === name ? [step] : [];
}
