import t from "tap";
import { playRandomWorlds } from "./fixtures/random-worlds.ts";

t.test(
  "400 worlds in which anything goes wrong end with the state, metrics and samples of an undisturbed run (3 of 4)",
  async (t) => playRandomWorlds(t, 801, 400),
);
