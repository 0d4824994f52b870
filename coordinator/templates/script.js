#!/usr/bin/env node
// NAME: says hello. Progress goes to stderr; stdout is the result, best as JSON.
"use strict";

const { parseArgs } = require("node:util");

const { values } = parseArgs({ options: { name: { type: "string", default: "world" } } });
process.stderr.write(`greeting ${values.name}\n`);
process.stdout.write(`${JSON.stringify({ greeting: `hello ${values.name}` })}\n`);
