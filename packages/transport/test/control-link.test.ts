/** What every link promises, whatever carries it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import t, { type Test } from "tap";
import { type ControlLink, dialCoordinator, memoryLinkPair } from "../src/index.ts";
import { startCoordinator, token } from "./fixtures/coordinator.ts";
import { type Ear, isClosed, listenTo } from "./fixtures/ear.ts";

type Pair = readonly [near: ControlLink, far: ControlLink];

async function socketPair(t: Test): Promise<Pair> {
  const coordinator = await startCoordinator(t);
  const [far, near] = await Promise.all([coordinator.nextLink(), dialCoordinator({ url: coordinator.url, token })]);
  return [near, far];
}

const implementations: readonly { name: string; open: (t: Test) => Promise<Pair> }[] = [
  { name: "in memory", open: async () => memoryLinkPair() },
  { name: "over a socket, from the worker's end", open: socketPair },
  {
    name: "over a socket, from the coordinator's end",
    open: async (t) => {
      const [near, far] = await socketPair(t);
      return [far, near];
    },
  },
];

const openBoth = async (t: Test, open: (t: Test) => Promise<Pair>): Promise<readonly [Ear, Ear]> => {
  const [near, far] = await open(t);
  return [listenTo(near), listenTo(far)];
};

const bytes = (size: number, fill: number) => new Uint8Array(size).fill(fill);

for (const { name, open } of implementations)
  t.test(`a link ${name}`, async (t) => {
    t.test("keeps the order of control and bulk messages, whatever their sizes", async (t) => {
      const [near, far] = await openBoth(t, open);
      const message = fc.record({
        isBulk: fc.boolean(),
        header: fc.uint8Array({ minLength: 1, maxLength: 40 }),
        payload: fc.oneof(
          fc.uint8Array({ maxLength: 50 }),
          fc.integer({ min: 0, max: 200_000 }).map((n) => bytes(n, 7)),
        ),
      });
      let seen = 0;
      await fc.assert(
        fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 30 }), async (messages) => {
          for (const { isBulk, header, payload } of messages) {
            if (isBulk) void near.link.sendBulk(header, payload);
            else near.link.send(header);
          }
          const from = seen;
          seen += messages.length;
          await far.until((ear) => ear.messages.length >= seen);
          assert.equal(far.messages.length, seen);
          for (const [index, { isBulk, header, payload }] of messages.entries()) {
            const expected = isBulk ? Buffer.concat([header, payload]) : Buffer.from(header);
            assert.ok(expected.equals(far.messages[from + index] ?? bytes(0, 0)), `message ${index}`);
          }
        }),
        { numRuns: 20 },
      );
      t.equal(near.messages.length, 0, "an end does not hear itself");
    });

    t.test("carries both directions at once", async (t) => {
      const [near, far] = await openBoth(t, open);
      for (let fill = 0; fill < 50; fill++) {
        near.link.send(bytes(3, fill));
        far.link.send(bytes(3, 100 + fill));
      }
      await Promise.all([near, far].map((end) => end.until(({ messages }) => messages.length === 50)));
      t.same(
        far.messages.map(([first]) => first),
        [...bytes(50, 0).keys()],
      );
      t.same(
        near.messages.map(([first]) => first),
        [...bytes(50, 0).keys()].map((fill) => 100 + fill),
      );
    });

    for (const [kind, payload] of [
      ["own", new Uint8Array(2 ** 20)],
      ["shared", new Uint8Array(new SharedArrayBuffer(2 ** 20))],
    ] as const)
      t.test(`a bulk sender may write over its ${kind} payload as soon as it was taken`, async (t) => {
        const [near, far] = await openBoth(t, open);
        const parts = 12;
        for (let part = 0; part < parts; part++) {
          payload.fill(part);
          await near.link.sendBulk(bytes(4, part), payload);
        }
        payload.fill(255);
        await far.until(({ messages }) => messages.length === parts);
        for (const [part, message] of far.messages.entries())
          t.ok(Buffer.from(message).equals(bytes(4 + 2 ** 20, part)), `part ${part} arrives as it was`);
      });

    t.test("hears what was said before anybody listened", async (t) => {
      const [near, far] = await open(t);
      near.send(bytes(1, 1));
      near.send(bytes(1, 2));
      const ear = listenTo(far);
      await ear.until(({ messages }) => messages.length === 2);
      t.same(
        ear.messages.map(([first]) => first),
        [1, 2],
      );
    });

    t.test(
      "the other end hears the reason of a close, after all that was sent; the closing end hears nothing",
      async (t) => {
        const [near, far] = await openBoth(t, open);
        near.link.send(bytes(1, 1));
        const sent = near.link.sendBulk(bytes(1, 2), bytes(2 ** 20, 3));
        near.link.close("the run is over");
        await far.until(isClosed);
        await sent;
        t.same(far.closings, ["the run is over"]);
        t.equal(far.messages.length, 2);
        t.same(near.closings, []);
      },
    );

    t.test("a long reason of any script arrives shortened, not broken", async (t) => {
      const [near, far] = await openBoth(t, open);
      const reason = "größer als 真的 ".repeat(30);
      near.link.close(reason);
      await far.until(isClosed);
      const [heard = ""] = far.closings;
      t.ok(heard.length >= 40, "most of it is there");
      t.ok(reason.startsWith(heard), heard);
    });

    t.test("a link that both ends close, and close again, closes once", async (t) => {
      const [near, far] = await openBoth(t, open);
      far.link.send(bytes(1, 1));
      await near.until(({ messages }) => messages.length === 1);
      far.link.send(bytes(1, 3));
      near.link.close("here");
      far.link.close("there");
      near.link.close("here again");
      far.link.send(bytes(1, 2));
      for (let turn = 0; turn < 5; turn++) await new Promise((resolve) => setImmediate(resolve));
      t.same([near.closings, far.closings], [[], []], "who closes is not told");
      t.equal(near.messages.length, 1, "and hears nothing more");
    });

    t.test("what is sent on a closed link goes nowhere, and harms nobody", async (t) => {
      const [near, far] = await openBoth(t, open);
      near.link.close("over");
      near.link.send(bytes(1, 1));
      await near.link.sendBulk(bytes(1, 1), bytes(10, 1));
      await far.until(isClosed);
      far.link.send(bytes(1, 2));
      await far.link.sendBulk(bytes(1, 2), bytes(10, 2));
      far.link.close("over here too");
      await new Promise((resolve) => setImmediate(resolve));
      t.same([near.messages.length, far.messages.length], [0, 0]);
      t.same([near.closings, far.closings], [[], ["over"]]);
    });

    t.test("bulk messages under way when the other end closes are let go of", async (t) => {
      const [near, far] = await openBoth(t, open);
      const under = Promise.all(
        Array.from({ length: 24 }, (_, part) => near.link.sendBulk(bytes(4, part), bytes(2 ** 20, part))),
      );
      await far.until(({ messages }) => messages.length > 0);
      far.link.close("enough");
      await near.until(isClosed);
      await under;
      t.same(near.closings, ["enough"]);
    });
  });
