#!/usr/bin/env node
// Renders rows as a Markdown table.
//
// Started by a runner it reads its parameters from $PARAMS_FILE, where they stand as
// the caller wrote them; started by hand it takes
//   --columns name --columns age --rows '{"name": "Ada", "age": 36}' [--numbered]
"use strict";

const { readFileSync } = require("node:fs");
const { parseArgs } = require("node:util");

function main() {
  const { columns, rows, numbered = false } = parameters();
  const header = numbered ? ["#", ...columns] : columns;
  const body = rows.map((row, index) => {
    const cells = columns.map((column) => cell(row[column]));
    return numbered ? [String(index + 1), ...cells] : cells;
  });
  const lines = [header.map(cell), header.map(() => "---"), ...body].map(
    (cells) => `| ${cells.join(" | ")} |`,
  );
  process.stdout.write(`${JSON.stringify({ table: lines.join("\n"), rows: rows.length })}\n`);
}

function parameters() {
  const file = process.env.PARAMS_FILE;
  return file ? JSON.parse(readFileSync(file, "utf8")) : parametersFromArguments();
}

function parametersFromArguments() {
  const { values } = parseArgs({
    options: {
      columns: { type: "string", multiple: true, default: [] },
      rows: { type: "string", multiple: true, default: [] },
      numbered: { type: "boolean", default: false },
    },
  });
  if (values.columns.length === 0) throw new Error("--columns is needed at least once");
  return { ...values, rows: values.rows.map((row) => JSON.parse(row)) };
}

// A value must not end its cell or its line.
function cell(value) {
  if (value === undefined || value === null) return "";
  const text = typeof value === "object" ? JSON.stringify(value) : String(value);
  return text.replaceAll("\\", "\\\\").replaceAll("|", "\\|").replace(/\r\n|\r|\n/g, "<br>");
}

try {
  main();
} catch (problem) {
  process.stderr.write(`render-table: ${problem.message}\n`);
  process.exitCode = 2;
}
