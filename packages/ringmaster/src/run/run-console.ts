/** What a person and the run's files get to see of a run: the coordinator's events on their way to the terminal, `metrics.jsonl` and `log.jsonl`. */
import type { LoadedCheckpoint } from "@ringmaster/checkpoint";
import type { RunEvent } from "@ringmaster/coordinator";
import type { RunConfig, WorkerEvaluated, WorkerHello } from "@ringmaster/protocol";
import {
  type ConfusionMatrix,
  createProgress,
  createThroughput,
  formatBytes,
  formatLoss,
  formatPercent,
  type MetricsRecord,
  renderFinalReport,
  terminalStyle,
} from "@ringmaster/telemetry";
import type { Logger } from "pino";
import type { MetricsSink } from "./metrics-sink.ts";

export interface RunConsoleOptions {
  readonly name: string;
  readonly runFolder: string;
  readonly classNames: readonly string[];
  readonly metrics: Pick<MetricsSink, "append" | "goBackTo">;
  readonly log: Logger;
  /** What the run resumes from. */
  readonly resumed: LoadedCheckpoint | null;
  /** What another coordinator of this run has shown, before it died. */
  readonly recovered: { readonly config: RunConfig; readonly records: readonly MetricsRecord[] } | null;
  /** The command that gives the same hash on one rank, for the seats that the run has. */
  readonly reproduce: (config: RunConfig, steps: number, members: readonly WorkerHello[]) => string;
}

/** What came out, for `--json` and the report. */
export interface RunResult {
  readonly name: string;
  readonly runFolder: string;
  readonly steps: number;
  readonly epochs: number;
  readonly seconds: number;
  readonly imagesPerSecond: number;
  /** Of the median step among the last thousand: what a pause of the machine does not move. */
  readonly medianImagesPerSecond: number;
  /** When the first step was committed, in Unix milliseconds. */
  readonly firstStepAtMs: number | null;
  readonly peakMemoryBytes: number;
  /** How long training stood still for checkpoints, as a part of the time. */
  readonly checkpointPause: number;
  readonly meanMs: {
    readonly data: number;
    readonly compute: number;
    readonly communication: number;
    readonly optimizer: number;
  };
  readonly test: { readonly loss: number; readonly accuracy: number } | null;
  readonly parametersHash: string;
  readonly reproduce: string;
}

type Began = Extract<RunEvent, { type: "began" }>;
type Evaluation = WorkerEvaluated["evaluation"];

export class RunConsole {
  readonly #options: RunConsoleOptions;
  readonly #progress = createProgress({
    stream: process.stderr,
    isTTY: process.stderr.isTTY === true,
    columns: () => process.stderr.columns,
    now: () => performance.now(),
  });
  readonly #throughput = createThroughput();
  readonly #commandMs: number;
  #validations: { step: number; epoch: number; loss: number; accuracy: number }[] = [];
  readonly #rates: number[] = [];
  readonly #sums = { data: 0, compute: 0, communication: 0, optimizer: 0, images: 0, ms: 0, steps: 0 };
  #config: RunConfig | undefined;
  #members: readonly WorkerHello[] = [];
  #began: Began | undefined;
  #firstStepAtMs: number | undefined;
  #lastMs = 0;
  #step = 0;
  #memoryBytes = 0;
  #generation = 0;
  /** The step after which the world went on last, until one follows. */
  #proceedsAfter: number | undefined;
  #pauseMs = 0;
  #test: { loss: number; accuracy: number; confusion: ConfusionMatrix } | undefined;

  constructor(options: RunConsoleOptions) {
    this.#options = options;
    this.#commandMs = performance.now() - process.uptime() * 1000;
    this.#step = options.resumed?.step ?? 0;
    if (!options.recovered) return;
    const { config, records } = options.recovered;
    this.#config = config;
    for (const record of records) {
      this.#step = Math.max(this.#step, record.step);
      if (record.type === "evaluation" && record.split === "validation") this.#validations.push(record);
    }
  }

  print(line: string): void {
    this.#progress.log(line);
  }

  say(line: string): void {
    this.print(line);
    this.#options.log.info(line);
  }

  show(event: RunEvent): void {
    switch (event.type) {
      case "joined": {
        const { host, pid, threads } = event.hello;
        const which = event.ranks === null ? "another worker" : `worker ${event.joined} of ${event.ranks}`;
        return this.say(
          `${which} joined: ${host} (pid ${pid}), ${plural(threads, "compute thread")}, ${deviceName(event.hello)}`,
        );
      }
      case "refused":
        return this.say(`refused ${event.peer}: ${event.message}`);
      case "left":
        return this.say(`worker left before the run began: ${event.peer}: ${event.message}`);
      case "settled":
        this.#config = event.config;
        this.#members = event.members;
        return this.say(`${event.config.seats} seats on ${this.#world()}: preparing`);
      case "lost":
        return this.#tell(event, `${event.peer} is lost: ${event.because}`);
      case "leaving":
        return this.#tell(event, `${event.peer} leaves: ${event.because}`);
      case "regrouping":
        this.#options.log.info(
          { event: event.type, generation: event.generation, members: event.members },
          event.because,
        );
        return;
      case "proceeding":
        return this.#proceed(event);
      case "restored":
        this.#options.metrics.goBackTo(event.step);
        this.#step = event.step;
        // What comes after it will be found again.
        this.#validations = this.#validations.filter(({ step }) => step <= event.step);
        return this.#tell(event, `back to step ${event.step}: ${event.because}`);
      case "note":
        return this.say(event.line);
      case "began":
        return this.#begin(event);
      case "committed":
        return this.#commit(event);
      case "evaluated":
        return this.#evaluated(event.step, event.evaluation);
      case "saved":
        this.#pauseMs += event.pauseMs;
        this.#options.log.info(
          { event: event.type, step: event.step, folder: event.folder, pauseMs: event.pauseMs },
          "checkpoint",
        );
        return;
      case "stopping":
        return this.say(`${event.reason}: stopping after this step, with a checkpoint`);
    }
  }

  #tell(event: Extract<RunEvent, { type: "lost" | "leaving" | "restored" }>, line: string): void {
    const { type, ...fields } = event;
    this.print(line);
    this.#options.log.info({ event: type, ...fields }, line);
  }

  /** The first generation is the run's beginning; later ones are news. */
  #proceed(event: Extract<RunEvent, { type: "proceeding" }>): void {
    const { generation, step, seating, members } = event;
    const isNews = this.#generation !== 0 && generation !== this.#generation;
    this.#generation = generation;
    this.#proceedsAfter = step;
    this.#members = members;
    this.#lastMs = performance.now();
    this.#options.log.info(
      { event: event.type, generation, step, seating, pids: members.map(({ pid }) => pid) },
      "the world goes on",
    );
    if (isNews)
      this.print(
        `generation ${generation}: ${this.#world()} ${members.length === 1 ? "goes" : "go"} on after step ${step}`,
      );
  }

  /** Leaves the progress line standing; the run is over, one way or another. */
  done(): void {
    this.#progress.done();
  }

  result(parametersHash: string): RunResult {
    const { name, runFolder, reproduce } = this.#options;
    const { data, compute, communication, optimizer, images, ms, steps } = this.#sums;
    const mean = (sum: number) => (steps === 0 ? 0 : sum / steps);
    return {
      name,
      runFolder,
      steps: this.#step,
      epochs: Math.floor(this.#step / (this.#began?.stepsPerEpoch ?? 1)),
      seconds: (performance.now() - this.#commandMs) / 1000,
      imagesPerSecond: ms === 0 ? 0 : (images / ms) * 1000,
      medianImagesPerSecond: median(this.#rates),
      firstStepAtMs: this.#firstStepAtMs ?? null,
      peakMemoryBytes: this.#memoryBytes,
      checkpointPause: this.#pauseMs / Math.max(1, performance.now() - this.#commandMs),
      meanMs: {
        data: mean(data),
        compute: mean(compute),
        communication: mean(communication),
        optimizer: mean(optimizer),
      },
      test: this.#test ? { loss: this.#test.loss, accuracy: this.#test.accuracy } : null,
      parametersHash,
      reproduce: this.#config ? reproduce(this.#config, this.#step, this.#members) : "",
    };
  }

  report(result: RunResult): string {
    const style = terminalStyle({
      isTTY: process.stdout.isTTY === true,
      columns: process.stdout.columns,
      env: process.env,
    });
    const note = this.#began?.numericsNote;
    const fingerprint = this.#members[0]?.fingerprint;
    const where = fingerprint
      ? `the hash is the SHA-256 of model.safetensors in the last checkpoint; it holds for ${fingerprint.backend} ${fingerprint.backendVersion} on this CPU model (${fingerprint.cpu}) with Node ${fingerprint.node}`
      : "";
    const { test, ...facts } = result;
    return renderFinalReport(
      {
        ...facts,
        ...(this.#test && test && { test: this.#test }),
        validation: this.#validations,
        classNames: this.#options.classNames,
        world: `${this.#world()}, ${this.#device()}`,
        fingerprintNote: note ?? where,
      },
      style,
    );
  }

  #begin(event: Began): void {
    this.#began = event;
    this.#lastMs = performance.now();
    this.#throughput.start(this.#lastMs);
    if (event.numericsNote) this.say(`note: ${event.numericsNote}`);
    if (event.eagerBecause) this.say(`note: steps run op by op, at a fraction of the speed: ${event.eagerBecause}`);
    if (this.#options.recovered) return;
    if (event.firstStep > 0) this.say(`resumed after step ${event.firstStep} of ${event.totalSteps}`);
    if (event.firstStep >= event.totalSteps)
      this.say("this run is over already: give it more steps with --max-steps, or start a new one");
  }

  #commit({ step, tail, timing, memoryBytes }: Extract<RunEvent, { type: "committed" }>): void {
    if (!this.#config || !this.#began) return;
    const now = performance.now();
    this.#firstStepAtMs ??= Date.now();
    if (this.#proceedsAfter !== undefined && step > this.#proceedsAfter) {
      this.#proceedsAfter = undefined;
      this.#options.log.info({ event: "stepping", generation: this.#generation, step }, "the world steps");
    }
    this.#step = step;
    this.#memoryBytes = Math.max(this.#memoryBytes, memoryBytes);
    this.#throughput.step(tail.samples, now);
    if (tail.overflowed > 0 || !Number.isFinite(tail.loss)) this.#leftOut(step, tail.loss);
    // The first step is not counted: it waits for every rank to warm up.
    if (step > this.#began.firstStep + 1) {
      const sums = this.#sums;
      sums.data += timing.dataMs;
      sums.compute += timing.computeMs;
      sums.communication += timing.communicationMs;
      sums.optimizer += timing.optimizerMs;
      sums.images += tail.samples;
      sums.ms += now - this.#lastMs;
      sums.steps++;
      this.#rates.push((tail.samples / (now - this.#lastMs)) * 1000);
      if (this.#rates.length > ratesKept) this.#rates.shift();
    }
    this.#lastMs = now;
    const { stepsPerEpoch, totalSteps } = this.#began;
    const epoch = Math.ceil(step / stepsPerEpoch);
    const loss = tail.loss / tail.samples;
    const accuracy = tail.correct / tail.samples;
    const imagesPerSecond = this.#throughput.imagesPerSecond();
    this.#options.metrics.append({
      type: "step",
      step,
      epoch,
      loss,
      accuracy,
      learningRate: this.#config.optimizer.learningRate,
      imagesPerSecond: imagesPerSecond ?? 0,
      ...timing,
      samples: tail.samples,
      receipt: tail.receipt,
    });
    const etaSeconds = this.#throughput.secondsFor(totalSteps - step);
    const { epochs } = this.#config;
    const state = {
      epoch,
      epochs,
      step,
      steps: totalSteps,
      loss,
      accuracy,
      imagesPerSecond,
      etaSeconds,
      world: this.#world(),
      device: this.#device(),
    };
    if (step % stepsPerEpoch === 0 || step === totalSteps) this.#progress.epochEnd(state);
    else this.#progress.update(state);
  }

  #leftOut(step: number, loss: number): void {
    const isLoss = !Number.isFinite(loss);
    if (this.#config?.precision === "float16" && !isLoss)
      return this.#options.log.info(
        { step },
        "gradients overflowed float16: the update is left out, the loss scale halved",
      );
    const what = isLoss ? `the loss is ${loss}` : "the gradient is not finite";
    this.say(`step ${step}: ${what}: its update is left out (onNotFinite is "${this.#config?.onNotFinite}")`);
  }

  #evaluated(step: number, { split, loss, samples, confusion, classes }: Evaluation): void {
    let correct = 0;
    for (let label = 0; label < classes; label++) correct += confusion[label * classes + label] ?? 0;
    const record = {
      step,
      epoch: Math.ceil(step / (this.#began?.stepsPerEpoch ?? 1)),
      loss: loss / samples,
      accuracy: correct / samples,
    };
    this.#options.metrics.append({ type: "evaluation", split, samples, ...record });
    if (split === "test")
      this.#test = { loss: record.loss, accuracy: record.accuracy, confusion: { classes, counts: confusion } };
    else this.#validations.push(record);
    this.say(
      `${split} after epoch ${record.epoch}: loss ${formatLoss(record.loss)}, accuracy ${formatPercent(record.accuracy)}`,
    );
    // An evaluation is a pause for the throughput of training.
    this.#lastMs = performance.now();
    this.#throughput.start(this.#lastMs);
    this.#options.log.info({ memory: formatBytes(this.#memoryBytes) }, "peak memory of a rank");
  }

  #world(): string {
    const threads = new Set(this.#members.map((member) => member.threads));
    const each = threads.size === 1 ? plural([...threads][0] ?? 1, "thread") : `${[...threads].join("/")} threads`;
    return `${plural(this.#members.length, "rank")} x ${each}`;
  }

  #device(): string {
    return [...new Set(this.#members.map(deviceName))].join(" and ");
  }
}

const deviceName = ({ device: { kind, name }, fingerprint }: WorkerHello): string =>
  `${kind.toUpperCase()} ${name}${fingerprint.backend.startsWith("portable") ? ", portable backend" : ""}`;
const ratesKept = 1000;

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
