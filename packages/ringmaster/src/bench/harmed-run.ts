/** A run under `ringmaster train` whose processes are killed, and what its files say of it: `log.jsonl` with times, `metrics.jsonl` half a second late. */
import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CoordinatorError } from "@ringmaster/coordinator";
import { parseMetrics, type StepRecord } from "@ringmaster/telemetry";
import { z } from "zod";
import { configOf } from "./bench-model.ts";

const eventSchema = z.looseObject({
  /** Unix ms. */
  time: z.number(),
  pid: z.number(),
  role: z.string(),
  event: z.string().optional(),
  step: z.number().optional(),
  /** Of `lost`: names the process. */
  peer: z.string().optional(),
  /** Of `proceeding`: [rank]. */
  pids: z.array(z.number()).optional(),
});

export type LoggedEvent = z.infer<typeof eventSchema>;

export interface HarmedRunOptions {
  readonly cliFile: string;
  readonly ranks: number;
}

const patienceMs = 120_000;
const betweenLooksMs = 20;
const hurryMs = 5000;
/** Far more than is measured: a run that lost whoever started it ends all the same. */
const mostSteps = 100_000;

export class HarmedRun {
  readonly #folder: string;
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  readonly #onExit = () => void this.#child.kill("SIGKILL");
  #said = "";
  #isOver = false;

  private constructor(child: ChildProcess, folder: string) {
    this.#child = child;
    this.#folder = folder;
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      this.#said = (this.#said + text).slice(-2000);
    });
    this.#closed = new Promise((resolve) => child.once("close", resolve)).then(() => {
      this.#isOver = true;
    });
    process.once("exit", this.#onExit);
  }

  /** SimpleCNN without an end, in a folder of its own. */
  static async start({ cliFile, ranks }: HarmedRunOptions): Promise<HarmedRun> {
    const config = configOf("simple-cnn");
    const folder = await mkdtemp(join(tmpdir(), "ringmaster-bench-"));
    const length = ["--set", "epochs=1000000", "--max-steps", String(mostSteps)];
    const world = ["--ranks", String(ranks), "--threads", "1"];
    const child = spawn(
      process.execPath,
      [cliFile, "train", config, "--runs", folder, "--name", "run", ...world, ...length],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    return new HarmedRun(child, folder);
  }

  /** What the coordinator has logged. */
  events(): LoggedEvent[] {
    const all = this.#lines("log.jsonl").map((line) => eventSchema.parse(JSON.parse(line)));
    return all.filter(({ role }) => role === "coordinator");
  }

  of(event: string): LoggedEvent[] {
    return this.events().filter((each) => each.event === event);
  }

  /** [rank]: the pids of those who train. */
  world(): readonly number[] {
    return this.of("proceeding").at(-1)?.pids ?? [];
  }

  steps(): StepRecord[] {
    const rows = this.#lines("metrics.jsonl").map((line) => parseMetrics(line, "metrics.jsonl"));
    return rows.filter((row) => row.type === "step");
  }

  #lines(file: string): string[] {
    try {
      // What follows the last line end is not whole yet.
      return readFileSync(join(this.#folder, "run", file), "utf8")
        .split("\n")
        .slice(0, -1);
    } catch {
      return [];
    }
  }

  /** Looks until it finds something. @throws CoordinatorError BENCH_FAILED */
  async until<Found>(what: string, look: () => Found | undefined | false): Promise<Found> {
    const deadlineMs = performance.now() + patienceMs;
    for (;;) {
      const found = look();
      if (found !== undefined && found !== false) return found;
      if (this.#isOver || performance.now() > deadlineMs) {
        const why = this.#isOver ? "the run ended" : `${patienceMs} ms passed`;
        throw new CoordinatorError("BENCH_FAILED", `${why} without ${what}: ${this.#said.trim().split("\n").at(-1)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, betweenLooksMs));
    }
  }

  /** Ends it in order, with everything written: Ctrl-C. A second ends it at once where the first does not within some seconds. */
  async stop(): Promise<void> {
    const hurry = setTimeout(() => this.#child.kill("SIGINT"), hurryMs);
    this.#child.kill("SIGINT");
    await this.#closed;
    clearTimeout(hurry);
  }

  async remove(): Promise<void> {
    if (!this.#isOver) await this.stop();
    process.off("exit", this.#onExit);
    await rm(this.#folder, { recursive: true, force: true });
  }
}
