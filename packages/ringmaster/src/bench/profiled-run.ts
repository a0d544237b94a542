/** A run of SimpleCNN whose every process's main thread is profiled: how much of it went into some files, and into what these have libraries do. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoordinatorError } from "@ringmaster/coordinator";
import { z } from "zod";
import { configOf } from "./bench-model.ts";

const profileSchema = z.object({
  nodes: z.array(
    z.object({ id: z.number(), callFrame: z.object({ url: z.string() }), children: z.array(z.number()).optional() }),
  ),
  samples: z.array(z.number()),
  /** Microseconds. */
  timeDeltas: z.array(z.number()),
});

export interface ProfiledRunOptions {
  readonly cliFile: string;
  readonly ranks: number;
  readonly steps: number;
  readonly files: RegExp;
}

const host = "127.0.0.1";
/** But for what encodes and sends: that is done for whoever asks for it. */
const ourFiles = /\/(packages|@?ringmaster)\/(?!protocol|transport)[a-z]+\/dist\//;

/**
 * For `--import`: profiles a process's main thread, where everything but computing happens, and writes what it found when the process ends. `--cpu-prof` would
 * profile compute threads too, and Node 20 does not survive that.
 */
const profiler = (folder: string): string => `
  import { Session } from "node:inspector";
  import { writeFileSync } from "node:fs";
  import { isMainThread } from "node:worker_threads";
  if (isMainThread) {
    const session = new Session();
    session.connect();
    session.post("Profiler.enable");
    session.post("Profiler.start");
    process.on("exit", () => session.post("Profiler.stop", (_error, { profile }) =>
      writeFileSync(${JSON.stringify(folder)} + "/" + process.pid, JSON.stringify(profile))));
  }`;

/**
 * @returns seconds of the processor that were spent in the files, over the main threads of all processes, and how long the run took from its first step on
 * @throws CoordinatorError BENCH_FAILED
 */
export async function profiledRun({ cliFile, ranks, steps, files }: ProfiledRunOptions) {
  const folder = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
  const config = configOf("simple-cnn");
  const profileFolder = join(folder, "profiles");
  await mkdir(profileFolder);
  const givenUp = new AbortController();
  const env = { ...process.env, RINGMASTER_TOKEN: randomBytes(16).toString("hex") };
  const profiled = async (...args: string[]) => {
    const flags = ["--import", `data:text/javascript,${encodeURIComponent(profiler(profileFolder))}`];
    const options = { stdio: "ignore", env, signal: givenUp.signal, killSignal: "SIGKILL" } as const;
    const [code] = await once(spawn(process.execPath, [...flags, cliFile, ...args], options), "close");
    if (code !== 0) throw new CoordinatorError("BENCH_FAILED", `ringmaster ${args[0]} ended with ${code}`);
  };
  try {
    const port = await freePort();
    const lead = ["--ranks", String(ranks), "--port", String(port), "--max-steps", String(steps)];
    const follow = ["--join", `ws://${host}:${port}`, "--threads", "1", "--patience", "60"];
    await Promise.all([
      profiled("coordinator", config, "--runs", folder, "--name", "run", ...lead),
      ...Array.from({ length: ranks }, () => profiled("worker", config, ...follow)),
    ]);
    const names = await readdir(profileFolder);
    const profiles = await Promise.all(names.map((name) => readFile(join(profileFolder, name), "utf8")));
    return {
      profiledSeconds: profiles.reduce((sum, profile) => sum + secondsIn(profile, files), 0),
      seconds: steppedSeconds(await readFile(join(folder, "run", "log.jsonl"), "utf8")),
    };
  } finally {
    givenUp.abort();
    await rm(folder, { recursive: true, force: true });
  }
}

function secondsIn(profile: string, files: RegExp): number {
  const { nodes, samples, timeDeltas } = profileSchema.parse(JSON.parse(profile));
  const wanted = new Set<number>();
  // A node comes before its children, and is its parent's unless it is in a file of ours.
  for (const { id, callFrame, children = [] } of nodes) {
    if (files.test(callFrame.url)) wanted.add(id);
    else if (ourFiles.test(callFrame.url)) wanted.delete(id);
    if (wanted.has(id)) for (const child of children) wanted.add(child);
  }
  return samples.reduce((sum, id, index) => sum + (wanted.has(id) ? (timeDeltas[index] ?? 0) : 0), 0) / 1e6;
}

/** From when the world goes on to the log's last line. */
function steppedSeconds(log: string): number {
  const lines = log.trim().split("\n");
  const timed = z.looseObject({ time: z.number(), event: z.string().optional() });
  const events = lines.map((line) => timed.parse(JSON.parse(line)));
  const first = events.find(({ event }) => event === "proceeding")?.time ?? Number.NaN;
  return ((events.at(-1)?.time ?? Number.NaN) - first) / 1000;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, host);
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  return address !== null && typeof address === "object" ? address.port : 0;
}
