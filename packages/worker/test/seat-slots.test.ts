import t from "tap";
import { SeatSlots } from "../src/seat-slots.ts";

/** Computes all that is not kept. */
function trained(slots: SeatSlots, command: number, tag: string): void {
  slots.train(command, tag);
  for (const seat of slots.seats) slots.ready(command, seat);
}
const places = (slots: SeatSlots) => slots.seats.map((seat) => slots.indexOf(seat));

t.test("a seat that stays keeps its slot and its gradients, whatever its place among the seats", async (t) => {
  const slots = new SeatSlots(3);
  slots.take([4, 5, 6]);
  trained(slots, 1, "a");
  t.same(places(slots), [0, 1, 2]);
  slots.take([7, 6, 4]);
  t.same(places(slots), [1, 2, 0]);
  t.same(slots.kept("a"), [6, 4]);
  t.throws(() => slots.indexOf(5), { code: "MISUSE" });
});

t.test("a slot of nobody is given away first, then that of the seat that left longest ago", async (t) => {
  const slots = new SeatSlots(3);
  slots.take([0]);
  trained(slots, 1, "a");
  slots.take([1]);
  trained(slots, 2, "a");
  slots.take([2]);
  t.same(places(slots), [2]);
  slots.take([0, 1]);
  t.same(slots.kept("a"), [0, 1], "they come back");
  slots.take([1]);
  slots.take([1, 3]);
  t.same(places(slots), [1, 2], "seat 2 was last here before seat 0");
  slots.take([1, 4]);
  t.same(places(slots), [1, 0]);
  slots.take([0]);
  t.same(slots.kept("a"), [], "its slot was given away");
});

t.test("gradients are kept under a tag only once the newest command has handed them over", async (t) => {
  const slots = new SeatSlots(1);
  slots.take([0]);
  slots.train(1, "a");
  t.same(slots.kept("a"), []);
  slots.train(2, "b");
  slots.ready(1, 0);
  t.same([slots.kept("a"), slots.kept("b")], [[], []], "a later command computes into the buffer");
  slots.ready(2, 0);
  t.same(slots.kept("b"), [0]);
  slots.ready(3, 0);
  t.same(slots.kept("b"), [0], "another round, an evaluation's, changes nothing");
  slots.train(4, "b");
  t.same(slots.kept("b"), [0], "they are not computed again");
  slots.train(5, "a");
  t.same(slots.kept("b"), []);
});

t.test("more seats than fit are refused", async (t) => {
  const slots = new SeatSlots(2);
  t.throws(() => slots.take([0, 1, 2]), {
    code: "MISUSE",
    message: "expected at most 2 seats, which fit this rank's memory, found 3",
  });
  slots.take([]);
  t.same(slots.seats, []);
});
