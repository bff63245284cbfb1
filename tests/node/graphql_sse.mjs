// Prints every event that graphql-sse hears of, one line of JSON each, and resumes from the last one's cursor.
import { createClient } from 'graphql-sse';

const [url] = process.argv.slice(2);
const client = createClient({ url, retryAttempts: Infinity });
const query = 'subscription ($after: String) { events(after: $after) { __typename cursor incident { title } } }';
let cursor;
for await (const { data } of client.iterate({ query: '{ asOfCursor }' })) cursor = data.asOfCursor;
const variables = { get after() { return cursor; } };
for await (const { data } of client.iterate({ query, variables })) {
  console.log(JSON.stringify(data.events));
  cursor = data.events.cursor;
}
