/**
 * The coordinator's decisions as a state machine without I/O: who is admitted, who sits where, when a step is committed, and how a run ends.
 *
 *     gathering -> preparing -> stepping -> ended
 *
 * Workers step without asking; the coordinator hears what they hold. A step is committed when every rank holds it.
 */
import {
  type CoordinatorMessage,
  type Millis,
  maxErrorChars,
  type RunConfig,
  shorten,
  type WorkerEvaluated,
  type WorkerHello,
  type WorkerMessage,
  type WorkerReady,
} from "@ringmaster/protocol";
import { agreeOnStart, refusalOf, short } from "./admission.ts";
import { CoordinatorError } from "./coordinator-error.ts";
import type { Connection, CoordinatorEffect, CoordinatorInput, CoordinatorOptions } from "./coordinator-io.ts";
import { describeMember, type Member } from "./member.ts";
import { seatRanks } from "./seating.ts";
import { type Disagreement, StateAgreement } from "./state-agreement.ts";
import { StepLedger } from "./step-ledger.ts";

type Phase = "gathering" | "preparing" | "stepping" | "ended";

const generation = 1;
/** What a member of the generation may say, by phase; anything else ends its connection. */
const expected: Readonly<Record<Phase, readonly WorkerMessage["type"][]>> = {
  gathering: [],
  preparing: ["WorkerReady"],
  stepping: ["WorkerHeld", "WorkerEvaluated", "WorkerStateHash", "WorkerState", "WorkerDone"],
  ended: [],
};
/** How long a broken ring link waits for the death that explains it. */
const blameMs = 1000;

export class CoordinatorCore {
  readonly #options: CoordinatorOptions;
  readonly #silenceMs: Millis;
  readonly #members = new Map<Connection, Member>();
  #phase: Phase = "gathering";
  #config: RunConfig | undefined;
  #ledger = new StepLedger(0);
  readonly #agreement = new StateAgreement();
  #savedStep: number | null;
  /** Evaluations of steps that are not committed yet: another rank's word of the step may come later, over its own connection. */
  readonly #evaluated: WorkerEvaluated[] = [];
  #stopReason: string | null = null;
  #broken: { readonly message: string; readonly code: string; readonly untilMs: Millis } | undefined;
  #tickedMs: Millis | undefined;

  constructor(options: CoordinatorOptions) {
    this.#options = options;
    this.#silenceMs = options.silenceMs ?? 10_000;
    this.#savedStep = options.resume?.step ?? null;
  }

  get phase(): Phase {
    return this.#phase;
  }

  handle(input: CoordinatorInput, now: Millis): CoordinatorEffect[] {
    if (this.#phase === "ended") return [];
    switch (input.type) {
      case "message": {
        const member = this.#members.get(input.connection);
        if (member) member.heardMs = now;
        return this.#hear(input.connection, input.message, member, now);
      }
      case "malformed":
        return this.#malformed(input.connection, input.code, input.message);
      case "closed":
        return this.#closed(input.connection, input.reason);
      case "saved":
        this.#savedStep = input.step;
        return [
          { type: "event", event: { type: "saved", step: input.step, folder: input.folder } },
          ...this.#toAll({ type: "CoordinatorSaved", step: input.step }),
          ...this.#finishWhenDone(),
        ];
      case "saveFailed":
        return this.#fail(
          "CHECKPOINT_FAILED",
          `the checkpoint of step ${input.step} could not be written: ${input.message}`,
        );
      case "stop":
        return this.#stop(input.reason);
      case "tick":
        return this.#tick(now);
    }
  }

  #hear(connection: Connection, message: WorkerMessage, member: Member | undefined, now: Millis): CoordinatorEffect[] {
    if (message.type === "WorkerHello") {
      return member
        ? this.#malformed(connection, "UNEXPECTED_MESSAGE", "a second WorkerHello")
        : this.#admit(connection, message, now);
    }
    if (message.type === "WorkerHeartbeat") return [];
    if (!member) return this.#malformed(connection, "UNEXPECTED_MESSAGE", `a ${message.type} before its WorkerHello`);
    if (message.type === "WorkerBye") {
      member.bye = message.reason;
      return [];
    }
    // Whatever its generation: a worker that could not read its start knows none.
    if (message.type === "WorkerFailed") return this.#failed(member, message.code, message.message, now);
    if (message.generation !== generation) return [];
    const again = message.type === "WorkerReady" && member.ready;
    if (again || !expected[this.#phase].includes(message.type))
      return this.#malformed(connection, "UNEXPECTED_MESSAGE", `a ${message.type} while ${this.#phase}`);
    switch (message.type) {
      case "WorkerReady":
        return this.#ready(member, message);
      case "WorkerHeld":
        return this.#held(member, message);
      case "WorkerEvaluated":
        this.#evaluated.push(message);
        return this.#evaluationsUpTo(this.#ledger.committed);
      case "WorkerStateHash":
        return this.#compared(
          message.step,
          this.#agreement.report(member.rank, message.step, message.hash, this.#members.size),
        );
      case "WorkerState":
        return this.#state(connection, member, message);
      case "WorkerDone":
        member.done = message;
        return this.#finishWhenDone();
    }
  }

  #admit(connection: Connection, hello: WorkerHello, now: Millis): CoordinatorEffect[] {
    const { ranks } = this.#options;
    const refuse = (code: string, message: string): CoordinatorEffect[] => [
      { type: "send", connection, message: abort(code, message) },
      { type: "close", connection, reason: code },
      { type: "event", event: { type: "refused", peer: `${hello.host} (pid ${hello.pid})`, code, message } },
    ];
    const refusal = refusalOf(hello, this.#phase === "gathering", this.#options);
    if (refusal) return refuse(refusal.code, refusal.message);
    const member: Member = {
      connection,
      hello,
      rank: this.#members.size,
      heardMs: now,
      ready: undefined,
      done: undefined,
      failed: undefined,
      bye: undefined,
    };
    this.#members.set(connection, member);
    const joined: CoordinatorEffect = {
      type: "event",
      event: { type: "joined", hello, joined: this.#members.size, ranks },
    };
    return this.#members.size === ranks ? [joined, ...this.#seat()] : [joined];
  }

  #seat(): CoordinatorEffect[] {
    const members = this.#inOrder();
    const fingerprints = new Set(members.map(({ hello }) => JSON.stringify(hello.fingerprint)));
    let config: RunConfig;
    let seating: number[];
    try {
      config = this.#options.configFor(members.reduce((sum, { hello }) => sum + hello.threads, 0));
      seating = seatRanks(
        config.seats,
        members.map(({ hello }) => hello.threads),
      );
    } catch (error) {
      if (!(error instanceof Error)) throw error;
      return this.#fail(error instanceof CoordinatorError ? error.code : "CONFIG_INVALID", error.message, 2);
    }
    if (config.numerics === "strict" && fingerprints.size > 1) {
      return this.#fail(
        "NUMERICS_DIFFER",
        `numerics is "strict" and the ranks' fingerprints differ: ${[...fingerprints].join(" and ")}`,
      );
    }
    this.#config = config;
    this.#phase = "preparing";
    const { resume } = this.#options;
    const peers = members.map(({ rank, hello }) => ({
      rank,
      workerId: hello.workerId,
      host: hello.ring.host,
      port: hello.ring.port,
    }));
    const source = resume
      ? { kind: "state" as const, step: resume.step, totalBytes: resume.totalBytes, progress: resume.progress }
      : { kind: "seed" as const };
    const starts = members.flatMap(({ connection, rank }): CoordinatorEffect[] => [
      {
        type: "send",
        connection,
        message: { type: "CoordinatorStart", generation, rank, seating, peers, config, source },
      },
      ...(resume ? [{ type: "sendState" as const, connection, generation }] : []),
    ]);
    return [
      { type: "event", event: { type: "seated", config, seating, members: members.map(({ hello }) => hello) } },
      ...starts,
    ];
  }

  #ready(member: Member, message: WorkerReady): CoordinatorEffect[] {
    member.ready = message;
    const ready = this.#inOrder().flatMap((each) => (each.ready ? [{ ...each, ready: each.ready }] : []));
    const [first] = ready;
    if (!first || ready.length < this.#members.size) return [];
    const { resume } = this.#options;
    const start = agreeOnStart(ready, resume, this.#config?.numerics === "strict");
    if ("code" in start) return this.#fail(start.code, start.message);
    const { numericsNote } = start;
    this.#phase = "stepping";
    const firstStep = resume?.step ?? 0;
    this.#ledger = new StepLedger(firstStep);
    const { stepsPerEpoch, totalSteps } = first.ready;
    const eagerBecause = ready.map((each) => each.ready.eagerBecause).find((reason) => reason !== null) ?? null;
    const begun: CoordinatorEffect = {
      type: "event",
      event: { type: "began", firstStep, stepsPerEpoch, totalSteps, numericsNote, eagerBecause },
    };
    return [begun, ...this.#toAll({ type: "CoordinatorBegin", generation, firstStep })];
  }

  #held(member: Member, message: Extract<WorkerMessage, { type: "WorkerHeld" }>): CoordinatorEffect[] {
    const reports = this.#ledger.held(member.rank, message, this.#members.size);
    return reports.flatMap((report): CoordinatorEffect[] => [
      { type: "event", event: { type: "committed", ...report } },
      ...this.#evaluationsUpTo(report.step),
    ]);
  }

  #evaluationsUpTo(committed: number): CoordinatorEffect[] {
    const due = this.#evaluated.findIndex(({ step }) => step > committed);
    return this.#evaluated
      .splice(0, due < 0 ? this.#evaluated.length : due)
      .map(({ step, evaluation }) => ({ type: "event", event: { type: "evaluated", step, evaluation } }));
  }

  #compared(step: number, differ: Disagreement | null): CoordinatorEffect[] {
    if (!differ) return [];
    const members = this.#inOrder();
    const named = differ.odd.map(({ rank, hash }) => {
      const member = members[rank];
      return `${member ? describeMember(member) : `rank ${rank}`} has ${short(hash)}`;
    });
    const others = differ.agreed === null ? "" : `, the others ${short(differ.agreed)}`;
    const advice = "resume from a checkpoint before it, without the machine that computes wrongly";
    return this.#fail("STATE_DRIFTED", `states differ after step ${step}: ${named.join(", ")}${others}; ${advice}`);
  }

  #state(
    connection: Connection,
    member: Member,
    message: Extract<WorkerMessage, { type: "WorkerState" }>,
  ): CoordinatorEffect[] {
    const { step, totalBytes, progress } = message;
    const stateHash = this.#agreement.hashOf(member.rank, step);
    if (!member.ready || !this.#config || !stateHash)
      return this.#malformed(connection, "UNEXPECTED_MESSAGE", `a state of step ${step} that was not due`);
    const { layoutHash, tensors } = member.ready;
    const checkpoint = { step, progress, layoutHash, stateHash, tensors, config: this.#config };
    return [{ type: "receiveState", connection, totalBytes, checkpoint }];
  }

  /** All ranks have done everything and the last state is on disk: the last step is committed. */
  #finishWhenDone(): CoordinatorEffect[] {
    const done = this.#inOrder().flatMap((member) => (member.done ? [member.done] : []));
    const [first] = done;
    if (!first || done.length < this.#members.size || this.#savedStep !== first.step) return [];
    const finish = this.#toAll({ type: "CoordinatorFinish", reason: first.stopped ? "stopped" : "the run is over" });
    this.#phase = "ended";
    return first.stopped
      ? [...finish, { type: "end", exitCode: 130, code: "STOPPED", message: this.#stopReason ?? "stopped" }]
      : [...finish, { type: "end", exitCode: 0, code: "FINISHED", message: "the run is over" }];
  }

  #stop(reason: string): CoordinatorEffect[] {
    if (this.#stopReason !== null) return [];
    this.#stopReason = reason;
    if (this.#phase !== "stepping")
      return this.#end(130, "STOPPED", `${reason} before the first step: there is nothing to save`);
    const stopping: CoordinatorEffect = { type: "event", event: { type: "stopping", reason } };
    return [stopping, ...this.#toAll({ type: "CoordinatorPlan", generation, planId: 1, change: "stop" })];
  }

  #closed(connection: Connection, reason: string): CoordinatorEffect[] {
    const member = this.#members.get(connection);
    if (!member) return [];
    if (this.#phase === "gathering") {
      this.#forget(connection);
      return [
        {
          type: "event",
          event: {
            type: "left",
            peer: `${member.hello.host} (pid ${member.hello.pid})`,
            message: member.bye ?? (reason || "its connection is lost"),
          },
        },
      ];
    }
    if (member.failed) return [];
    const how = member.bye ? `left: ${member.bye}` : `is gone${reason ? `: ${reason}` : ""}`;
    return this.#fail("WORKER_LOST", `${describeMember(member)} ${how} (step ${this.#ledger.committed})`);
  }

  #failed(member: Member, code: string, message: string, now: Millis): CoordinatorEffect[] {
    // Before there is a world a worker's failure is its own: its connection closes next.
    if (this.#phase === "gathering") {
      member.bye = message;
      return [];
    }
    member.failed = { code, message };
    const told = `${describeMember(member)}: ${message}`;
    if (code !== "LINK_LOST") return this.#fail(code, told);
    this.#broken ??= { code, message: told, untilMs: now + blameMs };
    return [];
  }

  #malformed(connection: Connection, code: string, message: string): CoordinatorEffect[] {
    const member = this.#members.get(connection);
    const refusal: CoordinatorEffect[] = [
      { type: "send", connection, message: abort(code, message) },
      { type: "close", connection, reason: code },
      {
        type: "event",
        event: { type: "refused", peer: member ? describeMember(member) : `connection ${connection}`, code, message },
      },
    ];
    if (!member || this.#phase === "gathering") {
      this.#forget(connection);
      return refusal;
    }
    return [...refusal, ...this.#fail(code, `${describeMember(member)} sent ${message}`)];
  }

  #tick(now: Millis): CoordinatorEffect[] {
    const late = this.#tickedMs !== undefined && now - this.#tickedMs > this.#silenceMs / 2;
    this.#tickedMs = now;
    if (late) {
      // It did not run itself, so what was said meanwhile may wait to be read: it judges nobody.
      for (const member of this.#members.values()) member.heardMs = now;
      return [];
    }
    if (this.#broken && now >= this.#broken.untilMs) return this.#fail(this.#broken.code, this.#broken.message);
    const silent = this.#inOrder().find(({ heardMs }) => now - heardMs > this.#silenceMs);
    if (!silent) return [];
    return this.#fail(
      "WORKER_SILENT",
      `${describeMember(silent)} has said nothing for ${Math.round(now - silent.heardMs)} ms (step ${this.#ledger.committed})`,
    );
  }

  #fail(code: string, message: string, exitCode = 1): CoordinatorEffect[] {
    return this.#end(exitCode, code, message);
  }

  #end(exitCode: number, code: string, message: string): CoordinatorEffect[] {
    const toAll = this.#toAll(abort(code, message));
    this.#phase = "ended";
    return [...toAll, { type: "end", exitCode, code, message }];
  }

  /** While gathering: the others move up. */
  #forget(connection: Connection): void {
    this.#members.delete(connection);
    this.#inOrder().forEach((member, rank) => {
      member.rank = rank;
    });
  }

  #toAll(message: CoordinatorMessage): CoordinatorEffect[] {
    return [...this.#members.keys()].map((connection) => ({ type: "send", connection, message }));
  }

  #inOrder(): Member[] {
    return [...this.#members.values()].sort((a, b) => a.rank - b.rank);
  }
}

const abort = (code: string, message: string): CoordinatorMessage => ({
  type: "CoordinatorAbort",
  code,
  message: shorten(message, maxErrorChars),
});
