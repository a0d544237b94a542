/**
 * The coordinator's journal: what a coordinator that is started after another's death has to know, in an embedded database at `RUN/state/`.
 *
 * All of it is one value under one key, so that every write is one transaction and every reader sees one moment. A write is on the disk when its promise
 * resolves: the database is opened without overlapping syncs, so that committing is flushing.
 *
 * Two coordinators: opening raises the epoch in a transaction, and every write checks inside its own transaction that the epoch there is still its own and
 * that the file is still the one at that path. Who finds another is fenced for good. All reads are inside of write transactions too: a process that was stopped
 * while it reads would keep the database from ever using a page again.
 *
 *     data.mdb    the database; read by database-file.ts before LMDB may open it
 *     lock.mdb    LMDB's locks; garbage there is reset by whoever opens it alone
 *     lease       lease.ts
 */
import { type BigIntStats, statSync } from "node:fs";
import { mkdir, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { open as openDatabase } from "lmdb";
import { decodeJournal, encodeJournal, type JournalContents, type StoredJournal } from "./journal-contents.ts";
import { corrupt, JournalError, unwritable } from "./journal-error.ts";
import {
  flushFolder,
  inspectFolder,
  journalKey,
  nullIfMissing,
  removeFolder,
  reserveLockFile,
  setAside,
} from "./journal-folder.ts";
import { holdLease, type LeaseWait, waitForLease } from "./lease.ts";
import { refuseNetworkDisk } from "./local-disk.ts";

export type { JournalContents } from "./journal-contents.ts";
export { JournalError } from "./journal-error.ts";

/** The largest journal, of 1,024 members, has 50 KB. LMDB makes the map larger if it must. */
const MAP_BYTES = 8 * 2 ** 20;
const EMPTY: StoredJournal = { epoch: 0, record: null, usedGeneration: 0, checkpoint: null, plans: 0 };

export interface OpenJournalOptions extends LeaseWait {
  /**
   * `fresh`: a new run, or one that resumes from a checkpoint. Of an older journal the numbers that were used live on, as its workers may too; record and
   * checkpoint do not. `recover`: after a coordinator's death; everything is kept.
   */
  readonly kind: "fresh" | "recover";
  /** Called with what a person should know: that another owner is watched, that a damaged journal was set aside. */
  readonly onWaiting?: ((line: string) => void) | undefined;
}

export interface Journal {
  /** This coordinator's; one higher than any before. */
  readonly epoch: number;
  /** What this coordinator starts from. */
  readonly found: JournalContents;
  /**
   * Resolves once it is on the disk. What a failed write would have changed is as it was before.
   *
   * @throws JournalError `FENCED`, `JOURNAL_UNWRITABLE`
   */
  write(change: Partial<JournalContents>): Promise<void>;
  /** Whether a newer coordinator has taken the run over, as far as it has shown, also without a write; it stays so. Cheap. */
  isReplaced(): boolean;
  /** With `remove`, deletes the folder, unless a newer coordinator has it: the run has ended and nobody recovers it. @throws JournalError `JOURNAL_UNWRITABLE` */
  close(options: { readonly remove: boolean }): Promise<void>;
}

/**
 * Opens the journal of a run, whose folder exists, and takes it over from whoever had it.
 *
 * @throws JournalError all codes but `FENCED`; an AbortError on `signal`
 */
export async function openJournal(runFolder: string, options: OpenJournalOptions): Promise<Journal> {
  const folder = join(runFolder, "state");
  try {
    const isThere = (await stat(folder).catch(nullIfMissing)) !== null;
    await refuseNetworkDisk(isThere ? folder : runFolder);
    await waitForLease(join(folder, "lease"), options);
    const leastNumber = await settleFolder(folder, options);
    return await takeOver(folder, options.kind, leastNumber);
  } catch (error) {
    throw unwritable("open the coordinator's journal in", folder, error);
  }
}

/**
 * Makes the folder one that LMDB may open.
 *
 * @returns a number that no epoch, generation or plan of the run has reached: after damage, when nobody knows them any more, the seconds since 1970
 */
async function settleFolder(folder: string, { kind, onWaiting }: OpenJournalOptions): Promise<number> {
  let leastNumber = 0;
  try {
    const found = await inspectFolder(folder);
    if (found === "none" && kind === "recover") {
      throw new JournalError(
        "JOURNAL_MISSING",
        `expected the journal of a coordinator that died in ${folder}, found none: go on from the newest checkpoint with \`ringmaster resume\``,
      );
    }
  } catch (error) {
    if (kind === "recover" || !(error instanceof JournalError) || error.code !== "JOURNAL_CORRUPT") throw error;
    onWaiting?.(
      `the coordinator's journal is damaged and was set aside at ${await setAside(folder)}: ${error.message}`,
    );
    leastNumber = Math.floor(Date.now() / 1_000);
  }
  await mkdir(folder, { recursive: true });
  reserveLockFile(folder);
  return leastNumber;
}

async function takeOver(folder: string, kind: "fresh" | "recover", leastNumber: number): Promise<Journal> {
  const database = openDatabase<string, string>({
    path: folder,
    encoding: "string",
    mapSize: MAP_BYTES,
    maxDbs: 1,
    // Committing is flushing.
    overlappingSync: false,
  });
  const dataFile = join(folder, "data.mdb");
  const opened = fileAt(dataFile);

  /** The journal as it is now; only inside of a transaction. */
  const read = (): StoredJournal => {
    const text = database.get(journalKey);
    if (text === undefined) return EMPTY;
    const stored = decodeJournal(text);
    if (stored === null) throw corrupt(folder, "a value that its checksum does not fit");
    return stored;
  };
  const raiseEpoch = (): StoredJournal => {
    const former = read();
    const next = {
      ...former,
      epoch: Math.max(former.epoch, leastNumber) + 1,
      usedGeneration: Math.max(former.usedGeneration, leastNumber),
      plans: Math.max(former.plans, leastNumber),
      ...(kind === "fresh" ? { record: null, checkpoint: null } : {}),
    };
    database.put(journalKey, encodeJournal(next));
    return next;
  };
  let start: StoredJournal;
  try {
    start = database.transactionSync(raiseEpoch);
    for (const path of [folder, dirname(folder)]) await flushFolder(path);
  } catch (error) {
    await database.close();
    throw error;
  }
  const { epoch, ...found } = start;
  const lease = holdLease(join(folder, "lease"), epoch);
  let isReplaced = false;

  /** Whether nobody has taken over; only inside of a transaction. */
  const isOwn = (): boolean => {
    if (read().epoch !== epoch) return false;
    const present = fileAt(dataFile);
    return present.ino === opened.ino && present.dev === opened.dev;
  };
  return {
    epoch,
    found,
    async write(change) {
      try {
        lease.transact(() =>
          database.transactionSync(() => {
            if (!isOwn()) {
              isReplaced = true;
              throw fenced(folder, epoch);
            }
            database.put(journalKey, encodeJournal({ ...read(), ...change }));
          }),
        );
      } catch (error) {
        throw unwritable("write the coordinator's journal in", folder, error);
      }
    },
    isReplaced() {
      isReplaced ||= lease.isTaken();
      return isReplaced;
    },
    async close({ remove }) {
      try {
        const isRemoved = remove && lease.transact(() => database.transactionSync(isOwn));
        if (isRemoved) await removeFolder(folder);
      } catch (error) {
        throw unwritable("close the coordinator's journal in", folder, error);
      } finally {
        await database.close();
        lease.release();
      }
    },
  };
}

function fileAt(path: string): BigIntStats {
  return statSync(path, { bigint: true });
}

function fenced(folder: string, epoch: number): JournalError {
  return new JournalError(
    "FENCED",
    `expected to be this run's newest coordinator (epoch ${epoch} in ${folder}), found that another has taken over: this one ends, and the other goes on with its workers`,
  );
}
