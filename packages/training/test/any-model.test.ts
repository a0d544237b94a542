import { testAnyModel } from "./fixtures/any-model/suite.ts";

await testAnyModel("tensorflow");
