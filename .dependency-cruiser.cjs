/**
 * Which file may import which. Packages depend downwards only, exactly along this graph: a package may import those listed and no
 * other, in its sources and in its tests. Each rule is shown to bite by scripts/dependency-rules.test.mjs.
 */
const graph = {
  backend: [],
  checkpoint: [],
  data: [],
  protocol: [],
  collective: ["protocol"],
  launch: ["protocol"],
  telemetry: ["protocol"],
  transport: ["protocol"],
  training: ["backend", "data", "protocol"],
  coordinator: ["checkpoint", "data", "protocol", "transport"],
  worker: ["backend", "collective", "data", "protocol", "training", "transport"],
  // Runs the protocol code of the packages above as it is; nobody imports it.
  simulation: ["checkpoint", "collective", "coordinator", "data", "protocol", "worker"],
};
const everything = Object.keys(graph);
graph.ringmaster = everything;

const anyOf = (names) => `(?:${names.join("|")})`;

/** Loaded by name or by URL, so that nobody imports them. */
const entries = [
  "^packages/[^/]+/src/index\\.ts$",
  "^packages/ringmaster/src/cli\\.ts$",
  "^packages/worker/src/compute-thread\\.ts$",
];

const downwards = Object.entries(graph).map(([name, allowed]) => ({
  name: `${name}-depends-downwards`,
  comment: `${name} may import ${allowed.length === 0 ? "no other package" : allowed.join(", ")}; to change that, change the graph in .dependency-cruiser.cjs, and docs/`,
  severity: "error",
  from: { path: `^packages/${name}/` },
  to: { path: "^packages/", pathNot: `^packages/${anyOf([name, ...allowed])}/` },
}));

module.exports = {
  forbidden: [
    ...downwards,
    {
      name: "every-package-has-its-place",
      comment: "a new package is entered into the graph in .dependency-cruiser.cjs first",
      severity: "error",
      from: { path: "^packages/", pathNot: `^packages/${anyOf(Object.keys(graph))}/` },
      to: {},
    },
    {
      name: "packages-through-their-entry",
      comment: "a package is imported by its name, which stands for src/index.ts, and never by a path into it",
      severity: "error",
      from: { path: "^(?:packages/([^/]+)|test|examples|scripts)/" },
      to: { path: "^packages/", pathNot: ["^packages/$1/", "^packages/[^/]+/src/index\\.ts$"] },
    },
    {
      name: "packages-by-name",
      comment: "a relative path must not lead into another package, not even to its entry",
      severity: "error",
      from: { path: "^(?:packages/([^/]+)|test|examples)/" },
      to: { path: "^packages/", pathNot: "^packages/$1/", dependencyTypesNot: ["aliased-workspace"] },
    },
    {
      name: "no-cycles",
      comment: "two files that import each other, however far around, are one file or need a third",
      severity: "error",
      from: {},
      to: { circular: true },
    },
    {
      name: "no-orphans",
      comment: "nobody imports this file and it imports nobody: unused, or not yet wired in",
      severity: "error",
      from: {
        orphan: true,
        path: "^packages/[^/]+/(?:src|test)/",
        pathNot: [...entries, "\\.test\\.ts$", "/fixtures/"],
      },
      to: {},
    },
    {
      name: "sources-never-import-tests",
      comment: "what is shipped must not need what is not",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: { path: ["^packages/[^/]+/test/", "^test/"] },
    },
    {
      name: "sources-need-no-dev-dependencies",
      comment:
        "a library that a source imports belongs into its package's dependencies (AssemblyScript kernels are compiled, not shipped)",
      severity: "error",
      from: { path: "^packages/[^/]+/src/" },
      to: {
        dependencyTypes: ["npm-dev"],
        dependencyTypesNot: ["npm"],
        pathNot: "^node_modules/(?:@types|assemblyscript)/",
      },
    },
    {
      name: "everything-is-declared",
      comment: "a library that is imported stands in a package.json: the package's own, or for tests the workspace's",
      severity: "error",
      from: { path: "^(?:packages|test|examples|scripts)/" },
      to: { dependencyTypes: ["npm-no-pkg", "npm-unknown"] },
    },
    {
      name: "everything-resolves",
      comment: "this import leads nowhere",
      severity: "error",
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: "tfjs-through-backend",
      comment:
        "tfjs is imported as `tf` from @ringmaster/backend; packages/backend/tfjs.cjs says what another way costs",
      severity: "error",
      from: { path: "^(?:packages|test)/", pathNot: "^packages/backend/tfjs\\." },
      to: { path: "^node_modules/@tensorflow/tfjs/" },
    },
    {
      name: "examples-know-the-public-api-only",
      comment: 'an example shows what a user writes: import from "ringmaster"',
      severity: "error",
      from: { path: "^examples/" },
      to: { path: "^packages/", pathNot: "^packages/ringmaster/src/index\\.ts$" },
    },
  ],
  options: {
    doNotFollow: { path: "(?:^|/)node_modules/" },
    exclude: { path: "(?:^|/)(?:dist|runs|\\.tap)/" },
    // Types count: a package that takes a type from above depends upwards too.
    tsPreCompilationDeps: true,
    // A package's libraries are in its own package.json; those that only tests need are the workspace's.
    combinedDependencies: true,
    enhancedResolveOptions: {
      exportsFields: ["exports"],
      conditionNames: ["@ringmaster/source", "import", "types", "node", "default"],
      extensions: [".ts", ".mts", ".js", ".mjs", ".cjs", ".json"],
    },
  },
};
