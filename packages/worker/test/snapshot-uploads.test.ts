import { isBulk, parseBulk, parseWorkerMessage } from "@ringmaster/protocol";
import type { StateTensors } from "@ringmaster/training";
import { memoryLinkPair } from "@ringmaster/transport";
import t from "tap";
import { SnapshotUploads } from "../src/snapshot-uploads.ts";
import { hash, idAfter, progressAt } from "./fixtures/messages.ts";

const floats = 600_000;
const tensors: StateTensors = {
  model: [{ name: "weights", shape: [floats], data: new Float32Array(floats) }],
  optimizer: [],
};
const stateHash = hash("e");
const take = (uploads: SnapshotUploads, step: number) => {
  tensors.model[0]?.data.fill(step);
  uploads.take(tensors, { progress: progressAt(step), stateId: idAfter(step), stateHash });
};

/** A connection; what comes over it is put down in words. */
function connection() {
  const [near, far] = memoryLinkPair();
  const words: string[] = [];
  far.listen({
    message(bytes) {
      if (!isBulk(bytes)) {
        const message = parseWorkerMessage(bytes);
        if (message.type === "WorkerState") words.push(`state ${message.step} in generation ${message.generation}`);
        return;
      }
      const { payload } = parseBulk(bytes);
      words.push(`${payload.length} bytes of ${new DataView(payload.buffer, payload.byteOffset).getFloat32(0, true)}`);
    },
    closed() {},
  });
  return { near, far, words };
}
const partsOf = (step: number) => [1_048_576, 1_048_576, 302_848].map((length) => `${length} bytes of ${step}`);
const delivered = () => new Promise((resolve) => setImmediate(() => setImmediate(resolve)));

t.test("snapshots are sent one after another, as they were when they were taken", async (t) => {
  const uploads = new SnapshotUploads();
  const { near, words } = connection();
  take(uploads, 1);
  take(uploads, 2);
  await uploads.send({ link: near, generation: 7 });
  await delivered();
  t.same(words, ["state 1 in generation 7", ...partsOf(1), "state 2 in generation 7", ...partsOf(2)]);
});

t.test(
  "what was sent is not sent again over the same connection, but over the next, until it is on disk",
  async (t) => {
    const uploads = new SnapshotUploads();
    const first = connection();
    take(uploads, 1);
    take(uploads, 2);
    await uploads.send({ link: first.near, generation: 7 });
    await delivered();
    const { length } = first.words;
    await uploads.send({ link: first.near, generation: 8 });
    await delivered();
    t.equal(first.words.length, length);
    uploads.saved(1);
    uploads.disconnected();
    const second = connection();
    await uploads.send({ link: second.near, generation: 8 });
    await delivered();
    t.same(second.words, ["state 2 in generation 8", ...partsOf(2)]);
  },
);

t.test("a connection that is lost in the middle begins the state anew on the next", async (t) => {
  const uploads = new SnapshotUploads();
  const first = connection();
  take(uploads, 1);
  const sending = uploads.send({ link: first.near, generation: 7 });
  first.near.close("lost");
  uploads.disconnected();
  const second = connection();
  const again = uploads.send({ link: second.near, generation: 7 });
  await Promise.all([sending, again]);
  await delivered();
  t.same(second.words, ["state 1 in generation 7", ...partsOf(1)]);
});

t.test("a rank that is not the writer keeps its snapshot for the day that it is", async (t) => {
  const uploads = new SnapshotUploads();
  take(uploads, 1);
  take(uploads, 2);
  uploads.rewind(1);
  const { near, words } = connection();
  await uploads.send({ link: near, generation: 9 });
  await delivered();
  t.same(words, ["state 1 in generation 9", ...partsOf(1)]);
});

t.test("what is let go is not sent", async (t) => {
  const uploads = new SnapshotUploads();
  take(uploads, 1);
  uploads.clear();
  const { near, words } = connection();
  await uploads.send({ link: near, generation: 9 });
  await delivered();
  t.same(words, []);
});
