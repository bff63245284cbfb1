import './workers.js';
import '@fontsource/fira-code/400.css';
import '@fontsource/roboto/latin-400.css';
import '@fontsource/roboto/latin-400-italic.css';
import '@fontsource/roboto/latin-500.css';
import '@graphiql/react/style.css';
import '@graphiql/plugin-doc-explorer/style.css';
import '@graphiql/plugin-history/style.css';
import 'graphiql/graphiql.css';
import './main.css';

import { createGraphiQLFetcher } from '@graphiql/toolkit';
import { GraphiQL } from 'graphiql';
import { useState } from 'react';
import { createRoot } from 'react-dom/client';

import defaultQuery from './default.graphql?raw';
import { isKnown, proof, provenFetch, whenSessionEnds } from './session.js';
import { SignIn } from './SignIn.jsx';
import { createStorage } from './storage.js';

const endpoint = new URL(location.pathname, location.origin);
const socket = new URL(endpoint);
socket.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';

/** A fetcher for each operation, so that a socket begins with the proof of its moment. */
function fetcher(operation, options) {
  const ask = createGraphiQLFetcher({
    url: endpoint.href,
    subscriptionUrl: socket.href,
    fetch: provenFetch,
    wsConnectionParams: proof(),
  });
  return ask(operation, options);
}

function Explorer({ isKnownAtFirst }) {
  const [isSignedIn, setSignedIn] = useState(isKnownAtFirst);
  whenSessionEnds(() => setSignedIn(false));
  if (!isSignedIn) return <SignIn onSignedIn={() => setSignedIn(true)} />;
  return (
    <GraphiQL fetcher={fetcher} storage={createStorage()} defaultQuery={defaultQuery} shouldPersistHeaders={false}>
      <GraphiQL.Logo>Reliability Studio</GraphiQL.Logo>
    </GraphiQL>
  );
}

// Monaco measures its font once, so it has to be there first. A font that does not load leaves the browser's own.
await Promise.allSettled([document.fonts.load('13px "Fira Code"')]);

createRoot(document.getElementById('explorer')).render(<Explorer isKnownAtFirst={await isKnown()} />);
