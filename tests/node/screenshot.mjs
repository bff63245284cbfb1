// Photographs the explorer of a running server after its first query has been answered:
//
//   make run DEMO=1
//   npm --prefix tests/node ci
//   node tests/node/screenshot.mjs http://127.0.0.1:9000 docs/images/explorer.png [chromium]
import { execute, explore } from './browser.mjs';

const [url, path, executablePath = '/usr/bin/chromium'] = process.argv.slice(2);

const size = { viewport: { width: 1440, height: 860 }, deviceScaleFactor: 1.5 };
await explore(
  executablePath,
  url,
  async (page) => {
    await execute(page);
    await page.waitForFunction(coloured);
    await page.mouse.move(0, 0); // away from the button, whose tooltip would stay
    await page.screenshot({ path, animations: 'disabled' });
  },
  size,
);

/** Whether both panes have their colours, which come line by line: no plain piece of text holds a keyword or a string. */
function coloured() {
  const plain = [...document.querySelectorAll('.view-line .mtk1')].map((piece) => piece.textContent);
  return plain.every((text) => !text.includes('query') && !text.includes('"'));
}
