/** Whatever is wrong with a command, a config, a dataset or a folder: one line says what was expected, what was found and what it is called, and the exit code fits. */
import { mkdirSync, writeFileSync } from "node:fs";
import { createServer as createHttpServer } from "node:http";
import { type AddressInfo, createServer, type Server } from "node:net";
import { join } from "node:path";
import t, { type Test } from "tap";
import { startByHand } from "./harness/by-hand.ts";
import { configText, modelText, writeConfig } from "./harness/config-text.ts";
import { writeIdxFolder } from "./harness/idx-files.ts";
import {
  checkCode,
  checkNoStackTrace,
  type Ended,
  run,
  type StartOptions,
  start,
  succeed,
} from "./harness/ringmaster.ts";
import { smallConfig, workspace } from "./harness/run-files.ts";

const folder = workspace(t);
const runs = join(folder, "runs");
const inFolder = (name: string) => join(folder, name);

const config = (name: string, text: string) => writeConfig(folder, name, text);
const good = config("good", configText());
const withData = (name: string, data: string) => config(name, configText({ data }));
const withModel = (name: string, shape: string, last: string) =>
  config(name, configText({ model: modelText(shape, last) }));

type Case = readonly [what: string, argv: readonly string[], code: number, line: RegExp, options?: StartOptions];

/** One line of stderr ends with a code in brackets, it is like `line`, and nothing looks like a crash. */
function checkRefusal(t: Test, ended: Ended, code: number, line: RegExp): void {
  checkCode(t, ended, code);
  const coded = ended.stderr.split("\n").filter((each) => /\[[A-Z][A-Z_]+\]$/.test(each));
  t.equal(coded.length, 1, "one line with a code");
  t.match(coded[0] ?? ended.stderr, line);
  checkNoStackTrace(t, ended);
  t.equal(ended.stdout, "", "nothing on stdout");
}

function checkAll(t: Test, cases: readonly Case[]): void {
  t.jobs = 2;
  for (const [what, argv, code, line, options] of cases) {
    t.test(what, { buffered: true }, async (t) => checkRefusal(t, await run(t, argv, options), code, line));
  }
}

const train = (file: string, ...more: string[]) => ["train", file, "--runs", runs, ...more];

// It waits half a minute for a coordinator that may still be starting; the other tests run meanwhile.
const unreachable = start(t, ["worker", good, "--join", "ws://127.0.0.1:9"], { env: { RINGMASTER_TOKEN: "token" } });

t.test("a command line that is wrong", async (t) => {
  checkAll(t, [
    ["an unknown command", ["trian", good], 2, /trian.*\[BAD_OPTION\]$/],
    ["an unknown option", train(good, "--rank", "2"), 2, /--rank.*\[BAD_OPTION\]$/],
    ["no config", ["train"], 2, /config.*\[BAD_OPTION\]$/],
    ["--ranks 0", train(good, "--ranks", "0"), 2, /--ranks.*from 1 to 1024.*found 0.*\[BAD_OPTION\]$/],
    ["--ranks two", train(good, "--ranks", "two"), 2, /--ranks.*from 1 to 1024.*found two.*\[BAD_OPTION\]$/],
    ["--set without a value", train(good, "--set", "seed"), 2, /path=value.*found seed.*\[BAD_OPTION\]$/],
    ["--max-steps -1", train(good, "--max-steps", "-1"), 2, /--max-steps.*found -1.*\[BAD_OPTION\]$/],
    ["a coordinator without a config", ["coordinator"], 2, /config file, or --resume.*\[BAD_OPTION\]$/],
    ["a worker without --join", ["worker", good], 2, /--join.*\[BAD_OPTION\]$/],
  ]);
});

t.test("a config that is wrong", async (t) => {
  const broken = config("broken", "export default {{;");
  const throwing = config("throwing", 'throw new Error("the disk is on fire");');
  const importing = config("importing", `import "no-such-package";\n${configText()}`);
  const other = config("other", "export const training = {};");
  const unknown = config("unknown", configText({ more: 'colour: "red",' }));
  const badSeed = config("bad-seed", configText({ more: "seed: 1.5," }));
  const badRate = config("bad-rate", configText({ more: "optimizer: sgd({ learningRate: -1 })," }));
  const badModel = config("bad-model", configText({ model: "12" }));
  checkAll(t, [
    ["missing", train(inFolder("none.config.ts")), 2, /none\.config\.ts.*\[CONFIG_MISSING\]$/],
    ["with a syntax error", train(broken), 2, /broken\.config\.ts.*\[CONFIG_BROKEN\]$/],
    ["that throws", train(throwing), 2, /throwing\.config\.ts.*the disk is on fire.*\[CONFIG_BROKEN\]$/],
    ["that imports what is not there", train(importing), 2, /no-such-package.*\[CONFIG_BROKEN\]$/],
    ["that exports something else", train(other), 2, /other\.config\.ts: .*expected.*\[CONFIG_INVALID\]$/],
    ["with an unknown field", train(unknown), 2, /found also "colour".*\[CONFIG_INVALID\]$/],
    ["with a bad field", train(badSeed), 2, /seed: expected a whole number.*found 1\.5.*\[CONFIG_INVALID\]$/],
    ["with a bad optimizer", train(badRate), 2, /learningRate.*expected.*found -1/],
    [
      "with a bad field inside another, from --set",
      train(good, "--set", "optimizer.learningRate=-1"),
      2,
      /optimizer\.learningRate: expected a number above 0, found -1.*\[CONFIG_INVALID\]$/,
    ],
    [
      "with an unknown field inside another, from --set",
      train(good, "--set", "checkpoint.evrySteps=5"),
      2,
      /checkpoint: .*found also "evrySteps".*\[CONFIG_INVALID\]$/,
    ],
    [
      "with text for a number, from --set",
      train(good, "--set", "batchSize=abc"),
      2,
      /batchSize: expected a number, found "abc".*\[CONFIG_INVALID\]$/,
    ],
    ["with a number for a model", train(badModel), 2, /model: expected a function.*\[CONFIG_INVALID\]$/],
    [
      "with more seats than samples in a batch",
      train(good, "--seats", "33"),
      2,
      /at most.* \(?32\)? seats.*found 33.*\[(CONFIG_INVALID|TOO_MANY_SEATS)\]$/,
    ],
    [
      "with more ranks than seats",
      train(good, "--seats", "2", "--ranks", "3"),
      2,
      /3 ranks.*2 seats.*--seats 3 or more.*\[MORE_RANKS_THAN_SEATS\]$/,
    ],
    [
      "that holds everything back for validation",
      train(good, "--set", "validation.count=64"),
      2,
      /64.*\[(VALIDATION_TOO_LARGE|NO_SAMPLES|CONFIG_INVALID)\]$/,
    ],
  ]);
});

t.test("a model that cannot be trained", async (t) => {
  const softmax = withModel("softmax", "imageShape", 'tf.layers.dense({ units: classes, activation: "softmax" })');
  const shape = withModel("shape", "[10, 10, 1]", "tf.layers.dense({ units: classes })");
  const classes = withModel("classes", "imageShape", "tf.layers.dense({ units: 7 })");
  const throwing = withModel("throwing-model", "imageShape", "tf.layers.nonsense()");
  const expected = /expected images of shape \[batch, 8, 8, 1\], found \[batch, 10, 10, 1\].*\[MODEL_UNSUPPORTED\]$/;
  checkAll(t, [
    ["because it ends in softmax", train(softmax), 2, /expected logits, found .*softmax.*\[MODEL_UNSUPPORTED\]$/],
    ["because it wants other images", train(shape), 2, expected],
    ["because it wants other images, on two ranks", train(shape, "--ranks", "2"), 2, expected],
    [
      "because it knows other classes",
      train(classes),
      2,
      /one logit a class of shape \[batch, 10\], found \[batch, 7\].*\[MODEL_UNSUPPORTED\]$/,
    ],
    ["because making it throws", train(throwing), 2, /model: .*nonsense.*\[\w+\]$/],
  ]);
});

t.test("a dataset that is wrong", async (t) => {
  mkdirSync(inFolder("empty"));
  const label = (index: number) => index % 10;
  const idx = { train: 64, test: 16 };
  const from = (name: string) => withData(name, `mnist({ folder: ${JSON.stringify(inFolder(name))} })`);
  writeIdxFolder(inFolder("truncated"), { ...idx, label, truncatedBy: 100 });
  writeIdxFolder(inFolder("labels"), { ...idx, label: (index) => (index === 5 ? 11 : label(index)) });
  writeIdxFolder(inFolder("magic"), { ...idx, label });
  writeFileSync(join(inFolder("magic"), "train-images-idx3-ubyte"), "<!doctype html><p>404 not found</p>");
  checkAll(t, [
    ["without files", train(from("empty")), 2, /train-images-idx3-ubyte.*empty.*\[FILE_MISSING\]$/],
    ["with a truncated file", train(from("truncated")), 2, /4112 bytes.*found 4012.*\[IDX_TRUNCATED\]$/],
    ["with a file that is no idx", train(from("magic")), 2, /train-images-idx3-ubyte.*\[IDX_BAD_MAGIC\]$/],
    [
      "with a label that is no class",
      train(from("labels")),
      2,
      /labels in \[0, 10\).*found label 11 at index 5.*\[LABEL_OUT_OF_RANGE\]$/,
    ],
  ]);
});

t.test("a run folder that is wrong", async (t) => {
  await succeed(t, train(good, "--name", "taken"));
  const taken = join(runs, "taken");
  mkdirSync(inFolder("nothing"));
  mkdirSync(inFolder("garbage"));
  writeFileSync(join(inFolder("garbage"), "config.json"), "{ not json");
  checkAll(t, [
    ["a name that is taken", train(good, "--name", "taken"), 2, /taken.*--name.*resume.*\[RUN_EXISTS\]$/],
    [
      "a name that is none",
      train(good, "--name", "../up"),
      2,
      /found "\.\.\/up".*\[(RUN_NAME_INVALID|CONFIG_INVALID)\]$/,
    ],
    ["a place that cannot be written", ["train", good, "--runs", "/proc/x"], 2, /\/proc\/x.*\[UNWRITABLE\]$/],
    ["a place under a file", ["train", good, "--runs", join(good, "x")], 2, /good\.config\.ts\/x.*\[\w+\]$/],
    ["to resume: a folder that is no run", ["resume", inFolder("nothing")], 2, /no run folder.*\[CONFIG_MISSING\]$/],
    ["to resume: no folder", ["resume", inFolder("never")], 2, /never.*\[CONFIG_MISSING\]$/],
    ["to resume: config.json is none", ["resume", inFolder("garbage")], 2, /config\.json.*\[CONFIG_INVALID\]$/],
    [
      "to resume: a run of fewer seats than ranks",
      ["resume", taken, "--ranks", "8", "--max-steps", "4"],
      2,
      /8 ranks.*\d seats.*\[MORE_RANKS_THAN_SEATS\]$/,
    ],
  ]);
});

t.test("a config that changed since the run was made is not resumed with", async (t) => {
  const changing = config("changing", configText());
  await succeed(t, train(changing, "--name", "changing"));
  writeFileSync(changing, configText({ more: "seed: 7," }));
  const ended = await run(t, ["resume", join(runs, "changing"), "--max-steps", "4"]);
  checkRefusal(t, ended, 2, /changing\.config\.ts has changed.*\[CONFIG_CHANGED\]$/);
});

t.test("a loss that is not a number ends the run, which names the step", async (t) => {
  const args = ["train", smallConfig, "--runs", runs, "--name", "nan", "--set", "optimizer.learningRate=1e30"];
  for (const ranks of ["1", "2"]) {
    const ended = await run(t, [...args, "--name", `nan-${ranks}`, "--ranks", ranks]);
    checkRefusal(t, ended, 1, /step \d+.*loss is (NaN|Infinity).*learning rate.*\[LOSS_NOT_FINITE\]$/);
  }
});

t.test("a coordinator's port and a worker's address", async (t) => {
  const listening = async (server: Server) => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    t.teardown(() => server.close());
    return (server.address() as AddressInfo).port;
  };
  const port = String(await listening(createServer()));
  const web = await listening(createHttpServer((_request, response) => response.writeHead(404).end()));
  const { url, token } = await startByHand(t, good, { ranks: 2, workers: 0, args: ["--runs", runs, "--name", "port"] });
  const withToken = (value: string) => ({ env: { RINGMASTER_TOKEN: value } });
  const join = (address: string) => ["worker", good, "--join", address];
  checkAll(t, [
    [
      "a port that is taken",
      ["coordinator", good, "--runs", runs, "--port", port],
      2,
      new RegExp(`${port}.*taken.*--port.*\\[PORT_TAKEN\\]$`),
    ],
    ["a worker without a token", join(url), 2, /RINGMASTER_TOKEN.*\[TOKEN_MISSING\]$/],
    ["a worker with a wrong token", join(url), 1, /refused the token.*\[TOKEN_REFUSED\]$/, withToken(`${token}x`)],
    [
      "an address that is none",
      join("nowhere"),
      2,
      /ws:\/\/host:4600.*found nowhere.*\[BAD_ADDRESS\]$/,
      withToken("x"),
    ],
    [
      "an address where something else answers",
      join(`ws://127.0.0.1:${web}`),
      2,
      /no coordinator \(HTTP 404\).*\[BAD_ADDRESS\]$/,
      withToken("x"),
    ],
  ]);
});

t.test("a coordinator that cannot be reached", async (t) => {
  checkRefusal(t, await unreachable.ended, 1, /127\.0\.0\.1:9.*ECONNREFUSED.*\[COORDINATOR_UNREACHABLE\]$/);
});
