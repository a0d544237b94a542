/** The database maps its file into memory and locks it through memory: that works among processes of one machine only (LMDB's own caveat), so a file system that machines share is refused. */
import { statfs } from "node:fs/promises";
import { JournalError } from "./journal-error.ts";

/** Linux's magic numbers (statfs(2), linux/magic.h and the file systems' own sources). FUSE is sshfs, s3fs, gcsfuse and the like; what is local among them cannot be told apart. */
const sharedFileSystems: ReadonlyMap<number, string> = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff534d42, "CIFS"],
  [0xfe534d42, "SMB2"],
  [0x65735546, "FUSE"],
  [0x01021997, "9P"],
  [0x0bd00bd0, "Lustre"],
  [0x00c36400, "Ceph"],
  [0x5346414f, "AFS"],
  [0x6b414653, "AFS"],
  [0x73757245, "Coda"],
  [0x564c, "NCP"],
  [0x47504653, "GPFS"],
  [0x01161970, "GFS2"],
  [0x7461636f, "OCFS2"],
  [0x19830326, "BeeGFS"],
  [0xaad7aaea, "PanFS"],
  [0x20030528, "OrangeFS"],
  [0x786f4256, "VirtualBox's shared folders"],
  [0xbacbacbc, "VMware's shared folders"],
]);

/** The name of a file system that machines share, or null. The kernel's type is signed on some machines: its low 32 bits count. */
export function sharedFileSystem(type: bigint): string | null {
  return sharedFileSystems.get(Number(BigInt.asUintN(32, type))) ?? null;
}

/** @throws JournalError `JOURNAL_ON_NETWORK`, or the system's own error where there is no such folder */
export async function refuseNetworkDisk(folder: string): Promise<void> {
  const { type } = await statfs(folder, { bigint: true });
  const found = sharedFileSystem(type);
  if (found === null) return;
  throw new JournalError(
    "JOURNAL_ON_NETWORK",
    `expected ${folder}, where the coordinator keeps its journal, on a local disk, found it on ${found}: choose a place on a local disk of the coordinator's machine with --runs`,
  );
}
