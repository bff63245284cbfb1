// A headless Chromium in which the explorer is open, and a record of everything the page asked for or complained of.
import { chromium } from 'playwright-core';

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

/** Opens the explorer of the server at `url`, hands its page and record to `use`, and closes the browser. */
export async function explore(executablePath, url, use, { viewport, deviceScaleFactor } = {}) {
  const browser = await chromium.launch({ executablePath, args: FLAGS });
  try {
    const context = await browser.newContext({ viewport, deviceScaleFactor, colorScheme: 'light' });
    const record = await recordOf(context);
    const page = await context.newPage();
    const introspected = answerTo(page, 'IntrospectionQuery');
    await page.goto(`${url}/graphql`);
    await introspected;
    await page.locator('.graphiql-query-editor .view-line').first().waitFor();
    return await use(page, record);
  } finally {
    await browser.close();
  }
}

/** The next answer of the endpoint to an operation: the named one, or any that is not the introspection. */
export async function answerTo(page, operationName) {
  const response = await page.waitForResponse((candidate) => {
    const body = candidate.request().method() === 'POST' ? candidate.request().postDataJSON() : null;
    if (!body) return false;
    return operationName ? body.operationName === operationName : body.operationName !== 'IntrospectionQuery';
  });
  return response.json();
}

/** Runs the operation in the editor; returns what the endpoint answered and what the response pane shows. */
export async function execute(page) {
  const answer = answerTo(page);
  await page.locator('.graphiql-execute-button').click();
  const answered = await answer;
  await page.locator('.graphiql-response .view-line', { hasText: '"data"' }).waitFor();
  const lines = await page.locator('.graphiql-response .view-lines').innerText();
  return { answered, shown: lines.replaceAll('\u00a0', ' ') };
}

async function recordOf(context) {
  const record = { requests: [], failures: [], complaints: [], violations: [], workers: [] };
  await context.exposeBinding('reportViolation', (_source, violation) => record.violations.push(violation));
  await context.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sample }) =>
      globalThis.reportViolation(`${violatedDirective} refused ${blockedURI} ${sample}`),
    );
  });
  context.on('request', (request) => record.requests.push(request.url()));
  context.on('requestfailed', (request) => record.failures.push(`${request.url()}: ${request.failure().errorText}`));
  context.on('response', (response) => {
    if (response.status() >= 400) record.failures.push(`${response.url()}: ${response.status()}`);
  });
  context.on('console', (message) => {
    if (['error', 'warning'].includes(message.type())) record.complaints.push(message.text());
  });
  context.on('weberror', (error) => record.complaints.push(String(error.error())));
  context.on('page', (page) => {
    page.on('websocket', (socket) => record.requests.push(socket.url()));
    page.on('worker', (worker) => record.workers.push(worker.url()));
  });
  return record;
}
