import { testCompliance } from "./fixtures/compliance/suite.ts";

await testCompliance("tensorflow");
