// Uses the explorer as a person would: runs the query that is there, then sets a header, types a query and runs it.
import { answerTo, execute, explore } from './browser.mjs';

const [executablePath, url, header, start, rest] = process.argv.slice(2);

const seen = await explore(executablePath, url, async (page, record) => {
  const title = await page.title();
  const first = await execute(page);

  await page.getByRole('button', { name: 'Headers' }).click();
  await page.locator('.graphiql-editor-tool .graphiql-editor:not(.hidden)').click();
  await page.keyboard.insertText(header);

  await page.locator('.graphiql-query-editor').click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('Delete');
  await page.keyboard.type(start, { delay: 20 });
  const suggestions = page.locator('.suggest-widget.visible .monaco-list-row');
  await suggestions.first().waitFor();
  const suggested = (await suggestions.allInnerTexts()).map((text) => text.split('\n')[0]);
  await page.keyboard.press('Enter');
  await page.keyboard.insertText(rest);
  await page.getByRole('tab', { name: 'Typed' }).waitFor(); // the editor has read the whole of it
  const sent = page.waitForRequest((request) => request.method() === 'POST');
  const typed = await execute(page);
  const headers = await (await sent).allHeaders();

  const stored = await (await page.waitForFunction(tabsAreStored)).jsonValue();
  const introspected = answerTo(page, 'IntrospectionQuery');
  await page.reload();
  await page.getByRole('tab', { name: 'Typed' }).waitFor();
  await introspected; // what is under way when the page is closed would count as failed
  return { title, first, suggested, typed, headers, stored, ...record };
});
console.log(JSON.stringify(seen));

/** What the browser keeps of this site, once it keeps the whole of the query that was typed, which it writes late. */
function tabsAreStored() {
  const kept = { ...localStorage };
  const valueOf = (name) => Object.entries(kept).find(([key]) => key.endsWith(`:${name}`))?.[1];
  const { tabs } = JSON.parse(valueOf('tabState'));
  return tabs[0].query === valueOf('query') && tabs[0].title === 'Typed' && kept;
}
