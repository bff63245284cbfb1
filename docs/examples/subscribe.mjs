import { createClient } from 'graphql-ws';

const client = createClient({ url: 'ws://127.0.0.1:9000/graphql', retryAttempts: Infinity, shouldRetry: () => true });
const query = 'subscription ($after: String) { events(after: $after) { __typename cursor incident { title } } }';
let cursor; // Keep it where your next start finds it, and that start resumes as well.
for await (const { data } of client.iterate({ query: '{ asOfCursor }' })) cursor = data.asOfCursor;
const variables = { get after() { return cursor; } }; // Read anew for every attempt to connect.
for await (const { data } of client.iterate({ query, variables })) {
  console.log(JSON.stringify(data.events));
  cursor = data.events.cursor;
}
