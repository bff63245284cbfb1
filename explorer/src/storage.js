import { createLocalStorage } from '@graphiql/toolkit';

/**
 * The browser's storage for tabs and history, without request headers: they hold tokens.
 *
 * `shouldPersistHeaders={false}` keeps them out of the tabs, but the history would still write them down.
 */
export function createStorage() {
  const storage = createLocalStorage({ namespace: 'reliability-studio' });
  return { ...storage, setItem: (key, value) => storage.setItem(key, withoutHeaders(value)) };
}

function withoutHeaders(value) {
  if (!value.includes('"headers"')) return value;
  try {
    return JSON.stringify(JSON.parse(value), (key, member) => (isHeaders(key, member) ? undefined : member));
  } catch {
    return value; // not JSON, so a query's text
  }
}

// A tab says `headers: null`, and is forgotten if it says nothing.
function isHeaders(key, member) {
  return key === 'headers' && typeof member === 'string';
}
