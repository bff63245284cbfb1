// Runs every audit of graphql-http against the endpoint given as the argument and prints the results. What the audits
// send by GET gets the header without which no GET is answered.
import { auditServer } from 'graphql-http';

const [url] = process.argv.slice(2);
const fetchFn = (input, init = {}) =>
  fetch(input, { ...init, headers: { 'GraphQL-Require-Preflight': '1', ...init.headers } });
const results = await auditServer({ url, fetchFn });
console.log(JSON.stringify(results.map(({ id, name, status, reason }) => ({ id, name, status, reason }))));
