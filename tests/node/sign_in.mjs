// Signs in to the explorer as a person would, asks who they are, and looks whether the browser keeps any of it.
import { chromium } from 'playwright-core';

const [executablePath, url, email, password] = process.argv.slice(2);

const browser = await chromium.launch({ executablePath, args: ['--headless', '--no-sandbox', '--disable-gpu'] });
try {
  const page = await browser.newPage();
  await page.goto(`${url}/graphql`);
  await page.getByLabel('Email').fill(email);
  await page.getByLabel('Password').fill('wrong');
  await page.getByRole('button', { name: 'Sign in' }).click();
  const refused = page.getByRole('alert').filter({ hasText: /./ });
  await refused.waitFor();
  const refusal = await refused.innerText();

  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
  await page.locator('.graphiql-query-editor .view-line').first().waitFor();
  await page.locator('.graphiql-query-editor').click();
  await page.keyboard.press('ControlOrMeta+A');
  await page.keyboard.press('Delete');
  await page.keyboard.insertText('query Who { viewer { name } }');
  await page.getByRole('tab', { name: 'Who' }).waitFor();
  const answer = page.waitForResponse((response) => response.request().postData()?.includes('query Who'));
  await page.locator('.graphiql-execute-button').click();
  const answered = await (await answer).json();

  const cookies = await page.context().cookies();
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]));
  await page.reload();
  await page.getByLabel('Email').waitFor();
  console.log(JSON.stringify({ refusal, answered, cookies, kept }));
} finally {
  await browser.close();
}
